"""The packed engine against a float64 reference, and the invariances it must have."""

from dataclasses import replace
from itertools import takewhile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.scoring import attention, engine
from probe.scoring.attention import ATTENTION_NAME, make_layout, tree_attention
from probe.scoring.encode import make_encoder
from probe.scoring.engine import STRETCH, hidden_states, packs, plain_logps, token_logps
from probe.scoring.head import _chunk_logps
from probe.scoring.proof import LOGP_TOLERANCE, _samples, prove
from probe.scoring.scores import EncodedSide
from probe.scoring.tree import build_tree

TOLERANCE = 1e-4  # nats/token, the project's promise in float32


def sides_of(seed=0, n=12, vocabulary=400, longest=70):
    """Sequences that share prefixes at several depths, branch inside responses, and repeat."""
    rng = np.random.default_rng(seed)
    system = rng.integers(4, vocabulary, 20).tolist()
    sides = []
    for _ in range(n):
        prompt = system[: rng.integers(0, 21)] + rng.integers(4, vocabulary, rng.integers(1, 40)).tolist()
        stem = rng.integers(4, vocabulary, 3).tolist()
        for _ in range(2):
            response = stem + rng.integers(4, vocabulary, rng.integers(1, longest)).tolist()
            sides.append(EncodedSide(tuple(prompt + response), len(prompt), 1))
    return [*sides, sides[0], *template_of(rng, vocabulary)]


def template_of(rng, vocabulary):
    """A long few-shot text before several short questions with several short answers each."""
    shots = rng.integers(4, vocabulary, 180).tolist()
    for _ in range(4):
        question = shots + rng.integers(4, vocabulary, rng.integers(1, 30)).tolist()
        for _ in range(4):
            answer = rng.integers(4, vocabulary, rng.integers(1, 12)).tolist()
            yield EncodedSide(tuple(question + answer), len(question), 1)


@torch.no_grad()
def test_every_architecture_agrees_with_float64_one_by_one(packable, reference):
    sides = sides_of()
    packed = token_logps(packable, sides)
    for side, logps in zip(sides, packed, strict=True):
        truth = reference(packable, side)
        assert len(logps) == len(side.ids) - side.start
        assert abs(logps.numpy().mean() - truth.mean()) < TOLERANCE
        assert np.abs(logps.numpy() - truth).max() < 10 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2-learned-positions"])
def test_every_tokenizer_with_every_shape_agrees_with_float64(name, any_tokenizer, build, pairs, reference):
    model = build(name)
    encode = make_encoder(any_tokenizer, pairs)
    sides = [side for pair in pairs for side in (encode(pair).chosen, encode(pair).rejected)]
    packed = token_logps(model, sides)
    for side, logps in zip(sides, packed, strict=True):
        assert abs(logps.numpy().mean() - reference(model, side).mean()) < TOLERANCE


@torch.no_grad()
def test_token_by_token_incremental_forward_gives_the_same(tiny):
    """Pitfall 6, the shift by one: each token's log-prob from a forward that ends just before it."""
    side = sides_of(3, n=1)[0]
    (packed,) = token_logps(tiny, [side])
    for k, position in enumerate(range(side.start, len(side.ids))):
        logits = tiny(input_ids=torch.tensor([side.ids[:position]])).logits[0, -1]
        assert packed[k] == pytest.approx(torch.log_softmax(logits, -1)[side.ids[position]].item(), abs=2e-4)


@torch.no_grad()
def test_probabilities_sum_to_one(tiny):
    """Pitfall 11: Σp over the whole vocabulary, the head's own padding included."""
    context = (5, 6, 7)
    sides = [EncodedSide((*context, token), 3, 1) for token in range(400)]
    total = sum(float(logps.double().exp()) for logps in token_logps(tiny, sides))
    assert total == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
def test_order_and_budget_do_not_matter(tiny):
    sides = sides_of(1)
    whole = token_logps(tiny, sides)
    order = np.random.default_rng(0).permutation(len(sides))
    for budget in (1, 50, 300):
        shuffled = token_logps(tiny, [sides[i] for i in order], budget=budget)
        for i, logps in zip(order, shuffled, strict=True):
            torch.testing.assert_close(logps, whole[i], atol=5e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("padding", ["left", "right"])
def test_padded_batches_of_the_plain_kind_agree(tiny, padding):
    """Pitfalls 5 and 7: the usual padded batch, masked by length, gives the packed numbers."""
    sides = sides_of(2, n=3)
    longest = max(len(s.ids) for s in sides)
    packed = token_logps(tiny, sides)
    for side, logps in zip(sides, packed, strict=True):
        gap = longest - len(side.ids)
        pad = ([2] * gap, [0] * gap)
        row, mask = list(side.ids), [1] * len(side.ids)
        ids = pad[0] + row if padding == "left" else row + pad[0]
        attention = pad[1] + mask if padding == "left" else mask + pad[1]
        positions = (torch.tensor([attention]).cumsum(-1) - 1).clamp(min=0)
        logits = tiny(
            input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attention]), position_ids=positions
        ).logits[0]
        offset = gap if padding == "left" else 0
        table = torch.log_softmax(logits, -1)
        padded = [table[offset + p - 1, side.ids[p]].item() for p in range(side.start, len(side.ids))]
        np.testing.assert_allclose(logps.numpy(), padded, atol=2e-4)


