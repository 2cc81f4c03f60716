"""How often a gate passes, with the product's own judging code: useless sets, and sets that can be learned.

A set of n pairs is drawn whole, no model: pairs have features, labels follow one direction of them with a
strength that gives the wanted accuracy of a linear learner on unseen pairs; each is fitted on the labels of
the pairs that the trial would train on, so the errors of two halves go together as they do in a trial.
Where samples are judged they decide: there three candidates race on the same prompts, each moving a prompt
that moves at all to the chosen kind with its own probability, and margins say nothing.
`python bench/power.py` prints the tables of docs/validity.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
from scipy.special import ndtri

from probe.gate.judge import JudgeSettings, judge
from probe.gate.registry import PROBE_NAMES
from probe.probes.trial import race as racing
from probe.probes.trial.gated import MOST_PROMPTS
from probe.probes.trial.judge import Trial, judge_trial
from probe.probes.trial.options import TrialOptions
from probe.probes.trial.passes import Pass
from probe.probes.trial.run import LOOKS, hopeless, settled
from probe.records import Estimate, Run
from probe.stats.behaviour import Behaviour, Half
from probe.stats.statistics import share, share_clustered

DONE = dict.fromkeys(PROBE_NAMES, "done")
FEATURES, PAIRS = 40, 128
NULL = tuple((n, 0.5) for n in (40, 128, 300, 2000))
CELLS = (*NULL, (128, 0.65), (300, 0.65), (300, 0.6), (2000, 0.6))
METHODS = ("sft", "dpo", "sft+dpo")  # the cheapest first
JUDGED = (
    *((n, (0.5, 0.5, 0.5)) for n in (40, 128, 300, 2000)), (128, (0.65, 0.5, 0.65)), (128, (0.75, 0.5, 0.75)),
    (300, (0.65, 0.5, 0.65)), (2000, (0.65, 0.5, 0.65)), (300, (0.5, 0.65, 0.5)),
)  # fmt: skip
MOVED = 0.9  # the share of prompts that move at all


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
        measured = judge_trial(Trial(found, found, 12, 8, 1.0), options.alpha)
        if settled(measured, options) or hopeless(measured):
            break
    return _passes(rng, n, measured.estimates)


def _passes(rng: np.random.Generator, n: int, estimates: tuple[Estimate, ...]) -> bool:
    # Lengths that tell nothing: the form conditions are measured, and forbid nothing beyond their own error.
    length = share_clustered(rng.integers(0, 2, n), None, name="length_accuracy")
    run = Run("gate", "now", estimates=(*estimates, length), details={"probes": DONE})
    return judge(run, JudgeSettings(today=date(2026, 1, 1))).verdict.status == "pass"


def judged(rng: np.random.Generator, n: int, shares: tuple[float, ...]) -> str:
    """The winner where a file of `n` pairs passes by judged samples, "" where it does not."""
    options = TrialOptions(alpha=0.05 / LOOKS, methods=METHODS)
    most = n if n <= 1.25 * PAIRS else min(n - 96, 4 * PAIRS - 96)
    first = n // 2 if n <= 1.25 * PAIRS else PAIRS // 2
    most = min(most, 2 * PAIRS if n <= 1.25 * PAIRS else MOST_PROMPTS)
    moves = {method: _moves(rng, most, up) for method, up in zip(METHODS, shares, strict=True)}
    margins = rng.normal(size=most)
    for size in (first, most):
        found = passed(margins[:size])
        candidates = [
            racing.RacedMethod(method, cost, [12], found, [_half(moves[method][:size])])
            for cost, method in enumerate(METHODS, 1)
        ]
        measured = racing.race(candidates, options.alpha)
        told = (*measured.estimates, *judge_trial(Trial(found, found, 12, 8, 1.0), options.alpha).estimates)
        measured = replace(measured, estimates=told)
        if settled(measured, options) or hopeless(measured):
            break
    won = next((row["method"] for row in measured.details["race"] if row["won"]), "")
    return won if _passes(rng, n, measured.estimates) else ""


def _moves(rng: np.random.Generator, n: int, up: float) -> np.ndarray:
    """Per prompt 1 for up, −1 for down, 0 for samples that stay."""
    return np.where(rng.random(n) < MOVED, np.where(rng.random(n) < up, 1, -1), 0)


def _half(moves: np.ndarray) -> Half:
    """A half that holds the moves alone, for the two stand-ins below."""
    return Half((), (), (), (), (), ((),), moves, ())


def _behaviour(written, *, alpha: float, tests: int) -> Behaviour:
    """What the product's judge would report of these moves, were it always heard."""
    moves = written[0].after
    up, down = int((moves > 0).sum()), int((moves < 0).sum())
    found = share(up, up + down, name="behaviour_up", alpha=alpha / tests)
    row = {"judged": True, "up": up, "down": down, "prompts": len(moves)}
    return Behaviour((found,), row, True)


def _nearer(one: racing.RacedMethod, other: racing.RacedMethod) -> tuple[int, int]:
    difference = one.written[0].after - other.written[0].after
    return int((difference > 0).sum()), int((difference < 0).sum())


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
    racing.behaviour, racing._nearer = _behaviour, _nearer
    print("\n| pairs | samples up: sft, dpo, sft+dpo | pass | a best one won |\n|--:|---|--:|--:|")
    for n, shares in JUDGED:
        rng = np.random.default_rng([n, *(round(100 * share) for share in shares)])
        won = [name for name in (judged(rng, n, shares) for _ in range(files)) if name]
        best = sum(shares[METHODS.index(name)] == max(shares) for name in won)
        told = ", ".join(f"{share:.2f}" for share in shares)
        print(f"| {n:,} | {told} | {len(won) / files:.1%} | {best} of {len(won)} |", flush=True)


if __name__ == "__main__":
    main()
