"""Batched sampling: against transformers' own loop, against the distribution, and against other batches."""

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_models import GPT2, SIZES
from transformers import GenerationConfig

from probe.errors import CannotMeasure
from probe.scoring import sampling
from probe.scoring.ending import turn_marks
from probe.scoring.generate import with_room
from probe.scoring.sampling import Chooser, Draw, SampledIds, draw_samples, end_ids

CONTEXTS = [(5, 6, 7), (9, 10, 11, 12, 13, 14, 15), (8,), (5, 6, 7), (30, 31, 32, 33)]


def drawn(loaded, draws, **options):
    found = {}
    for part in draw_samples(loaded, draws, **options):
        found |= part
    return [found[i] for i in range(len(draws))]


def by_transformers(model, context, tokens, ends):
    config = GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0
    )
    ids = torch.tensor([context])
    new = model.generate(input_ids=ids, generation_config=config)[0, len(context) :].tolist()
    ended = any(i in ends for i in new)
    return SampledIds(tuple(i for i in new if i not in ends), ended)


@pytest.mark.parametrize("read", [1, sampling.READ_BATCH])
def test_greedy_is_transformers_own_greedy_on_every_architecture(
    packable, make_tokenizer, load, read, monkeypatch
):
    monkeypatch.setattr(sampling, "READ_BATCH", read)
    loaded = load(packable, make_tokenizer())
    ends = end_ids(loaded)
    expected = [by_transformers(packable, c, 12, ends) for c in CONTEXTS]
    assert drawn(loaded, [Draw(c, 0.0) for c in CONTEXTS], tokens=12) == expected


@pytest.mark.parametrize("read", [1, sampling.READ_BATCH])
def test_greedy_holds_for_models_that_cannot_be_packed(unpackable, make_tokenizer, load, read, monkeypatch):
    monkeypatch.setattr(sampling, "READ_BATCH", read)
    loaded = load(unpackable, make_tokenizer())
    ends = end_ids(loaded)
    expected = [by_transformers(unpackable, c, 8, ends) for c in CONTEXTS]
    assert drawn(loaded, [Draw(c, 0.0) for c in CONTEXTS], tokens=8) == expected


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_a_row_is_the_same_in_any_batch(tiny, make_tokenizer, load, top_p):
    loaded = load(tiny, make_tokenizer())
    draws = [Draw(c, t, len(c)) for c in CONTEXTS for t in (0.0, 1.3)]
    whole = drawn(loaded, draws, tokens=12, top_p=top_p)
    for batch in (1, 4):
        assert drawn(loaded, draws, tokens=12, top_p=top_p, batch=batch) == whole
    assert drawn(loaded, draws[::-1], tokens=12, top_p=top_p)[::-1] == whole


def test_rows_end_by_themselves_and_leave_the_others_alone(tiny, make_tokenizer, load):
    """Hot draws with forty end tokens end at many different steps; each must be its own single run's."""
    tiny.generation_config.eos_token_id = list(range(2, 42))
    loaded = load(tiny, make_tokenizer())
    draws = [Draw(c, 30.0, seed) for c in CONTEXTS for seed in range(12)]
    whole = drawn(loaded, draws, tokens=20)
    assert len({len(a.ids) for a in whole if a.ended}) > 4 and not all(a.ended for a in whole)
    for i in range(0, 60, 9):
        assert drawn(loaded, [draws[i]], tokens=20) == [whole[i]]


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_tokens_come_with_the_model_s_own_frequencies(top_p):
    """20,000 uniform numbers through one known distribution, tempered to p² / Σp² by temperature ½."""
    p = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    rows = 20_000
    uniforms = torch.from_numpy(np.random.default_rng(0).random((rows, 1), dtype=np.float32))
    chooser = Chooser(torch.full((rows,), 0.5, dtype=torch.float32), uniforms, top_p)
    chosen = chooser(torch.from_numpy(np.log(p)).expand(rows, -1), 0).numpy()
    expected = p**2 / (p**2).sum()  # .557 .313 .078 .035 .017: .557 + .313 is the first sum above .7
    if top_p < 1:
        expected = np.array([expected[0], expected[1], 0, 0, 0]) / expected[:2].sum()
    found = np.bincount(chosen, minlength=5) / rows
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / rows)


def test_a_nucleus_wider_than_the_presorted_tokens_is_whole():
    """3,000 equal tokens: half the mass is 1,500 of them, more than are sorted at first."""
    uniforms = torch.linspace(0, 0.999, 500, dtype=torch.float32)[:, None]
    chooser = Chooser(torch.ones(500, dtype=torch.float32), uniforms, 0.5)
    chosen = chooser(torch.zeros(500, 3000), 0)
    assert 1490 <= int(chosen.max()) <= 1500 and int(chosen.min()) == 0


def test_logits_that_are_not_finite_are_told(tiny, make_tokenizer, load):
    with torch.no_grad():
        tiny.lm_head.weight.fill_(float("nan"))
    with pytest.raises(CannotMeasure, match="not finite"):
        drawn(load(tiny, make_tokenizer()), [Draw((5, 6))], tokens=2)


