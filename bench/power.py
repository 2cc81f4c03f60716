"""How often a gate passes, with the product's own judging code: useless sets, and sets that can be learned.

A set of n pairs is drawn whole, no model: pairs have features, labels follow one direction of them with a
strength that gives the wanted accuracy of a linear learner on unseen pairs; each is fitted on the labels of
the pairs that the trial would train on, so the errors of two halves go together as they do in a trial.
`python bench/power.py` prints the table of docs/validity.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from datetime import date

import numpy as np
from scipy.special import ndtri

from probe.gate.judge import JudgeSettings, judge
from probe.gate.registry import PROBE_NAMES
from probe.probes.trial.judge import Trial, trial
from probe.probes.trial.options import TrialOptions
from probe.probes.trial.passes import Pass
from probe.probes.trial.run import LOOKS, hopeless, settled
from probe.records import Run
from probe.stats.statistics import share_clustered

DONE = dict.fromkeys(PROBE_NAMES, "done")
FEATURES, PAIRS = 40, 128
NULL = tuple((n, 0.5) for n in (40, 128, 300, 2000))
CELLS = (*NULL, (128, 0.65), (300, 0.65), (300, 0.6), (2000, 0.6))


def drawn(rng: np.random.Generator, n: int, half: int, accuracy: float) -> np.ndarray:
    """Differences [n, features] whose direction a mean of `half` of them finds, so that it ranks `accuracy`
    of the others right; with useless labels (.5) there is none."""
    direction = rng.normal(size=FEATURES)
    return rng.normal(size=(n, FEATURES)) + _strength(half, accuracy) * direction / np.linalg.norm(direction)


def passed(margins: np.ndarray, folds: int = 1) -> Pass:
    """Margins of unseen pairs as the trial keeps them."""
    zero, n = np.zeros(len(margins)), len(margins)
    return Pass(margins, margins, zero, zero + 1, [str(i) for i in range(n)], range(n), zero, folds)


def _strength(half: int, accuracy: float) -> float:
    """m such that a pair d ~ N(m u, I) and a mean ~ N(m u, I/half) rank `accuracy` of pairs right."""
    if accuracy == 0.5:
        return 0.0
    goal, low, high = float(ndtri(accuracy)), 0.0, 20.0
    for _ in range(60):
        m = (low + high) / 2
        reached = m**2 / math.sqrt(m**2 * (1 + 1 / half) + FEATURES / half)
        low, high = (m, high) if reached < goal else (low, m)
    return (low + high) / 2


def looks(rng: np.random.Generator, n: int, accuracy: float) -> Iterator[Pass]:
    """The unseen pairs of the first look, then of both, as `probes/trial/run.py` draws them."""
    if n <= 1.25 * PAIRS:
        half = n // 2
        pairs = drawn(rng, n, half, accuracy)
        learners = pairs[:half].mean(0), pairs[half:].mean(0)
        yield passed(pairs[half:] @ learners[0])
        yield passed(np.concatenate([pairs[half:] @ learners[0], pairs[:half] @ learners[1]]), 2)
        return
    half = min(n // 2, 96)
    pairs = drawn(rng, min(n, 4 * PAIRS), half, accuracy)
    margins = pairs[half:] @ pairs[:half].mean(0)
    yield passed(margins[: PAIRS // 2])
    yield passed(margins)


def gated(rng: np.random.Generator, n: int, accuracy: float) -> bool:
    """Whether a file of `n` pairs passes, by the product's own looks, estimates and judgement."""
    options = TrialOptions(alpha=0.05 / LOOKS)
    for found in looks(rng, n, accuracy):
        measured = trial(Trial(found, found, 12, 8, 1.0), options.alpha)
        if settled(measured, options) or hopeless(measured):
            break
    # Lengths that tell nothing: the form conditions are measured, and forbid nothing beyond their own error.
    length = share_clustered(rng.integers(0, 2, n), None, name="length_accuracy")
    run = Run("gate", "now", estimates=(*measured.estimates, length), details={"probes": DONE})
    return judge(run, JudgeSettings(today=date(2026, 1, 1))).verdict.status == "pass"


def main() -> None:
    """Print the share of simulated files that pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    files = parser.parse_args().files
    print("| pairs | accuracy on unseen pairs | pass |\n|--:|--:|--:|")
    for n, accuracy in CELLS:
        rng = np.random.default_rng([n, round(100 * accuracy)])
        passed = sum(gated(rng, n, accuracy) for _ in range(files))
        print(f"| {n:,} | {accuracy:.2f} | {passed / files:.1%} |", flush=True)


if __name__ == "__main__":
    main()
