"""Readouts against the model's own forward, one sequence at a time."""

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_models import sharpened

from probe.errors import CannotMeasure
from probe.scoring.encode import make_encoder
from probe.scoring.engine import block_outputs, blocks
from probe.scoring.readout import depths, pooled_states, read_out


@pytest.fixture
def sides(pairs, make_tokenizer):
    encoder = make_encoder(make_tokenizer("bpe", bos=True), pairs, "raw")
    return [side for codes in encoder.many(pairs) for side in (codes.chosen, codes.rejected)]


@torch.no_grad()
def by_hand(model, side, layers):
    """The plain forward: states after each token, logits before each."""
    output = model(torch.tensor([side.ids]), output_hidden_states=True)
    logps = torch.log_softmax(output.logits[0].double(), -1)[side.start - 1 : -1]
    targets = torch.tensor(side.ids[side.start :])
    states = [output.hidden_states[k][0] for k in layers]
    pooled = [p for s in states for p in (s[side.start :].mean(0), s[-1])]
    return {
        "pooled": torch.stack(pooled),
        "summed": output.hidden_states[-1][0, side.start - 1 : -1].sum(0),
        "logps": logps.gather(-1, targets[:, None])[:, 0],
        "entropies": torch.distributions.Categorical(logits=logps).entropy(),
        "top": logps.argmax(-1) == targets,
    }


@pytest.mark.parametrize("plain", [False, True])
def test_readout_equals_the_models_own_forward(tiny, sides, plain):
    layers = depths(tiny)
    read = dict(read_out(tiny, sides, layers, budget=200, plain=plain))
    assert sorted(read) == list(range(len(sides)))
    for i, side in enumerate(sides):
        for name, truth in by_hand(tiny, side, layers).items():
            assert np.allclose(getattr(read[i], name), truth.numpy(), atol=2e-4), name


def test_layers_go_up_to_the_last(tiny):
    assert depths(tiny) == (1, 2, 3)


def test_excess_is_zero_on_the_models_own_samples_and_not_on_others(tiny, sides):
    """Text drawn token by token at temperature 1: E[log p + entropy] = 0. Greedy text is above."""
    torch.manual_seed(0)
    read = {
        kind: [r.excess for _, r in read_out(tiny, [drawn(tiny, s, kind) for s in sides], (1,))]
        for kind in ("sampled", "greedy")
    }
    error = np.std(read["sampled"], ddof=1) / np.sqrt(len(sides))
    assert abs(np.mean(read["sampled"])) < 4 * error
    assert np.mean(read["greedy"]) > 4 * error
    other = [r.excess for _, r in read_out(tiny, sides, (1,))]
    assert np.mean(other) < -4 * error


@torch.no_grad()
def drawn(model, side, kind):
    ids = list(side.ids[: side.start])
    for _ in range(20):
        p = torch.softmax(model(torch.tensor([ids])).logits[0, -1], -1)
        ids.append(int(p.argmax() if kind == "greedy" else torch.multinomial(p, 1)))
    return type(side)(tuple(ids), side.start, 0)


def test_non_finite_log_probs_are_told(tiny, sides):
    with torch.no_grad():
        tiny.lm_head.weight[5] = float("nan")
    with pytest.raises(CannotMeasure, match="not finite"):
        list(read_out(tiny, sides[:2], (1,)))


@pytest.mark.parametrize("plain", [False, True])
def test_pooled_states_are_those_of_the_readout_with_less_work(packable, sides, plain):
    """Every layer, also the last one after its norm; nothing above the layer is run."""
    ran, found = [], blocks(packable)
    hooks = [b.register_forward_hook(lambda *_, k=k: ran.append(k)) for k, b in enumerate(found)]
    for layer in range(1, len(found) + 1):
        full = dict(read_out(packable, sides, (layer,), budget=200, plain=plain))
        ran.clear()
        before = [len(block._forward_hooks) for block in found]
        states = dict(pooled_states(packable, sides, layer, budget=200, plain=plain))
        assert states.keys() == full.keys() and set(ran) == set(range(layer))
        for i, state in states.items():
            assert np.allclose(state, full[i].pooled[0], atol=1e-5)
        assert [len(block._forward_hooks) for block in found] == before
    for hook in hooks:
        hook.remove()


