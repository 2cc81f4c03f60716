"""`probe levers`: steering against the model itself, shots against hand-built chats, the judged rows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.explain import explanations
from probe.pairs.record import Pair
from probe.probes.contexts import place_of_system, with_passage, with_shots, with_system
from probe.probes.effects.run import EffectsOptions, traits_in
from probe.probes.levers.judge import Base, Lever, judge_levers
from probe.probes.levers.run import LeversOptions, levers_in, measure_levers, shots_for, text_of_option
from probe.reports.renderers import RENDERERS
from probe.scoring.encode import make_encoder
from probe.scoring.session import ModelOptions, Session, Source
from probe.training.neutral import NEUTRAL_PAIRS, neutral_pairs


def sample(n=12):
    return [
        Pair(
            str(i),
            f"Question {i}?",
            f" Answer {i} is so.",
            f" No idea {i}.",
            line=i + 1,
            meta={"text": f"T{i}."},
        )
        for i in range(n)
    ]


@pytest.fixture
def session(tmp_path, tiny_model_dir):
    def open_(pairs, **how):
        path = tmp_path / "pairs.jsonl"
        rows = ({"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected, **p.meta} for p in pairs)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = ModelOptions(str(tiny_model_dir), device="cpu", template="qa", **({"no_cache": True} | how))
        return Session.open(Source(path, {}, ("chosen", "rejected")), options)

    return open_


def sides_of(opened, pairs):
    return [side for c in opened.encoder.many(pairs) for side in (c.chosen, c.rejected)]


def test_steering_at_strength_0_is_the_model_and_leaves_no_hook(session):
    from probe.scoring.engine import blocks, plain_logps
    from probe.scoring.steering import steered_logps

    opened = session(sample(3))
    sides, model = sides_of(opened, sample(3)), opened.loaded.model
    plain = [plain_logps(model, side).detach().numpy() for side in sides]
    nothing = np.zeros(model.config.hidden_size, np.float32)
    for layer in range(len(blocks(model))):
        still = steered_logps(opened.loaded, sides, layer, nothing, store=False)
        assert all(np.array_equal(a, b) for a, b in zip(plain, still, strict=True))
        moved = steered_logps(opened.loaded, sides, layer, nothing + 1 + np.arange(32), store=False)
        assert not any(np.allclose(a, b) for a, b in zip(plain, moved, strict=True))
    assert not any(block._forward_hooks for block in blocks(model))


def _states(output):
    return output[0] if isinstance(output, tuple) else output


def test_steering_the_last_block_is_the_vector_added_by_hand(session):
    import torch

    from probe.scoring.steering import steered_logps

    opened = session(sample(1))
    (side, _), model = sides_of(opened, sample(1)), opened.loaded.model
    vector = np.linspace(-1, 1, 32, dtype=np.float32)
    (found,) = steered_logps(opened.loaded, [side], 1, vector, store=False)
    inner = model.model
    kept = {}
    hook = inner.layers[1].register_forward_hook(
        lambda m, i, o: kept.update(out=o if torch.is_tensor(o) else o[0])
    )
    with torch.no_grad():
        model(input_ids=torch.tensor([side.ids]))
        logits = model.lm_head(inner.norm(_states(kept["out"]) + torch.from_numpy(vector)))[0]
    hook.remove()
    table = torch.log_softmax(logits, -1)
    wanted = [table[i - 1, side.ids[i]].item() for i in range(side.start, len(side.ids))]
    assert found == pytest.approx(wanted, abs=1e-5)


def test_shots_are_the_chat_that_a_hand_would_build():
    one, two = Pair("1", "A?", "a", "x"), Pair("2", ({"role": "user", "content": "B?"},), "b", "y")
    own = Pair("3", ({"role": "system", "content": "S"}, {"role": "user", "content": "C?"}), "c", "z")
    assert with_shots("chat", own, [one, two]).prompt == (
        {"role": "system", "content": "S"},
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "B?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "C?"},
    )
    assert with_shots("qa", Pair("3", "C?", "c", "z"), [one]).prompt == "A?\nAnswer: a\n\nQuestion: C?"
    assert with_shots("raw", Pair("3", "C? ", "c", "z"), [replace(one, prompt="A? ")]).prompt == "A? a\n\nC? "
    assert with_shots("[{prompt}] ", Pair("3", "C?", "c", "z"), [one]).prompt == "A?] a\n\n[C?"


def test_the_qa_text_of_shots_is_the_template_written_out(session):
    opened = session(sample(3))
    one, own = sample(2)
    codes = opened.encoder(with_shots("qa", own, [one]))
    text = opened.loaded.tokenizer.decode(codes.chosen.ids[: codes.chosen.start], skip_special_tokens=True)
    assert text.startswith(
        "Question: Question 0?\nAnswer:  Answer 0 is so.\n\nQuestion: Question 1?\nAnswer:"
    )


def test_no_shot_has_the_prompt_of_its_pair():
    pairs = [*sample(5), replace(sample(1)[0], line=99, chosen="Again.")]
    for pair in pairs:
        shots = shots_for(pair, pairs[:4])
        assert len(shots) == 3 and pair.prompt not in [shot.prompt for shot in shots]


def judged(gaps, base=None, **changes):
    base = Base(np.array([-1.0] * 10 + [1.0] * 2) if base is None else base, np.arange(12), 10.0)
    lever = Lever("system", np.asarray(gaps), 9, None, 11.0, "")
    return judge_levers(base, [replace(lever, **changes)])


def test_a_lever_that_turns_pairs_is_told():
    found = judged([0.5 + 0.01 * i for i in range(8)] + [-0.9, -0.8, 1.2, 1.3])
    turned = next(e for e in found.estimates if e.name == "lever_turned:system")
    assert (turned.value, turned.n) == (0.8, 10)
    assert [f.code for f in found.findings] == ["PB530"]
    assert found.details["levers_told"].startswith("the system text turns 8 of 10")
    assert [row["lever"] for row in found.details["levers"]] == ["none", "system"]


def test_a_lever_that_does_nothing_or_harm_is_no_finding():
    base = np.array([-1.0] * 10 + [1.0] * 2)
    assert judged(base).findings == ()
    assert judged(base - 0.5).findings == ()
    assert judged(base).details["levers_told"].endswith("nothing works")


def test_a_lever_that_breaks_the_model_is_told():
    assert "PB531" in [f.code for f in judged(np.ones(12), perplexity=20.5).findings]
    assert "PB531" not in [f.code for f in judged(np.ones(12), perplexity=20.0).findings]


def test_where_nothing_is_wrong_nothing_can_be_turned():
    found = judged(np.ones(12) * 2, base=np.ones(12))
    assert next(e for e in found.estimates if e.name == "lever_turned:system").value is None
    assert "nothing to turn" in found.details["levers_told"]


def test_the_sentence_compares_with_the_trial():
    base = Base(-np.ones(12), np.arange(12), 10.0)
    system = Lever("system", np.r_[np.ones(4), -np.ones(8)], 9, None, None, "")
    trial = Lever("trial", np.r_[np.ones(9), -np.ones(3)], 0, 5.0, None, "")
    told = judge_levers(base, [system, trial]).details["levers_told"]
    assert told == (
        "the system text turns 4 of 12 pairs that the model ranks wrong, the trial 9 of 12: "
        "training does more than anything tried"
    )
    told = judge_levers(base, [replace(system, gaps=np.ones(12)), trial]).details["levers_told"]
    assert told.endswith("the system text does as much as the trial, without training")


def test_a_lever_that_turns_nothing_never_does_as_much_as_a_trial_that_turns_nothing():
    base = Base(-np.ones(12), np.arange(12), 10.0)
    system = Lever("system", -np.ones(12), 9, None, None, "")
    trial = Lever("trial", -np.ones(12), 0, 5.0, None, "")
    shots = Lever("shots", np.r_[np.ones(4), -np.ones(8)], 90, None, None, "")
    assert judge_levers(base, [system, trial]).details["levers_told"].endswith("nothing tried works")
    told = judge_levers(base, [system, shots, trial]).details["levers_told"]
    assert told == (
        "showing other answers first turns 4 of 12 pairs that the model ranks wrong, the trial 0 of 12: "
        "showing other answers first does more than the trial, without training"
    )


@pytest.mark.parametrize("measure", [levers_in, traits_in])
def test_pairs_that_cannot_be_scored_as_they_stand_are_told_by_their_reason(session, measure):
    """A longer input, or a shorter text, helps no pair whose sides are the same."""
    options = {
        levers_in: LeversOptions(system="Be brief.", shots=0, steering=False),
        traits_in: EffectsOptions.of(["kind: You are kind."], None, [], builtin=False),
    }[measure]
    same = [replace(pair, rejected=pair.chosen) for pair in sample(4)]
    with pytest.raises(ProbeError) as told:
        measure(session(same), options)
    assert str(told.value) == (
        "no pair could be scored of 4 pairs as they stand: both sides are the same tokens (4). "
        "Look at the file with `probe data`."
    )
    with pytest.raises(ProbeError, match=r"the prompt fills --max-length \(4\)\. Raise --max-length\.$"):
        measure(session(sample(4), max_length=4), options)
    with pytest.raises(ProbeError, match=r"no pair could be scored, uncut, under every .*--max-length, or"):
        measure(session(sample(4), max_length=40), options)


def test_the_whole_run_in_every_format(session, monkeypatch):
    opened = session(sample())
    monkeypatch.setattr(Session, "open", classmethod(lambda *_: opened))
    options = LeversOptions(system="Be so.", context_field="text", shots=2, draws=2, trial=1)
    run = measure_levers(opened.source, ModelOptions(None), options)
    rows = {row["lever"]: row for row in run.details["levers"]}
    assert set(rows) == {"none", "system", "context", "shots", "steering", "trial"}
    assert rows["shots"]["tokens"] > rows["system"]["tokens"] > 0 == rows["steering"]["tokens"]
    assert all(row["perplexity"] > 1 for name, row in rows.items() if name != "trial")
    for name, render in RENDERERS.items():
        assert "steering" in render(run) or name in ("junit", "github"), name
    assert {"PB530", "PB531"} <= set(explanations())
    base = [s.gap for s in opened.scores_of(list(opened.source.pairs()), "x")]
    assert rows["none"]["gap"] == pytest.approx(np.mean(base))


def test_a_second_run_takes_everything_from_the_store(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = session(sample(), no_cache=False)
    monkeypatch.setattr(Session, "open", classmethod(lambda *_: opened))
    first = measure_levers(opened.source, ModelOptions(None), LeversOptions(shots=2, draws=1))
    new = opened.scorer.new

    def forward(*_):
        raise AssertionError("a stored score was computed again")

    monkeypatch.setattr("probe.scoring.steering.plain_logps", forward)
    second = measure_levers(opened.source, ModelOptions(None), LeversOptions(shots=2, draws=1))
    assert opened.scorer.new == new
    assert [e.value for e in first.estimates] == [e.value for e in second.estimates]


def test_bad_input_is_one_line(session, tmp_path):
    opened = session(sample(4))
    pairs = list(opened.source.pairs())
    from probe.probes.levers.run import passage_texts, shots

    with pytest.raises(ProbeError, match="Use --shots 3"):
        shots(opened, pairs, LeversOptions(shots=9))
    with pytest.raises(ProbeError, match='line 1: no text in "none"'):
        passage_texts(opened, pairs, LeversOptions(context_field="none"))
    with pytest.raises(ProbeError, match="empty"):
        text_of_option(" ", "--system")
    assert text_of_option("so " * 999, "--system") == ("so " * 999).strip()
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ProbeError, match="not readable"):
        text_of_option(str(tmp_path / "bad.txt"), "--context")
    (tmp_path / "s.txt").write_text("From a file.\n")
    assert text_of_option(str(tmp_path / "s.txt"), "--system") == "From a file."
    assert len({p.line for p in NEUTRAL_PAIRS}) == len(NEUTRAL_PAIRS)


def test_texts_of_our_own_take_the_form_that_a_template_of_parts_reads(make_tokenizer):
    """Else a system text is dropped in silence: a template that loops over parts finds none in a text."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (
        "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
        "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    said = (("user", "Why?"), ("assistant", "so"), ("assistant", "no"))
    turns = [({"role": role, "content": [{"type": "text", "text": words}]},) for role, words in said]
    pair = Pair("1", *turns, line=1)
    encode = make_encoder(tokenizer, [pair])
    for place in (with_system, with_passage):
        codes = encode(place(pair, "Answer briefly."))
        assert "Answer briefly." in tokenizer.decode(codes.chosen.ids[: codes.chosen.start])
    texts = [tokenizer.decode(code.chosen.ids) for code in encode.many(neutral_pairs(encode))]
    assert all(
        own.prompt in text and own.chosen in text for own, text in zip(NEUTRAL_PAIRS, texts, strict=True)
    )
    assert neutral_pairs(make_encoder(make_tokenizer("bpe", chat=True), [pair])) == NEUTRAL_PAIRS


