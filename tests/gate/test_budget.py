"""A time allowed: which rung is taken, what is said of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from paces import PACE

from probe.errors import ProbeError
from probe.gate import bill, budget
from probe.probes.gated import Effort, GateRequest
from probe.scoring.session import ModelOptions, Source


def request(**more):
    return GateRequest(Source.of(Path("p.jsonl"), None, None, False), ModelOptions(), **more)


def spent(asked):
    return bill.probe_seconds(asked, 1000, PACE, 3e-3, 4.0)


def total(asked):
    return sum(value for name, value in spent(asked).items() if name not in asked.off)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5 min", 90.0), ("1h", 3600.0)]
)
def test_times(text, seconds):
    assert budget.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5 lorries", "-5m", "0", "nan", "1e9"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ProbeError, match="such as 90s"):
        budget.seconds_of(text)


def test_the_request_leads_and_the_cheapest_is_the_last():
    asks = [request(), request(effort=Effort((), 1500, 4)), request(off=frozenset({"trial"}))]
    for asked in (*asks, request(trial_pairs=96), request(trial_pairs=50), request(trial_pairs=48)):
        taken = [total(rung) for rung in budget.rungs(asked)]
        assert next(budget.rungs(asked)) == asked
        assert (max(taken), min(taken)) == (taken[0], taken[-1]) and len(set(taken)) == len(taken)


def test_the_trial_gets_smaller_before_it_is_left_out():
    sizes = [(rung.trial_pairs, "trial" in rung.off) for rung in budget.rungs(request())]
    assert sizes == [
        (128, False),
        (96, False),
        (64, False),
        (48, False),
        (48, False),
        (128, True),
        (128, True),
    ]


def test_enough_time_changes_nothing_and_says_nothing():
    asked = request()
    assert budget.within(total(asked), asked, spent) == (asked, None)


@pytest.mark.parametrize("asked", [request(), request(effort=Effort((), 1500, 4))])
def test_the_most_that_fits_is_taken_and_said(asked):
    for rung in list(budget.rungs(asked))[1:]:
        given, found = budget.within(total(rung), asked, spent)
        assert given == next(one for one in budget.rungs(asked) if total(one) <= total(rung))
        rung = given
        assert found is not None and (found.code, found.severity) == ("PB611", "info")
        told = "no training steps" if "trial" in rung.off else f"the trial takes {rung.trial_pairs} pairs"
        whole = f"instead of {asked.effort.trial * asked.trial_pairs}"
        assert (whole in found.message) == ("trial takes" in found.message)
        assert told in found.message and ("states of 128" in found.message) == (rung.effort.states == 128)


def test_less_than_the_least_is_refused_before_anything_is_measured():
    cheapest = list(budget.rungs(request()))[-1]
    with pytest.raises(ProbeError, match="Allow more, or switch probes off"):
        budget.within(total(cheapest) - 1, request(), spent)


def test_fewer_scored_pairs_are_said():
    asked = request(effort=Effort((), 1500, 4), off=frozenset({"trial"}))
    found = budget.cut_short(10.0, asked, request(effort=budget.SMALL_EFFORT, off=frozenset({"trial"})))
    assert found is not None and "at most 256 pairs were scored for the preference" in found.message
    assert budget.cut_short(10.0, asked, asked) is None
