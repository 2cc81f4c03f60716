"""The judge of a comparison: halves by prompt, each fitted on the pairs of the other; too few say nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probe.gate.promote import moved
from probe.gate.promote.moved import FEWEST_PROMPTS, Heard, _half, with_behaviour
from probe.records import Run
from probe.stats.behaviour import CutResponse

RUN = Run("compare", "now")


def write(text: str) -> CutResponse:
    return CutResponse(text, True, tuple(hash(word) % 10**6 for word in text.split()))


def heard(n: int, answer: str) -> Heard:
    """`n` prompts with one pair each, kind against rude, and the model's answers."""
    prompts = [f"p{i}" for i in range(n)]
    sides = ([write(f"{word} w{i}") for i in range(n)] for word in ("kind", "rude"))
    return Heard(prompts, [write(f"{answer} a{i}") for i in range(n)], prompts, *sides)


def test_answers_that_turn_to_the_chosen_kind_are_counted():
    run = with_behaviour(RUN, heard(40, "rude"), heard(40, "kind"), alpha=0.05, seed=0)
    (row,) = run.details["race"]
    assert (row["up"], row["down"], row["prompts"], row["judged"]) == (40, 0, 40, True)
    assert row["won"] and row["eligible"] and run.estimate("behaviour_up").value == 1.0
    back = with_behaviour(RUN, heard(40, "kind"), heard(40, "rude"), alpha=0.05, seed=0)
    assert back.details["race"][0]["down"] == 40


@pytest.mark.parametrize("n", [2 * FEWEST_PROMPTS - 1, 2 * FEWEST_PROMPTS])
def test_fewer_prompts_than_two_least_halves_say_nothing(n):
    run = with_behaviour(RUN, heard(n, "rude"), heard(n, "kind"), alpha=0.05, seed=0)
    assert ("race" in run.details) == (n >= 2 * FEWEST_PROMPTS)


def test_answers_to_other_prompts_or_of_one_model_alone_say_nothing():
    one = heard(40, "rude")
    other = replace(heard(40, "kind"), prompts=[f"q{i}" for i in range(40)])
    for pair in ((one, other), (one, None), (None, one)):
        assert with_behaviour(RUN, *pair, alpha=0.05, seed=0) is RUN


def test_a_half_is_judged_by_the_pairs_of_the_other():
    base, tuned, first = heard(4, "rude"), heard(4, "kind"), {"p0", "p2"}
    half, rest = (_half(base, tuned, first, part) for part in (True, False))
    assert half.pair_prompts == ["p0", "p2"] and rest.pair_prompts == ["p1", "p3"]
    assert [one.text for one in half.chosen] == ["kind w0", "kind w2"]
    assert [one.text for one in half.train_chosen] == ["kind w1", "kind w3"]
    assert [one.text for one in half.train_rejected] == ["rude w1", "rude w3"]
    assert [some[0].text for some in half.before] == ["rude a0", "rude a2"]
    assert [some[0].text for some in half.after] == ["kind a0", "kind a2"]


def test_every_prompt_is_judged_once(monkeypatch):
    judged = []
    real = moved.behaviour
    monkeypatch.setattr(
        moved, "behaviour", lambda halves, alpha: judged.extend(halves) or real(halves, alpha=alpha)
    )
    with_behaviour(RUN, heard(20, "rude"), heard(20, "kind"), alpha=0.05, seed=0)
    prompts = [prompt for half in judged for prompt in half.pair_prompts]
    assert len(judged) == 2 and sorted(prompts) == sorted(f"p{i}" for i in range(20))