def test_gradients_equal_the_plain_form_in_float64(build):
    model = build("gemma3").double()
    sides = sides_of(4, n=3, longest=20)

    def gradient(plain):
        model.zero_grad()
        sum(logps.double().sum() for logps in token_logps(model, sides, plain=plain)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    plain = gradient(plain=True)
    # logsumexp runs in float32, so its rounding (not the packing) bounds the agreement.
    torch.testing.assert_close(gradient(plain=False), plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


@torch.no_grad()
def test_hidden_states_are_those_of_the_plain_forward(tiny):
    sides = sides_of(5, n=3)
    for side, states in zip(sides, hidden_states(tiny, sides, [0, 2, -1]), strict=True):
        plain = tiny(input_ids=torch.tensor([side.ids]), output_hidden_states=True).hidden_states
        expected = torch.stack([plain[layer][0, side.start :] for layer in (0, 2, -1)])
        torch.testing.assert_close(states, expected, atol=2e-4, rtol=1e-4)


def test_the_models_own_attention_is_back_afterwards(tiny):
    before = tiny.config._attn_implementation
    token_logps(tiny, sides_of(n=1))
    assert tiny.config._attn_implementation == before != ATTENTION_NAME


def test_the_proof_passes_what_packs_and_fails_what_does_not(tiny, unpackable):
    assert not prove(tiny, torch.float32).plain
    proof = prove(unpackable, torch.float32)
    assert proof.plain
    assert proof.fact


def test_layers_may_lie_on_other_devices_than_the_row(tiny):
    """`device_map="auto"`: masks are made where the row is and follow the layer; shapes only."""
    tree = build_tree([list(range(200)), [*range(50), 7, 8], [*range(50), 9]])
    layout = make_layout(tree, torch.device("cpu"))
    heads = [torch.empty(1, 4, len(tree.ids), 8, device="meta") for _ in range(3)]
    for window in (None, 16):
        out, _ = tree_attention(tiny, *heads, None, sliding_window=window, probe_layout=layout)
        assert out.device.type == "meta" and out.shape == (1, len(tree.ids), 4, 8)
    rows = torch.tensor([0, 0, 1])
    head = torch.nn.Linear(8, 40, device="meta")
    with torch.no_grad():
        assert _chunk_logps(head, torch.empty(2, 8, device="meta"), rows, rows).shape == (3,)


def test_the_proof_notices_a_head_it_does_not_know(tiny):
    forward = tiny.forward

    def squashed(*args, **kwargs):
        outputs = forward(*args, **kwargs)
        outputs.logits = outputs.logits * 0.9
        return outputs

    tiny.forward = squashed
    proof = prove(tiny, torch.float32)
    assert proof.plain
    assert "differ" in proof.fact


@torch.no_grad()
def made_peaked(model, factor):
    """Logits `factor` times as large, and attention that counts, as in a model that has learned something."""
    model.get_output_embeddings().weight.mul_(factor)
    for name, weight in model.named_parameters():
        if "o_proj" in name:
            weight.mul_(30)
    return model


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [1, 3, 10, 40])
def test_half_precision_rounds_a_log_prob_to_a_share_of_its_size(build, dtype, factor):
    """Random ids are improbable to a peaked model, and a log-prob of −35 in bfloat16 is known to some .3."""
    model = made_peaked(build("gemma3"), factor).to(dtype)
    proof = prove(model, dtype)
    assert factor == 40 or not proof.plain  # at 40 a step of the dtype is larger than what is allowed
    size = max(abs(float(logps.mean())) for logps in token_logps(model, _samples(model, 0), plain=True))
    fixed = LOGP_TOLERANCE[dtype]
    assert proof.tolerance == pytest.approx(min(max(fixed, torch.finfo(dtype).eps * size), 4 * fixed))
    assert (proof.tolerance > fixed) is (factor >= (10 if dtype == torch.bfloat16 else 40))


def test_the_tolerance_of_float32_does_not_grow(tiny):
    assert prove(made_peaked(tiny, 100), torch.float32).tolerance == LOGP_TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [10, 40])  # log-probs of −35 and of −150