def test_out_of_memory_halves_the_batch(tiny, make_tokenizer, load, monkeypatch, capsys):
    from probe.scoring import sampling

    true = sampling._answers

    def scarce(loaded, draws, *rest):
        if len(draws) > 2:
            raise torch.OutOfMemoryError("no memory left")
        return true(loaded, draws, *rest)

    loaded = load(tiny, make_tokenizer())
    draws = [Draw(c, 1.0, 3) for c in CONTEXTS]
    expected = drawn(loaded, draws, tokens=6)
    monkeypatch.setattr(sampling, "_answers", scarce)
    assert drawn(loaded, draws, tokens=6) == expected
    assert "2 answers at a time" in capsys.readouterr().err


def always(model, token):
    """A model that says one token whatever it has read."""

    def one(_module, _inputs, logits):
        made = torch.zeros_like(logits)
        made[..., token] = 50.0
        return made

    model.get_output_embeddings().register_forward_hook(one)
    return model


@pytest.mark.parametrize("name", ["llama", "gpt2-learned-positions", "lfm2-hybrid", "mamba-recurrent"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_chat_ends_with_the_token_that_closes_a_turn_and_a_text_does_not(
    build, make_tokenizer, load, name, temperature
):
    """As a base model's: its tokenizer's end token is none that the template writes."""
    tokenizer = make_tokenizer(chat=True)
    close = tokenizer.convert_tokens_to_ids("<|end|>")
    loaded = load(always(build(name), close), tokenizer)
    turns = [{"role": "user", "content": "What is 12 + 7?"}]
    chat = tuple(
        tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
    )
    assert close not in end_ids(loaded) and end_ids(loaded, chat) == {*end_ids(loaded), close}
    draws = [Draw(context, temperature, 1) for context in (chat, (60, 61, 62))]
    assert drawn(loaded, draws, tokens=4) == [SampledIds((), True), SampledIds((close,) * 4, False)]


def test_a_template_that_refuses_has_no_marks(make_tokenizer):
    tokenizer = make_tokenizer(chat=True)
    assert turn_marks(make_tokenizer()) == (frozenset(), frozenset())
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert turn_marks(tokenizer) == (frozenset(), frozenset())


LIMIT = 24
SHORT = {
    "learnt positions": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**{**GPT2, "n_positions": LIMIT})),
    "rotated positions": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(**{**SIZES, "max_position_embeddings": LIMIT})
    ),
    "a hybrid": lambda: hf.Lfm2ForCausalLM(
        hf.Lfm2Config(
            **{**SIZES, "max_position_embeddings": LIMIT}, layer_types=["conv", "full_attention", "conv"]
        )
    ),
}


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("batch", [1, 8])
def test_answers_end_where_the_positions_do(make_tokenizer, load, name, batch):
    torch.manual_seed(0)
    loaded = load(always(SHORT[name]().eval(), 50), make_tokenizer())
    contexts = [tuple(range(4, 4 + n)) for n in (3, LIMIT - 1, 12, LIMIT - 6, LIMIT - 7)]
    whole = drawn(loaded, [Draw(c, 1.0, 0) for c in contexts], tokens=15, batch=batch)
    assert [len(answer.ids) for answer in whole] == [min(15, LIMIT - len(c)) for c in contexts]
    assert not any(answer.ended for answer in whole)


@pytest.mark.parametrize("name", SHORT)
def test_rows_that_ended_early_do_not_run_past_the_positions(make_tokenizer, load, name):
    """Nineteen short rows keep one long row that ended in the batch, until it has no place there."""
    torch.manual_seed(0)
    model = SHORT[name]().eval()
    model.generation_config.eos_token_id = list(range(2, 12))
    loaded = load(model, make_tokenizer())
    draws = [Draw((40 + i, 41), 1.0, i) for i in range(19)]
    draws += [Draw(tuple(range(40, 40 + LIMIT - 3)), 1.0, i) for i in range(60)]
    whole = drawn(loaded, draws, tokens=20, batch=len(draws))
    assert any(answer.ended and len(answer.ids) < 3 for answer in whole[19:])
    assert whole[19:25] == [drawn(loaded, [draw], tokens=20)[0] for draw in draws[19:25]]


def test_a_prompt_that_fills_the_positions_is_not_asked(make_tokenizer, load, capsys):
    loaded = load(SHORT["learnt positions"]().eval(), make_tokenizer())
    full, short = tuple(range(4, 4 + LIMIT)), (5, 6)
    with pytest.raises(CannotMeasure, match=f"1 prompts fill the model's {LIMIT} positions"):
        drawn(loaded, [Draw(full), Draw(short)], tokens=2)
    assert with_room(loaded, [full, short, (*full, 5)]) == [1]
    assert f"2 of 3 prompts fill the model's {LIMIT} positions" in capsys.readouterr().err
    assert with_room(loaded, [short]) == [0] and capsys.readouterr().err == ""
    with pytest.raises(CannotMeasure, match="every prompt fills"):
        with_room(loaded, [full])
