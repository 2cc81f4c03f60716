"""How often a gate passes, with the product's own judging code: useless sets, and sets that can be learned.

A set of n pairs is drawn whole, no model: pairs have features, labels follow one direction of them with a
strength that gives the wanted accuracy of a linear learner on unseen pairs, and each half's learner is fitted
on the labels of that half, as the trial does. So the errors of both halves go together as they do in a trial.
`python bench/power.py` prints the table of docs/validity.md.
"""

from __future__ import annotations

import argparse
import math
from datetime import date

import numpy as np
from scipy.special import ndtri

from probe.gate.judge import Settings, judge
from probe.gate.registry import PROBE_NAMES
from probe.probes.trial.judge import Pass, Trial, trial
from probe.records import Run
from probe.stats.statistics import share_clustered

DONE = dict.fromkeys(PROBE_NAMES, "done")
FEATURES = 40
NULL = tuple((n, 0.5) for n in (40, 128, 300, 2000))
CELLS = (*NULL, (128, 0.65), (300, 0.65), (300, 0.6), (2000, 0.6))


def unseen(rng: np.random.Generator, n: int, accuracy: float) -> Pass:
    """Both halves' margins [n] of mean-difference learners whose accuracy on unseen pairs is `accuracy`.

    With useless labels (.5) the learner's margins come from the labels of the other half alone.
    """
    half = n // 2
    # A mean of `half` differences N(m, I) has a margin on an unseen pair whose share above 0 is found here.
    strength = _strength(half, accuracy)
    direction = rng.normal(size=FEATURES)
    pairs = rng.normal(size=(2 * half, FEATURES)) + strength * direction / np.linalg.norm(direction)
    first, second = pairs[:half], pairs[half:]
    margins = np.concatenate([second @ first.mean(0), first @ second.mean(0)])
    zero = np.zeros(2 * half)
    return Pass(margins, margins, zero, zero + 1, [str(i) for i in range(2 * half)], range(2 * half), zero)


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


def gated(rng: np.random.Generator, n: int, accuracy: float, drawn: int = 128) -> bool:
    """Whether a file of `n` pairs passes: a trial on 128, then on up to 512 where that settles nothing."""
    looks = [min(n, drawn), *([min(n, 4 * drawn)] if n > 1.25 * drawn else [])]
    for pairs in looks:
        found = unseen(rng, pairs, accuracy)
        measured = trial(Trial(found, found, 24, 8, 1.0), 0.05 / len(looks))
        told = next(e for e in measured.estimates if e.name == "trial_accuracy")
        if told.low is not None and told.high is not None and not told.low <= 0.5 <= told.high:
            break
    # Lengths that tell nothing: the form conditions are measured, and forbid nothing beyond their own error.
    length = share_clustered(rng.integers(0, 2, n), None, name="length_accuracy")
    run = Run("gate", "now", estimates=(*measured.estimates, length), details={"probes": DONE})
    return judge(run, Settings(today=date(2026, 1, 1))).verdict.status == "pass"


def main() -> None:
    """Print the share of simulated files that pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    files = parser.parse_args().files
    print("| pairs | accuracy on unseen pairs | pass |\n|--:|--:|--:|")
    for n, accuracy in (
        (40, 0.5),
        (128, 0.5),
        (300, 0.5),
        (2000, 0.5),
        (128, 0.65),
        (300, 0.65),
        (300, 0.6),
        (2000, 0.6),
    ):
        rng = np.random.default_rng([n, round(100 * accuracy)])
        passed = sum(gated(rng, n, accuracy) for _ in range(files))
        print(f"| {n:,} | {accuracy:.2f} | {passed / files:.1%} |", flush=True)


if __name__ == "__main__":
    main()
