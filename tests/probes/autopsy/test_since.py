"""The step that a sign is dated by lies within a window of where it was planted, whatever the noise."""

import random
import re

import pytest

from probe.probes.autopsy.curve import Curve
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json, to_run
from probe.probes.autopsy.log import make_log
from probe.reports.text import render

N, KINDS = (
    300,
    {
        # before, after, noise, what holds after
        "a coin": (0.9, 0.5, 0.11, lambda v: 0.4 <= v <= 0.6),
        "below chance": (0.7, 0.42, 0.12, lambda v: v < 0.5),
        "sure": (0.8, 0.998, 0.004, lambda v: v >= 0.99),
        "risen": (0.5, 2.0, 0.4, lambda v: v >= 1.0),
        "fallen": (0.9, 0.2, 0.2, lambda v: v < 0.5),
    },
)


def curve(kind: str, change: int, seed: int) -> Curve:
    before, after, noise, _ = KINDS[kind]
    rng = random.Random(seed)
    values = [(before if i < change else after) + rng.gauss(0, noise) for i in range(N)]
    return Curve(kind, tuple(float(i + 1) for i in range(N)), tuple(values))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", [0, 100, 200])
@pytest.mark.parametrize("parts", [5, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_a_date_lies_within_a_window_of_the_change(kind, parts, change, seed):
    found = curve(kind, change, seed)
    since = found.since(KINDS[kind][3], parts)
    assert abs(since - (change + 1)) <= found.window(parts)


def test_a_date_is_never_later_than_the_window_that_was_judged():
    found = curve("a coin", 0, 1)
    assert found.since(lambda v: False, 5) == N - found.window(5) + 1


NANS = {"loss": float("nan"), "rewards/chosen": float("nan"), "grad_norm": 1.0}
BIG = 1234567


@pytest.mark.parametrize(
    "fails",
    [
        [{"loss": 9.0}] * 20,  # diverged
        [NANS] * 20,
        [{"loss": 1.0, "learning_rate": 0.0}] * 20,
    ],
    ids=["diverged", "numerics", "a tag"],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_steps_of_millions_are_told_with_all_their_digits(fails, resumed):
    """`Take the checkpoint nearest step 2.46901e+06` names no checkpoint."""
    rows = [{"loss": 1.5 - 0.01 * i} for i in range(20)] + fails
    rows = [{"step": BIG * (i + 1), **row} for i, row in enumerate(rows)]
    log = make_log("x", rows[:30] + rows[25:] if resumed else rows)
    found = diagnose(log)
    told = str(diagnosis_json(found)) + render(to_run(log, found))
    assert str(40 * BIG) in told and not re.search(r"\de\+0", told)
    assert not resumed or f"resumed at step {26 * BIG}" in told


def test_a_plan_of_many_steps_is_told_to_the_step():
    rows = [{"step": 12345 * (i + 1), "loss": 1.5 - 0.01 * i, "max_steps": 4_000_000} for i in range(40)]
    assert any("step 493,800 of 4,000,000" in note for note in diagnose(make_log("x", rows)).notes)
