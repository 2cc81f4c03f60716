"""`probe negatives` from file to run on a tiny model: every probe, every switch, the trimmed file."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from probe.errors import ProbeError
from probe.pairs.record import Pair, text_of
from probe.probes.negatives.flip_budget import flip_budget
from probe.probes.negatives.read import both, closing_token, read_sides
from probe.probes.negatives.run import measure_negatives
from probe.probes.negatives.states import read_states
from probe.probes.negatives.trimming import TRIMS, trimmed_line
from probe.probes.negatives.work import NegativesOptions
from probe.probes.numerics.judge import Plan
from probe.scoring import readout
from probe.scoring.engine import BUDGET
from probe.scoring.generate import answered_side, answers
from probe.scoring.readout import read_out
from probe.scoring.sampling import Draw, SampledIds
from probe.scoring.scores import EncodedPair, EncodedSide
from probe.scoring.session import ModelOptions, Session, Source

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*")


@pytest.fixture
def saved(tmp_path, tiny, make_tokenizer):
    where = tmp_path / "model"
    tiny.save_pretrained(where)
    make_tokenizer("bpe", bos=True, chat=True).save_pretrained(where)
    return str(where)


@pytest.fixture
def file(tmp_path, pairs):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": f"{text_of(p.prompt)} {i}",
            "chosen": text_of(p.chosen),
            "rejected": text_of(p.rejected)[1:],
        }
        for i, p in enumerate(pairs)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(file, saved, monkeypatch, tmp_path, **options):
    monkeypatch.chdir(tmp_path)
    options = {"permutations": 19, "gradients": 4, **options}
    source = Source.of(file, None, None, False)
    how = ModelOptions(saved, device="cpu", dtype="float32", no_cache=True)
    return measure_negatives(source, how, NegativesOptions(**options))


def test_out_of_memory_halves_the_packs_that_are_read(file, saved, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    how = ModelOptions(saved, device="cpu", dtype="float32", no_cache=True)
    session = Session.open(Source.of(file, None, None, False), how)
    sides = both(session.encoder.many(list(session.source.pairs())))
    whole = read_sides(session.scorer, sides, "whole")
    packed, failures = readout.forward, iter([1, 0, 1])

    def sometimes(*arguments, **options):
        if next(failures, 0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return packed(*arguments, **options)

    monkeypatch.setattr(readout, "forward", sometimes)
    for a, b in zip(whole, read_sides(session.scorer, sides, "short"), strict=True):
        np.testing.assert_allclose(a.logps, b.logps, atol=5e-5)
        np.testing.assert_allclose(a.pooled, b.pooled, atol=5e-5)
    assert session.scorer.budget == BUDGET // 4
    assert capsys.readouterr().err.count("out of memory") == 1


def test_everything_at_once(file, saved, monkeypatch, tmp_path, capsys):
    measured = run(file, saved, monkeypatch, tmp_path, samples=3, beta=0.1)
    names = {e.name for e in measured.run.estimates}
    assert {
        "surface_accuracy",
        "initial_loss",
        "signal_accuracy",
        "states_accuracy",
        "prompt_free_preference",
        "usable_information_ratio",
        "chosen_excess",
        "sample_mean_logps",
        "chosen_over_greedy",
        "greedy_top_share",
        "flip_budget_share",
        "ches_ln",
        "entanglement",
    } <= names
    greedy = measured.run.estimate("greedy_top_share")
    assert greedy.value > 0.99
    assert [row["probe"] for row in measured.run.details["costs"]] == [
        "surface",
        "numerics",
        "states",
        "gradients",
    ]
    assert {row["level"] for row in measured.run.details["ladder"]} == {"prompt-free", "given prompt"}
    assert len(measured.run.details["negatives"]) == 20
    assert {"surface", "signal", "ches", "gap"} <= set(measured.run.details["negatives"][0])
    said = capsys.readouterr().err
    assert "80 sequences" in said  # stated before it is spent
    assert "6 responses of the model's own" in said
    assert "8 backward passes" in said
    assert said.count(", about ") == 3  # numerics, states, gradients
    assert measured.run.inputs["scores"]["new"] == 80
    codes = {f.code for f in measured.run.findings}
    assert "PB203" in codes  # the rejected sides lack the space in front


def test_gaps_and_budget_are_those_of_bias(file, saved, monkeypatch, tmp_path):
    """One reading serves both commands: the same gaps pair by pair, the same share over budget."""
    measured = run(file, saved, monkeypatch, tmp_path, surface=False, gradients=0, plan=None, beta=0.1)
    how = ModelOptions(saved, device="cpu", dtype="float32", no_cache=True)
    scores = list(Session.open(Source.of(file, None, None, False), how).scores())
    rows = {row["line"]: row["gap"] for row in measured.run.details["negatives"]}
    assert rows == pytest.approx({score.line: score.gap for score in scores}, abs=1e-4)
    (share, _) = flip_budget(scores, beta=0.1).estimates
    assert measured.run.estimate("flip_budget_share").value == share.value


def test_strip_measures_as_if_it_were_gone(file, saved, monkeypatch, tmp_path):
    measured = run(file, saved, monkeypatch, tmp_path, strip=True, states=False, gradients=0, plan=None)
    assert "PB203" not in {f.code for f in measured.run.findings}


def test_text_alone_needs_no_model(file, monkeypatch, tmp_path):
    measured = run(
        file, "no/such/model/anywhere", monkeypatch, tmp_path, states=False, gradients=0, plan=None
    )
    assert {f.code for f in measured.run.findings} >= {"PB203"}
    assert "model" not in measured.run.inputs


def test_switches_switch(file, saved, monkeypatch, tmp_path):
    measured = run(file, saved, monkeypatch, tmp_path, surface=False, states=False, gradients=0)
    assert {e.name for e in measured.run.estimates} == {"initial_loss", "weights_moved"}
    with pytest.raises(ProbeError, match="switched off"):
        run(file, saved, monkeypatch, tmp_path, surface=False, states=False, gradients=0, plan=None)


def test_a_plan_that_cannot_train_is_told(file, saved, monkeypatch, tmp_path):
    plan = Plan(dtype="float16", lora_rank=None)
    measured = run(file, saved, monkeypatch, tmp_path, surface=False, states=False, gradients=0, plan=plan)
    assert "PB001" in {f.code for f in measured.run.findings}


def own(loaded, contexts, temperature, tokens, seed=0):
    """The model's own answers as sides, ended by the tokenizer's end token."""
    draws = [Draw(tuple(context), temperature, seed + i) for i, context in enumerate(contexts)]
    found = answers(loaded, draws, tokens=tokens)
    end = loaded.tokenizer.eos_token_id
    return [answered_side(loaded, c, answer, end) for c, answer in zip(contexts, found, strict=True)]


def test_samples_are_the_models_own(tiny, make_tokenizer, load):
    """Greedy text is the argmax at every step; sampled text repeats with its seed and not without."""
    loaded = load(tiny, make_tokenizer("bpe", bos=True))
    contexts = [[1, 50, 60], [1, 70], [1, 80, 90, 100, 110]]
    for side, context in zip(own(loaded, contexts, 0.0, 12), contexts, strict=True):
        assert list(side.ids[: side.start]) == context
        ids = list(context)
        for token in side.ids[side.start :]:
            with torch.no_grad():
                assert int(tiny(torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)
    first, again, other = ([s.ids for s in own(loaded, contexts, 1.0, 12, seed)] for seed in (1, 1, 20))
    assert first == again != other


def test_sampling_keeps_the_models_distribution(tiny, make_tokenizer, load):
    """log p + entropy of its own samples is 0 in expectation: no top-k, no top-p, no penalty crept in."""
    loaded = load(tiny, make_tokenizer("bpe", bos=True))
    sides = own(loaded, [[1, 40 + i] for i in range(40)], 1.0, 16, seed=3)
    excess = torch.tensor([r.excess for _, r in read_out(tiny, sides, (1,))])
    assert abs(float(excess.mean())) < 4 * float(excess.std()) / 40**0.5


def test_an_answer_is_closed_by_the_token_that_ended_it(tiny, make_tokenizer, load):
    """One rule of ends: the tokenizer's end and the generation config's; the file's own end is preferred."""
    loaded = load(tiny, make_tokenizer("bpe", bos=True))
    tokenizer = loaded.tokenizer
    side = answered_side(loaded, (1, 50), SampledIds((60, 70), True), 2)
    assert side.ids == (1, 50, 60, 70, 2) and (side.start, side.ends) == (2, 1)
    assert side.bytes == len(tokenizer.decode([60, 70], skip_special_tokens=True).encode())
    assert answered_side(loaded, (1, 50), SampledIds((60,), False), 2).ids == (1, 50, 60)
    codes = [EncodedPair("a", EncodedSide((1, 50, 7), 1, 1, True), EncodedSide((1, 50), 1, 1))]
    session = SimpleNamespace(loaded=loaded)
    assert closing_token(session, codes) == tokenizer.eos_token_id != 7
    tiny.generation_config.eos_token_id = [7, 9]
    assert closing_token(session, codes) == 7 and closing_token(session, []) == tokenizer.eos_token_id


