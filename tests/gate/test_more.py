"""What is said to settle an open condition: in what is asked for, and only what would be read."""

import dataclasses
import math
from datetime import date

import pytest
from scipy import stats

from probe.gate.more import as_asked
from probe.gate.registry import PROBE_NAMES
from probe.gate.settings import GateOptions, judged
from probe.probes.trial import run as trial_run
from probe.probes.trial.options import TrialOptions
from probe.records import Estimate, Run

READS = {"trial": 512, "trial_accuracy": 320, "behaviour_up": 192}


def share(name: str, value: float, n: int) -> Estimate:
    low, high = stats.binomtest(round(value * n), n).proportion_ci(0.95, "exact")
    return Estimate(name, value, low, high, n, None, "exact", "share")


def told(*measured: Estimate, reads=READS) -> tuple[str, str, str]:
    """The open condition's message, the decided method, and what would change it."""
    known = (share("flip_budget_share", 0.2, 200), share("length_accuracy", 0.55, 200), *measured)
    details = {
        "probes": dict.fromkeys(PROBE_NAMES, "done"),
        "reads": [{"probe": name, "most": most} for name, most in reads.items()],
        "race": [
            {
                "method": "dpo",
                "won": True,
                "eligible": False,
                "judged": True,
                "up": 1,
                "down": 1,
                "accuracy": 0.7,
            }
        ],
    }
    run = judged(Run("gate", "now", estimates=known, details=details), GateOptions(), date(2026, 11, 21))
    (condition,) = (c for c in run.verdict.conditions if c.name == "trial_accuracy")
    return condition.message, run.decision.method, run.decision.runner_up["what_would_change_it"]


@pytest.mark.parametrize(("moved", "asked", "more", "expected"), [(40, 100, 62, 155), (30, 30, 7, 7)])
def test_prompts_are_asked_for_by_the_share_that_moved(moved, asked, more, expected):
    found = as_asked(share("behaviour_up", 0.5, moved), more, asked)
    assert found == (expected, asked, "prompts asked") and expected == math.ceil(more * asked / moved)
    assert as_asked(share("length_accuracy", 0.5, moved), more, asked) == (more, moved, "pairs")


@pytest.mark.parametrize("most", [150, 1000])
def test_a_condition_that_samples_decide_asks_for_prompts(most):
    reads = {**READS, "behaviour_up": most}
    measured = share("trial_accuracy", 0.7, 200), share("behaviour_up", 0.65, 40)
    message, *_ = told(*measured, share("behaviour_unchanged", 0.6, 100), reads=reads)
    assert "155 more prompts asked would settle it" in message and "pairs would" not in message
    assert ("trial asks at most 150" in message) is (most == 150)


@pytest.mark.parametrize("n", [60, 150])
def test_unseen_pairs_are_held_against_the_unseen_ones_that_are_read(n):
    """Of 512 pairs read, 192 are trained on: no more than 320 are ever measured."""
    message, _, change = told(share("trial_accuracy", 0.58, n))
    assert "were the measured value" not in message and "more pairs" not in change
    assert "reads at most 320 unseen ones" in message
    far = {**READS, "trial_accuracy": 10_000}
    assert "were the measured value" in told(share("trial_accuracy", 0.58, n), reads=far)[0]


def test_the_decision_names_no_pairs_where_samples_decide():
    measured = share("trial_accuracy", 0.58, 120), share("behaviour_unchanged", 0.6, 100)
    for up in (0.4, 0.55):
        _, method, change = told(*measured, share("behaviour_up", up, 40), reads={})
        assert method == "do-not-train" and "more pairs" not in change
        assert ("0.55" in change) is ("more prompts asked" in change) is (up > 0.5)


@pytest.mark.parametrize(("pairs", "steps"), [(128, 24), (512, 24), (16, 8)])
def test_a_large_file_is_measured_on_what_is_drawn_and_not_trained_on(pairs, steps):
    options = TrialOptions(pairs=pairs, steps=steps, most=4 * pairs)
    assert trial_run.pairs_trained(options) == max(pairs // 2, 8 * steps)
    assert trial_run.pairs_trained(dataclasses.replace(options, steps=1)) == max(pairs // 2, 8)
