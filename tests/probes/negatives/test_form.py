"""A form that 60% of one side carry fails a gate, whatever its kind; the same form on both sides does not."""

import random
from datetime import date

import pytest

from probe.gate.judge import JudgeSettings, judge, verdict_of
from probe.gate.states import DONE
from probe.pairs.record import Pair
from probe.probes.negatives.pattern_findings import (
    CHOSEN_REMEDY,
    REJECTED_REMEDY,
    check_templates,
    templates_of,
    widest,
)
from probe.records import Condition, Decision, Reason, Run
from probe.reports.next_step import next_command

WORDS = [f"word{i}" for i in range(300)]
KINDS = {
    "PB211": lambda text: f"As a matter of fact {text}",
    "PB212": lambda text: f"{text} That is all there is.",
    "PB213": None,  # a frame around the other side's text
    "PB214": lambda text: text.replace(" ", " you should bear in mind ", 1),
    "PB215": lambda text: text.replace(" ", "! ", 2),
    "PB216": lambda text: text.rstrip("."),
}


def made(code, share, side="rejected", both=False, n=40):
    rng = random.Random(3)
    pairs = []
    for i in range(n):
        own = {name: " ".join(rng.sample(WORDS, 12)) + "." for name in ("chosen", "rejected")}
        other = "chosen" if side == "rejected" else "rejected"
        for name in (side, other) if both else (side,):
            if i < share * n:
                form = KINDS[code]
                own[name] = form(own[name]) if form else f"Some people say that {own[other]} is how it is."
        pairs.append(Pair(str(i), f"prompt {i}", own["chosen"], own["rejected"], line=i + 1))
    return pairs


def verdict(pairs):
    found = templates_of(pairs, ("chosen", "rejected"))
    estimates = tuple(widest(found, pairs, 0.05))
    run = Run("gate", "now", estimates=estimates, details={"probes": {"negatives": DONE}})
    conditions = judge(run, JudgeSettings(today=date(2026, 1, 1))).verdict.conditions
    result = next((c.result for c in conditions if c.name == "template_share"), None)
    return result, {f.code for f in check_templates(found, pairs, 0.05)}


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("code", KINDS)
def test_a_form_of_most_of_one_side_fails(code, side):
    result, codes = verdict(made(code, 0.6, side))
    assert result == "fail" and code in codes
    result, codes = verdict(made(code, 0.3, side))
    assert result in ("pass", None) and not codes


@pytest.mark.parametrize("code", [code for code in KINDS if KINDS[code]])
def test_a_form_of_both_sides_tells_nothing(code):
    result, codes = verdict(made(code, 0.6, both=True))
    assert result in ("pass", None) and not codes


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("code", KINDS)
def test_new_negatives_are_advised_only_where_the_rejected_side_has_the_form(code, side):
    """`probe sample` writes rejected answers: what most chosen ones have in common stays."""
    pairs = made(code, 0.7, side)
    found = templates_of(pairs, ("good", "bad"))
    share, *_ = widest(found, pairs, 0.05)
    remedies = {f.remedy for f in check_templates(found, pairs, 0.05) if f.code == code}
    assert remedies == {CHOSEN_REMEDY if side == "chosen" else REJECTED_REMEDY}
    inputs = {"pairs": {"path": "a.jsonl", "n": 40}, "sides": ["good", "bad"]}
    failed = Condition("template_share", "all", share, 0.5, "fail", code)
    reasons = (Reason(code, "why", "x"),)
    run = Run(
        "gate", "now", verdict=verdict_of([failed], "fail"), inputs=inputs,
        decision=Decision("do-not-train", (), {}, reasons),
    )  # fmt: skip
    checked = Run("data", "now", inputs=inputs, findings=tuple(check_templates(found, pairs, 0.05))[:1])
    for one, told in ((run, code), (checked, checked.findings[0].code)):
        expected = "probe sample a.jsonl" if side == "rejected" else f"probe explain {told}"
        assert next_command(one) == expected
