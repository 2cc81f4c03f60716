"""What the evaluations of a run say beside its training: a signal that they do not see was memorised.

Training accuracies are those of batches as they pass; the held-out ones are of the same pairs every time, so
that several evaluations make no larger sample. How many pairs those are is mostly not logged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...training.methods import LN2
from .case import Case
from .curve import Curve, LogRow, curve_of
from .stuck import HIGH, NEAR_IDLE

FEWEST_PAIRS = 20  # taken to be held out where the log does not say how many
ERRORS = 3.0  # standard errors by which training must surpass the evaluations
APART = 0.2  # accuracy by which it must surpass them at least
LEARNED = 0.8  # of the loss at the start: a training loss below it has learned its pairs
GAINED = 0.05  # accuracy above where a set, or training, began: it has learned something
DROPPED = 0.1  # below its best: a held-out accuracy that fell clearly
FELL = 0.95  # of the first held-out loss: a later one below it has learned something
HALF = 0.5
OVERFIT = 1.1  # times its lowest, or of two evaluations its first: a held-out loss that rose
ENTRIES_BEFORE = 5  # entries of training that must precede an evaluation
# Methods whose loss has one known start on the scale of the evaluations; a DPO variant may be scaled in
# training alone.
OF_KNOWN_START = ("DPO", "IPO", "KTO", "reward model")


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The evaluations of one set. `prefix` is that of its columns, `pairs` its size where that is logged."""

    prefix: str
    loss: Curve
    accuracy: Curve
    pairs: int | None


def evaluation_sets(case: Case) -> list[EvaluationSet]:
    """Every set that has a loss or an accuracy, beside a log of training; none of a log without training."""
    found = [
        EvaluationSet(prefix, curve_of(rows, "loss"), curve_of(rows, "rewards/accuracies"), _pairs(rows))
        for prefix, rows in case.places()
        if prefix and case.log.train
    ]
    return [held for held in found if len(held.loss) or len(held.accuracy)]


def _pairs(rows: tuple[LogRow, ...]) -> int | None:
    """How many were evaluated: logged, or the runtime times the samples per second."""
    row = rows[-1]
    n = row.get("samples", row.get("runtime", math.nan) * row.get("samples_per_second", math.nan))
    return round(n) if math.isfinite(n) and n >= 1.0 else None


def nothing_seen(case: Case, held: EvaluationSet) -> str:
    """What shows that a set has nothing of what training learned, quoted from the log; else ""."""
    return "; ".join(filter(None, (_at_chance(case, held), _at_start(case, held))))


def surely_unseen(case: Case, held: EvaluationSet) -> bool:
    """Whether that is beyond chance: training surpasses the accuracy of the set by `ERRORS` standard errors.

    Without two accuracies to compare, that the loss says so three times.
    """
    train = _until(case, "rewards/accuracies", held.accuracy)
    if not len(train):
        return len(held.loss) >= 3
    return train.last(5) - held.accuracy.values[-1] >= ERRORS * standard_error(held)


def _until(case: Case, name: str, held: Curve) -> Curve:
    """A column of training up to the last evaluation, which cannot see what was learned after it."""
    curve = curve_of(case.log.train, name)
    kept = sum(step <= held.steps[-1] for step in curve.steps) if len(held) else 0
    return Curve(name, curve.steps[:kept], curve.values[:kept])


def _at_chance(case: Case, held: EvaluationSet) -> str:
    accuracy = held.accuracy
    train = _until(case, "rewards/accuracies", accuracy)
    if not case.method.pairwise or len(train) < ENTRIES_BEFORE or max(accuracy.values) > HIGH:
        return ""
    # Without a reference an untrained model may lie anywhere below one half, and rise from there.
    risen = accuracy.values[-1] > max(accuracy.values[0], train.first(10)) + GAINED
    if train.last(5) - accuracy.values[-1] < APART or (case.method.family == "reference-free" and risen):
        return ""
    return (
        f"{held.prefix}rewards/accuracies {_ends(accuracy)}, never clearly above chance, beside a mean of "
        f"{train.last(5):.3g} in training"
    )


def _at_start(case: Case, held: EvaluationSet) -> str:
    """A held-out loss that never fell below where an untrained policy has it, while that of training did."""
    loss, idle = held.loss, case.method.idle
    train = _until(case, "loss", loss)
    if idle is None or case.method.name not in OF_KNOWN_START or len(train) < ENTRIES_BEFORE:
        return ""
    began = case.method.sigmoid or abs(train.values[0] - idle) <= 0.1 * idle
    fell = loss.values[-1] < FELL * loss.values[0]
    if not began or fell or min(loss.values) <= idle * (1.0 - NEAR_IDLE) or train.last(5) >= LEARNED * idle:
        return ""
    start = "the ln 2" if idle == LN2 else "the loss"
    return (
        f"{held.prefix}loss {_ends(loss)}, never clearly under {start} of an untrained policy, beside a mean "
        f"of {train.last(5):.4g} in training"
    )