def test_the_proof_notices_packs_that_do_not_read_their_prompt(build, dtype, factor, monkeypatch):
    model = made_peaked(build("gemma3"), factor).to(dtype)

    def blind(tree, device):
        return make_layout(replace(tree, nodes=tuple(replace(n, parent=-1) for n in tree.nodes)), device)

    monkeypatch.setattr(engine, "make_layout", blind)
    assert "differ" in prove(model, dtype).fact


@torch.no_grad()
def test_a_zero_initialised_adapter_changes_nothing(tiny):
    """Pitfall 18: the policy under a fresh LoRA is the reference, so rewards are 0 and DPO's loss is ln 2."""
    from peft import LoraConfig, get_peft_model

    sides = sides_of(6, n=2)
    before = token_logps(tiny, sides)
    wrapped = get_peft_model(tiny, LoraConfig(target_modules="all-linear", r=4)).eval()
    for logps, reference in zip(token_logps(wrapped, sides), before, strict=True):
        torch.testing.assert_close(logps, reference, atol=1e-6, rtol=0)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12))
def test_a_tree_holds_every_distinct_prefix_once(sequences):
    tree = build_tree(sequences)
    assert len(tree.ids) == len({tuple(s[: i + 1]) for s in sequences for i in range(len(s))})
    for sequence, where in zip(sequences, tree.where, strict=True):
        assert tree.ids[where].tolist() == sequence
        assert tree.depths[where].tolist() == list(range(len(sequence)))


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(1, 40),
)
def test_packs_keep_the_budget_and_every_item(sequences, budget):
    ordered = sorted(sequences)
    cut = list(packs(range(len(ordered)), ordered, budget))
    assert [i for pack in cut for i in pack] == list(range(len(ordered)))
    for pack in cut:
        size = len(build_tree([ordered[i] for i in pack]).ids)
        limit = STRETCH * budget if _last_shares(ordered, pack) >= budget / 8 else budget
        assert size <= limit or len(pack) == 1


def _last_shares(ordered, pack):
    """How much the last of a pack shares with the one before it."""
    pairs = zip(ordered[pack[-2]], ordered[pack[-1]], strict=False) if len(pack) > 1 else ()
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def test_a_long_shared_beginning_is_computed_once():
    """Few-shot text of 300 tokens before 100 questions, under a budget of 512."""
    shots = list(range(300))
    sequences = [[*shots, 1000 + i, *range(8)] for i in range(100)]
    cut = list(packs(sequences, sequences, 512))
    assert len(cut) == 1
    assert len(build_tree(cut[0]).ids) == 300 + 100 * 9


@torch.no_grad()
def test_plain_and_packed_name_the_same_tokens(tiny):
    side = EncodedSide((9, 8, 7, 6, 2), 2, 3, ends=1)
    (packed,) = token_logps(tiny, [side])
    torch.testing.assert_close(packed, plain_logps(tiny, side), atol=1e-5, rtol=0)


def test_gradients_of_a_cut_row_are_those_of_its_slices():
    """Overlapping slices and several parts of a block, in float64 against autograd's own."""
    places = [(slice(0, 3),), (slice(0, 3), slice(5, 7)), (slice(2, 4),)]
    x = torch.randn(1, 2, 7, 3, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(1, 2, n, 3, dtype=torch.float64) for n in (3, 5, 2)]

    def slope(parts):
        total = sum((part * w).sum() for part, w in zip(parts, weights, strict=True))
        return torch.autograd.grad(total, x)[0]

    mine, usual = attention._cut(x, places), [attention._gather(x, parts) for parts in places]
    assert all(torch.equal(a, b) for a, b in zip(mine, usual, strict=True))
    assert torch.allclose(slope(mine), slope(usual))
    with torch.no_grad():
        assert attention._cut(x, places)[0].grad_fn is None


def test_gradients_are_the_same_to_the_last_bit(packable, pairs, make_tokenizer, monkeypatch):
    """Of every weight, by one gradient a row and by autograd's slices."""
    encoded = make_encoder(make_tokenizer("bpe"), pairs, "raw").many(pairs[:8])
    sides = [side for c in encoded for side in (c.chosen, c.rejected)]

    def slopes():
        packable.zero_grad(set_to_none=True)
        torch.cat(token_logps(packable, sides, budget=400)).sum().backward()
        return [p.grad.clone() for p in packable.parameters() if p.grad is not None]

    mine = slopes()
    monkeypatch.setattr(attention, "_cut", lambda x, places: [attention._gather(x, p) for p in places])
    usual = slopes()
    assert mine and all(torch.equal(a, b) for a, b in zip(mine, usual, strict=True))
