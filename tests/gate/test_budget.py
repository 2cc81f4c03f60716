"""A time allowed: which rung is taken, what is said of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
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
    assert budget.within(total(asked), asked, spent, 1000) == (asked, None)


@pytest.mark.parametrize("asked", [request(), request(effort=Effort((), 1500, 4))])
def test_the_most_that_fits_is_taken_and_said(asked):
    for rung in list(budget.rungs(asked))[1:]:
        given, found = budget.within(total(rung), asked, spent, 1000)
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
        budget.within(total(cheapest) - 1, request(), spent, 1000)


def test_fewer_scored_pairs_are_said():
    asked = request(effort=Effort((), 1500, 4), off=frozenset({"trial"}))
    found = budget.cut_short(10.0, asked, request(effort=budget.SMALL_EFFORT, off=frozenset({"trial"})), 1000)
    assert found is not None and "at most 256 pairs were scored for the preference" in found.message
    assert budget.cut_short(10.0, asked, asked, 1000) is None


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (40, ""),
        (60, "the trial takes 48 pairs instead of 60"),
        (200, "the trial takes 48 pairs instead of 128, and states of 128 pairs were read instead of 200"),
        (300, "the trial takes 48 pairs instead of 128, and states of 128 pairs were read instead of 300"),
        (400, "the trial takes 48 pairs instead of 128, and at most 256 pairs were scored for the "
              "preference, and states of 128 pairs were read instead of 300"),
    ],
)  # fmt: skip
def test_what_was_left_out_is_counted_in_the_file(n, said):
    """A file of 60 has no trial of 128, one of 300 is scored whole, a few pairs more than a look's 256."""
    given = request(trial_pairs=48, effort=budget.SMALL_EFFORT)
    found = budget.cut_short(10.0, request(), given, n)
    expected = f"to stay within --budget {said} (at most about 10 s)" if said else ""
    assert (found.message if found else "") == expected


@pytest.mark.parametrize(
    ("off", "model", "told"),
    [
        (("bias",), None, "states of"),
        (("negatives",), None, "were scored"),
        ((), "http://h/v1", "were scored"),
    ],
)
def test_of_a_probe_that_does_not_run_nothing_is_left_out(off, model, told):
    how, switched = ModelOptions(model), frozenset({"trial", *off})
    asked, given = (
        replace(request(off=switched), how=how, effort=effort) for effort in (Effort(), budget.SMALL_EFFORT)
    )
    found = budget.cut_short(10.0, asked, given, 1000)
    assert found is not None and told in found.message and ", and " not in found.message
