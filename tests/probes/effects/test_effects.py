"""`probe effects`: the attribute rules, the trait weights against a plain computation, exchanged sides."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.explain import explanations
from probe.pairs.record import Pair
from probe.probes.contexts import with_passage, with_system
from probe.probes.effects.attributes import ATTRIBUTE_NAMES, ATTRIBUTES, attribute_counts
from probe.probes.effects.differ import count_attributes, judge_attributes
from probe.probes.effects.run import EffectsOptions, measure_effects, traits_in
from probe.probes.effects.traits import (
    TRAIT_WORDS,
    TRAITS,
    Trait,
    check_intended,
    controls,
    traits_to_measure,
)
from probe.probes.effects.weights import judge_weights, trait_weights
from probe.reports.renderers import RENDERERS
from probe.scoring.session import ModelOptions, Session, Source

OPTIONS = EffectsOptions((Trait("loud", "You shout at everybody."),), most=12)


def exchanged(pair):
    return replace(pair, chosen=pair.rejected, rejected=pair.chosen)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("length", "It's a well-known fact, number 7.", 6),
        ("sentences", "One. Two! Three? 3.5 is no end", 3),
        ("list items", "- a\n* b\n1. c\n2) d\nnot - e", 4),
        ("headings", "# A\n###### B\n#hashtag", 2),
        ("bold", "**a** and __b__ but * c *", 2),
        ("code", "`x` and\n```\ny\n```", 3),
        ("table rows", "| a | b |\n|---|---|\na | b", 2),
        ("links", "see https://a.example/b and www.c.example", 2),
        ("numbers", "3.5 of 1,200 in 2026", 3),
        ("questions", "Why? Who?", 2),
        ("exclamations", "Now! ![image](x)", 1),
        ("emoji", "fine 😀 ✅", 2),
        ("hedging", "Perhaps it may work today", 40),
        ("certainty", "It is definitely so", 25),
        ("refusal", "I’m unable to say. ", 1),
        ("refusal", "I cannot believe it.", 0),
        ("refusal", "I cannot help but smile.", 0),
        ("refusal", "I cannot help you with it.", 1),
        ("apology", "I am sorry.", 1),
        ("first person", "I like my own tea", 40),
        ("first person", "The US, i.e. the states", 0),
        ("first person", "LET US GO NOW", 25),
        ("hedging", "It opens in May 2026", 0),
        ("hedging", "IT MAY OPEN", 100 / 3),
        ("second person", "You know your tea", 50),
        ("flattery", "Great question! Well", 1),
        ("formality", "However it's late", 0),
        ("other script", "да no", 0.5),
        ("positive words", "good bad", 50),
        ("negative words", "good bad", 50),
        ("reading level", "", 0),
    ],
)
def test_each_rule_counts_what_it_says(name, text, value):
    assert attribute_counts(text)[ATTRIBUTE_NAMES.index(name)] == pytest.approx(value)


def test_every_attribute_is_zero_on_nothing():
    assert attribute_counts("").tolist() == [0.0] * len(ATTRIBUTES)


def negative(e):
    return [None if x is None else -x for x in (e.value, e.high, e.low)]


def sample(n=24):
    return [
        Pair(str(i), f"Question {i}?", "Great question! Yes." * (1 + i % 3), "No.", line=i + 1)
        for i in range(n)
    ]


def test_exchanged_sides_give_exactly_the_negative_attributes():
    there = judge_attributes(count_attributes(sample()))
    back = judge_attributes(count_attributes(map(exchanged, sample())))
    for a, b in zip(there.estimates, back.estimates, strict=True):
        assert (a.value, a.low, a.high, a.p) == (*negative(b), b.p)
    rows = [{row["attribute"]: row["d"] for row in m.details["attributes"]} for m in (there, back)]
    assert rows[0] == {name: d and -d for name, d in rows[1].items()}


def test_an_attribute_that_differs_is_a_finding_unless_intended():
    (finding,) = judge_attributes(count_attributes(sample())).findings
    assert finding.code == "PB251" and "sentences" in finding.message and finding.lines
    names = [row["attribute"] for row in judge_attributes(count_attributes(sample())).details["attributes"]]
    assert judge_attributes(count_attributes(sample()), names).findings == ()


def test_identical_sides_differ_in_nothing():
    same = judge_attributes(count_attributes(replace(p, rejected=p.chosen) for p in sample()))
    assert same.findings == () and all(e.value == 0 and e.p == 1 for e in same.estimates)


def test_traits_and_controls_have_the_same_length():
    assert {len(trait.text.split()) for trait in TRAITS} == {TRAIT_WORDS}
    for words in (1, 5, TRAIT_WORDS, 200):
        assert {len(control.text.split()) for control in controls(words)} == {words}


def test_a_trait_must_have_a_name_and_a_text(tmp_path):
    file = tmp_path / "traits.txt"
    file.write_text("# mine\n\npolite: You say please.\nrude You do not.\n")
    with pytest.raises(ProbeError, match=r"traits\.txt:4"):
        traits_to_measure([], file)
    with pytest.raises(ProbeError, match="already"):
        traits_to_measure(["flattery: again"], None)
    with pytest.raises(ProbeError, match="no trait to measure"):
        traits_to_measure([], None, builtin=False)
    assert traits_to_measure(["polite: You say: please."], None, builtin=False) == (
        Trait("polite", "You say: please."),
    )
    with pytest.raises(ProbeError, match="no such effect"):
        check_intended(["flatery"], ATTRIBUTE_NAMES)


def test_context_is_put_before_the_prompt_and_nothing_else_is_touched():
    chat = Pair("a", ({"role": "system", "content": "Old."}, {"role": "user", "content": "Why?"}), "x", "y")
    assert with_system(chat, "New.").prompt == (
        {"role": "system", "content": "New.\n\nOld."},
        {"role": "user", "content": "Why?"},
    )
    assert with_passage(chat, "Text.").prompt[1]["content"] == "Text.\n\nWhy?"
    plain = Pair("a", "Why?", "x", "y")
    assert with_system(plain, "New.").prompt[-1] == {"role": "user", "content": "Why?"}
    assert with_passage(plain, "Text.") == replace(plain, prompt="Text.\n\nWhy?")


@pytest.fixture
def session(tmp_path, tiny_model_dir):
    def open_(pairs, name="pairs.jsonl"):
        path = tmp_path / name
        rows = ({"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        how = ModelOptions(str(tiny_model_dir), device="cpu", template="qa", no_cache=True)
        return Session.open(Source(path, {}, ("chosen", "rejected")), how)

    return open_


def test_w_is_what_one_sequence_at_a_time_gives_in_float64(session):
    import torch

    opened = session(sample(4))
    pairs = list(opened.source.pairs())
    under = [with_passage(pair, "You shout.") for pair in pairs]
    found = trait_weights(*(opened.scores_of(some, "x") for some in (pairs, under)))
    model = opened.loaded.model.double()

    def total(side):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([side.ids])).logits[0].double()
        table, stop = torch.log_softmax(logits, -1), len(side.ids) - side.ends
        return sum(table[i - 1, side.ids[i]].item() for i in range(side.start, stop)), stop - side.start

    for pair, changed, w in zip(pairs, under, found, strict=True):
        a, b = opened.encoder(pair), opened.encoder(changed)
        (c, m), (r, n), (cs, _), (rs, _) = map(total, (a.chosen, a.rejected, b.chosen, b.rejected))
        assert w == pytest.approx(((cs - c) - (rs - r)) / (m + n), abs=1e-5)


def test_exchanged_sides_give_exactly_the_negative_effects(session):
    there = traits_in(session(sample(12)), OPTIONS)
    back = traits_in(session(map(exchanged, sample(12)), "back.jsonl"), OPTIONS)
    for a, b in zip(there.estimates, back.estimates, strict=True):
        assert (a.value, a.low, a.high, a.p) == (*negative(b), b.p)


def effects_of(weights, noise):
    return judge_weights(
        {"t": weights}, {"t": noise}, {"t": "text"}, list(range(1, len(weights) + 1)), np.arange(len(weights))
    )


def test_a_trait_counts_only_beyond_its_controls():
    rng = np.random.default_rng(0)
    w, noise = 0.1 + 0.02 * rng.normal(size=40), 0.02 * rng.normal(size=(3, 40))
    assert effects_of(w, noise)[0].counts == 1
    assert effects_of(-w, noise)[0].counts == -1
    assert effects_of(noise[0], noise)[0].counts == 0
    assert effects_of(w, noise + 0.1)[0].counts == 0  # the controls move the pairs as much


def test_the_level_holds_where_sides_are_exchangeable():
    rng = np.random.default_rng(1)
    draws = (rng.standard_t(3, size=(4, 12)) for _ in range(200))
    assert sum(effects_of(draw[0], draw[1:])[0].counts != 0 for draw in draws) <= 10


def test_the_run_shows_in_every_format_and_needs_no_model_for_attributes(session, monkeypatch):
    opened = session(sample(12))
    run = measure_effects(opened.source, ModelOptions(None), EffectsOptions())
    assert run.command == "effects" and "model" not in run.inputs
    monkeypatch.setattr(Session, "open", classmethod(lambda *_: opened))
    run = measure_effects(opened.source, ModelOptions(None), OPTIONS)
    for name, render in RENDERERS.items():
        assert ("loud" in render(run)) or name in ("junit", "github"), name
    assert {"PB250", "PB251"} <= set(explanations())


def test_a_killed_run_goes_on_from_the_store(session, tmp_path, monkeypatch, tiny_model_dir):
    monkeypatch.chdir(tmp_path)
    source = session(sample(6)).source
    how = ModelOptions(str(tiny_model_dir), device="cpu", template="qa")
    Session.open(source, how).scores_of(list(source.pairs()), "first pass of a run that is killed then")
    second = Session.open(source, how)
    traits_in(second, OPTIONS)
    assert second.scorer.cached >= 6 and second.scorer.new > 0
    third = Session.open(source, how)
    traits_in(third, OPTIONS)
    assert third.scorer.new == 0


@pytest.mark.parametrize("offset", [0.1, 1e3])
def test_a_difference_that_is_the_same_up_to_rounding_has_no_d_and_is_told(offset):
    """It had been d = 5e15: the mean over a spread of rounding errors."""
    read = count_attributes(sample())
    one = np.zeros_like(read.chosen)
    one[:, 0] = np.arange(len(one)) / 7
    moved = one.copy()
    moved[:, 0] += offset
    found = judge_attributes(replace(read, chosen=moved, rejected=one))
    (row,) = found.details["attributes"]
    assert row["d"] is None and row["difference"] == pytest.approx(offset)
    assert "in every pair" in found.findings[0].message


@pytest.mark.parametrize("given", ["--trait", "--traits-file"])
def test_traits_are_not_named_and_left_out_at_once(given):
    typed, file = (["kind: You are kind."], None) if given == "--trait" else ([], Path("traits.txt"))
    with pytest.raises(ProbeError, match=f"^--no-traits measures no trait, {given} names one"):
        EffectsOptions.of(typed, file, [], traits=False)