def test_states_that_are_not_finite_are_refused(tiny, sides):
    with torch.no_grad():
        blocks(tiny)[0].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(CannotMeasure, match="not finite"):
        list(pooled_states(tiny, sides[:2], 1))


@pytest.mark.parametrize("kind", ["no list of blocks", "layers over devices"])
def test_states_of_a_model_that_cannot_be_stopped(tiny, sides, monkeypatch, kind):
    """A model without a list of blocks, or whose layers are put away at the end, is run whole."""
    full = dict(read_out(tiny, sides, (1,), budget=200))
    if kind == "no list of blocks":
        tiny.base_model.layers = torch.nn.Sequential(*tiny.base_model.layers)
        with pytest.raises(LookupError, match="no list"):
            blocks(tiny)
    else:
        tiny.hf_device_map = {"": "cpu"}
    for i, state in pooled_states(tiny, sides, 1, budget=200):
        assert np.allclose(state, full[i].pooled[0], atol=1e-5)


def test_outputs_of_several_blocks_come_in_the_order_asked_for(tiny, sides):
    row = {"input_ids": torch.tensor([sides[0].ids]), "use_cache": False}
    with torch.no_grad():
        states = tiny(**row, output_hidden_states=True).hidden_states
        second, first = block_outputs(tiny, row, [1, 0])
    assert torch.allclose(first, states[1][0]) and torch.allclose(second, states[2][0])


SMALL = {"vocab_size": 400, "pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2}
ODD_HEADS = {
    "capped under another name": lambda: hf.RecurrentGemmaForCausalLM(
        hf.RecurrentGemmaConfig(
            **SMALL, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=1, lru_width=48, attention_window_size=64, logits_soft_cap=2.0,
        )
    ),
    "multiplied under another name": lambda: hf.FalconH1ForCausalLM(
        hf.FalconH1Config(
            **SMALL, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=16,
            mamba_n_groups=1, mamba_chunk_size=16, lm_head_multiplier=0.1,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_HEADS)
def test_a_plain_readout_has_the_models_own_logits(sides, name):
    """The self-proof sends such models here because their head is none that is known."""
    torch.manual_seed(0)
    model = sharpened(ODD_HEADS[name]())
    layers = depths(model)
    for i, read in read_out(model, sides[:4], layers, plain=True):
        truth = by_hand(model, sides[i], layers)
        for part in ("logps", "entropies", "top"):
            assert np.allclose(getattr(read, part), truth[part].numpy(), atol=2e-4), part


@pytest.mark.parametrize("plain", [False, True])
def test_layers_of_two_widths_are_filled_up_with_zeros(sides, plain):
    """OPT-350m: the last states are projected to the width of the embedding."""
    torch.manual_seed(0)
    config = hf.OPTConfig(
        **SMALL, hidden_size=48, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
        word_embed_proj_dim=24, max_position_embeddings=256, do_layer_norm_before=False,
    )  # fmt: skip
    model = sharpened(hf.OPTForCausalLM(config))
    for i, read in read_out(model, sides[:4], (1, 2), plain=plain):
        side = sides[i]
        states = model(torch.tensor([side.ids]), output_hidden_states=True).hidden_states
        assert [states[k].shape[-1] for k in (1, 2)] == [48, 24]
        assert read.pooled.shape == (4, 48) and not read.pooled[2:, 24:].any()
        for k, width in ((1, 48), (2, 24)):
            mean = states[k][0, side.start :].mean(0).detach().numpy()
            assert np.allclose(read.pooled[2 * (k - 1), :width], mean, atol=2e-4)
        assert read.summed.shape == (24,)


@pytest.mark.parametrize("plain", [False, True])
def test_a_layer_that_the_model_does_not_give_is_told(tiny, sides, plain):
    with pytest.raises(CannotMeasure, match="layer 99 is wanted"):
        list(read_out(tiny, sides, [99], plain=plain))