def ranks_something(held: EvaluationSet) -> str:
    """The accuracy of a set that is above chance, quoted; else ""."""
    accuracy = held.accuracy
    ranks = len(accuracy) and max(accuracy.values) > HIGH
    return f"{held.prefix}rewards/accuracies {_ends(accuracy)}" if ranks else ""


def _ends(curve: Curve) -> str:
    """The first and the last value of the evaluations, or the only one."""
    first, last = curve.values[0], curve.values[-1]
    return f"{first:.4g} to {last:.4g}" if len(curve) > 1 else f"{last:.4g}"


def quoted(case: Case) -> list[str]:
    """What each set says, first and last: a report that calls a run healthy shows it."""
    pairs = case.method.pairwise
    return [
        f"{_columns(held, pairs)} ({count} {'evaluations, first and last' if count > 1 else 'evaluation'})"
        for held in evaluation_sets(case)
        for count in [max(len(held.loss), len(held.accuracy))]
    ]


def _columns(held: EvaluationSet, pairwise: bool) -> str:
    named = (("loss", held.loss), ("rewards/accuracies" if pairwise else "accuracies", held.accuracy))
    return " and ".join(f"{held.prefix}{name} {_ends(curve)}" for name, curve in named if len(curve))


def held_out_doubts(case: Case) -> Iterator[str]:
    """What the evaluations say against a healthy run, without showing for certain that it is none."""
    if case.method.family == "online":
        return
    for held in evaluation_sets(case):
        doubt = nothing_seen(case, held) or _rose(held) or _fell(case, held) or _parted(case, held)
        if doubt:
            yield doubt


def _fell(case: Case, held: EvaluationSet) -> str:
    """A held-out accuracy that fell clearly, less than noise of so few pairs is sure not to."""
    if accuracy_fall(case, held) < max(DROPPED, 2.0 * standard_error(held) if held.pairs else 0.0):
        return ""
    accuracy = held.accuracy
    return (
        f"{held.prefix}rewards/accuracies {max(accuracy.values):.4g} at best and {accuracy.values[-1]:.4g} "
        "at the end, while training rose: over-fitting, or noise"
    )


def accuracy_fall(case: Case, held: EvaluationSet) -> float:
    """By how much a held-out accuracy of pairs ended below its best while that of training rose; else 0."""
    train = _until(case, "rewards/accuracies", held.accuracy)
    rose = not len(train) or train.last(5) > train.first(10) + GAINED
    if not case.method.pairwise or len(held.accuracy) < 2 or not rose:
        return 0.0
    return max(held.accuracy.values) - held.accuracy.values[-1]


def surely_fell(case: Case, held: EvaluationSet) -> bool:
    """Whether that is beyond `ERRORS` standard errors, and no hair's breadth in a large set."""
    return accuracy_fall(case, held) >= max(GAINED, ERRORS * standard_error(held))


def standard_error(held: EvaluationSet) -> float:
    """That of an accuracy near one half, of as many pairs as the set has."""
    return math.sqrt(0.25 / (held.pairs or FEWEST_PAIRS))


def _rose(held: EvaluationSet) -> str:
    """A held-out loss that rose in the only two evaluations, less than noise is sure not to."""
    loss = held.loss
    if len(loss) != 2 or not loss.values[1] >= OVERFIT * loss.values[0] > 0.0:
        return ""
    return f"{held.prefix}loss {_ends(loss)} in the only two evaluations: over-fitting, or noise"


def _parted(case: Case, held: EvaluationSet) -> str:
    """A training loss that was halved between the first evaluation and the last, which is no better."""
    loss = held.loss
    train = _until(case, "loss", loss)
    if len(loss) < 2 or loss.values[-1] < loss.values[0]:
        return ""
    since = sum(step < loss.steps[0] for step in train.steps)
    part = Curve("loss", train.steps[since:], train.values[since:])
    if len(part) < ENTRIES_BEFORE or not 0.0 < part.last(10) < HALF * part.first(10):
        return ""
    return (
        f"{held.prefix}loss {_ends(loss)} while the mean training loss went from {part.first(10):.4g} to "
        f"{part.last(10):.4g}: training goes on and the held-out loss gains nothing"
    )


def not_recognised(case: Case, limit: float) -> str:
    """That fewer than `limit` of the held-out pairs are ranked right: they are not trivial; else ""."""
    for held in evaluation_sets(case) if case.method.pairwise else ():
        if len(held.accuracy) and held.accuracy.values[-1] < limit:
            return f"{held.prefix}rewards/accuracies is {held.accuracy.values[-1]:.3g} at the last evaluation"
        if not len(held.accuracy) and _at_start(case, held):
            return f"{held.prefix}loss is {held.loss.values[-1]:.4g} at the last evaluation"
    return ""