def test_a_chat_is_closed_as_its_template_closes_turns(tiny, make_tokenizer, load):
    """A text row beside it keeps the tokenizer's end token."""
    tokenizer = make_tokenizer(chat=True)
    close, end = tokenizer.convert_tokens_to_ids("<|end|>"), tokenizer.eos_token_id
    turns = [{"role": "user", "content": "Why?"}]
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)

    def coded(context, last):
        side = EncodedSide((*context, 60, last), len(context), 1, 1)
        return EncodedPair("a", side, side)

    chat, text = coded(asked, close), coded((61, 62), end)
    session = SimpleNamespace(loaded=load(tiny, tokenizer))
    assert closing_token(session, [chat, text]) == close and closing_token(session, [text, chat]) == end


@pytest.mark.parametrize(
    ("prompts", "told"), [((), "no pair can be scored"), (("a", "a"), "share one prompt")]
)
def test_states_of_no_pair_and_of_one_prompt_are_told_and_not_read(prompts, told, capsys):
    """All prompts fill the length limit, or those of one prompt are left: one line with the reason."""
    some = [(Pair(str(i), prompt, f"yes {i}", "no"), None) for i, prompt in enumerate(prompts)]
    assert read_states(None, None, some, "the prompt fills --max-length (24)") is None
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line and "the prompt fills --max-length (24)" in line


def test_a_file_of_which_nothing_is_dropped_is_not_said_to_be_trimmed(tmp_path):
    """Where labels cannot be told it said "150 of 150 pairs; dropped the pairs whose label is …"."""
    out, log = tmp_path / "o.jsonl", tmp_path / "o.jsonl.dropped.jsonl"
    by = next(iter(TRIMS))
    assert "all 9 pairs; none was dropped" in trimmed_line([], 9, by, out, log)
    assert "7 of 9 pairs; dropped" in trimmed_line([1, 2], 9, by, out, log)