def test_a_lever_that_ruins_what_it_turns_does_not_do_as_much_as_a_trial():
    """Noise turns half of the pairs that are wrong and ruins half of those that are right."""
    base = Base(np.r_[-np.ones(20), np.ones(20)], np.arange(40), 10.0)
    noise = Lever("system", np.tile([1.0, -1.0], 20), 9, None, None, "")
    trial = Lever("trial", np.r_[np.ones(6), -np.ones(14), np.ones(20)], 0, 5.0, None, "")
    told = judge_levers(base, [noise, trial]).details["levers_told"]
    assert told == (
        "the system text turns 10 of 20 pairs that the model ranks wrong and loses 10 of 20 that it ranks "
        "right, the trial 6 of 20: training does more than anything tried"
    )
    alone = judge_levers(base, [noise]).details["levers_told"]
    assert alone.endswith("and loses 10 of 20 that it ranks right: nothing works")
    trained = judge_levers(base, [trial]).details["levers_told"]
    assert trained == "the trial turns 6 of 20 pairs that the model ranks wrong"


TURN = "{{ m['role'] }}: {{ m['content'] }}\n"


@pytest.mark.parametrize(
    ("turn", "place"),
    [
        (TURN, "as the system turn"),
        ("{% if m['role'] != 'system' %}" + TURN + "{% endif %}", "leaves system turns out"),
    ],
)
def test_a_system_text_stands_where_the_model_reads_it(make_tokenizer, turn, place):
    """A template may pass over system turns without a word: the text would be judged and never read."""
    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = (
        "{% for m in messages %}" + turn + "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    pair = Pair("1", "Why?", "So.", "No.", line=1)
    encoder = make_encoder(tokenizer, [pair], "chat", None)
    put, told = place_of_system(encoder, [pair])
    assert told.endswith(place)
    assert "Be brief." in encoder.texts(put(pair, "Be brief.")).prompt
