"""May the tuned model take the base's place? Changes held against allowances: promote, roll back, or open.

The question is of non-inferiority: H0, per group, is that the quantity got worse by its allowance. All groups
must reject it for "nothing got worse", which is an intersection–union test and needs no correction (Berger
1982). "This group got worse" is claimed of any group, and is corrected by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import ProbeError
from ...records import Condition, ConditionResult
from ...stats.power import least_clusters
from ...stats.resampling import sign_flip
from ...stats.several import holm
from ...stats.statistics import summarise, tail_ps
from ..conditions import pairs_to_settle
from .changes import QUANTITIES, QuantityChange

# What a quantity is measured with, where it was not.
MEASURED_WITH = {
    "grade": "Give --scores",
    **dict.fromkeys(("gap", "accuracy"), "Give the pair file, or two saved runs"),
    "chosen": "Give the pair file, or saved runs with their scores.jsonl",
    "watched": "Give --watch with two models",
    "repetition": "Name two models, with --samples above 0 and prompts in the pair file",
}
RESULT_WORDS = {"pass": "promote", "fail": "roll back", "inconclusive": "inconclusive"}


@dataclass(frozen=True, slots=True)
class Allowances:
    """How far each quantity may get worse: by its name, or by (name, group), which wins. None: not judged."""

    general: Mapping[str, float | None]
    groups: Mapping[tuple[str, str], float]
    named: frozenset[str] = frozenset()  # quantities that were asked for by name

    def check(self, measured: Collection[str]) -> None:
        """Raises `ProbeError` for a quantity that was asked for and is none of those `measured`."""
        if missing := sorted({*self.named, *(name for name, _ in self.groups)} - {*measured}):
            raise ProbeError(
                f"--allowance {missing[0]}: nothing of that kind is measured here. "
                f"{MEASURED_WITH[missing[0]]}, or leave it out."
            )

    def of(self, change: QuantityChange) -> float | None:
        """The allowance for one change; None where it is shown and not judged."""
        name = change.quantity.name
        return self.groups.get((name, change.group), self.general[name])


def allowances(typed: Sequence[str], bound: float) -> Allowances:
    """The defaults with what was typed: `gap=0.05`, `grade:billing=0.5`. The gap's default is `bound`.

    Raises `ProbeError` for what is no allowance, and for a quantity that cannot get worse.
    """
    general = {name: q.allowance for name, q in QUANTITIES.items()} | {"gap": bound}
    groups: dict[tuple[str, str], float] = {}
    named: set[str] = set()
    for text in typed:
        place, _, number = text.rpartition("=")
        name, _, group = place.partition(":")
        value = _number(number)
        if name not in QUANTITIES or not QUANTITIES[name].better or value is None:
            known = ", ".join(name for name, q in QUANTITIES.items() if q.better)
            raise ProbeError(
                f"--allowance {text}: not an allowance. Write NAME=NUMBER or NAME:GROUP=NUMBER; names: "
                f"{known}."
            )
        if group:
            groups[name, group] = value
        else:
            general[name] = value
            named.add(name)
    return Allowances(general, groups, frozenset(named))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def claims_of(changed: Sequence[QuantityChange], allowed: Allowances) -> list[ChangeClaim]:
    """Every change that has an allowance, with it. Raises `ProbeError` for one of what is not there."""
    allowed.check({change.quantity.name for change in changed})
    present = {(change.quantity.name, change.group) for change in changed}
    if missing := [place for place in allowed.groups if place not in present]:
        name, group = missing[0]
        raise ProbeError(
            f"--allowance {name}:{group}: nothing of that kind was measured. Check the group's name."
        )
    return [ChangeClaim(c, allowance) for c in changed if (allowance := allowed.of(c)) is not None]


@dataclass(frozen=True, slots=True)
class ChangeClaim:
    """A change held against how far it may get worse, in the quantity's units and ≥ 0."""

    change: QuantityChange
    allowance: float

    @property
    def limit(self) -> float:
        """The value that the change must not pass: negative where more is better."""
        return -self.change.quantity.better * self.allowance

    def worse(self) -> bool:
        """Whether the measured change lies beyond the allowance."""
        value = self.change.estimate.value
        return value is not None and self.change.quantity.better * (value - self.limit) < 0

    def held(self) -> bool:
        """Whether the interval of the change holds the limit; that of a share may where t's would not."""
        low, high = self.change.estimate.low, self.change.estimate.high
        return low is not None and high is not None and low < self.limit < high

    def p(self) -> float | None:
        """Two-sided p of H0 "the change equals the limit": the larger of t's and of the exact sign-flip's.

        Sign flips alone where all items changed alike, which leaves no variance for t; None where no item
        could tell.
        """
        beyond, clusters = self.change.differences - self.limit, self.change.clusters
        flipped = sign_flip(beyond, clusters)
        if not flipped.units:
            return None
        tails = tail_ps(summarise(beyond, clusters))
        return flipped.p if tails is None else max(flipped.p, min(1.0, 2 * min(tails)))


def judge_claims(claims: Sequence[ChangeClaim], alpha: float = 0.05) -> list[Condition]:
    """A condition a claim. It passes when its own test rejects the limit on the good side, fails when the
    test rejects it on the bad side after Holm's correction over all claims, and is inconclusive else."""
    ps = [claim.p() for claim in claims]
    bad = [1.0 if p is None or not c.worse() else p for c, p in zip(claims, ps, strict=True)]
    adjusted = holm(bad) if bad else np.array([])
    return [_condition(c, p, float(q), alpha) for c, p, q in zip(claims, ps, adjusted, strict=True)]


def _condition(claim: ChangeClaim, p: float | None, adjusted: float, alpha: float) -> Condition:
    result: ConditionResult = "inconclusive"
    if claim.worse():
        result = "fail" if adjusted <= alpha and not claim.held() else "inconclusive"
    elif p is not None and p <= alpha and not claim.held():
        result = "pass"
    message = "" if result != "inconclusive" else _open(claim, alpha)
    sense = ">=" if claim.change.quantity.better > 0 else "<="
    estimate = claim.change.estimate
    return Condition(
        estimate.name, estimate.group, estimate, claim.limit, result, "PB901", message, sense=sense
    )


def _open(claim: ChangeClaim, alpha: float) -> str:
    """Why a claim stays open, and how many items would close it."""
    change = claim.change
    count, least = len(np.unique(change.clusters)), least_clusters(alpha)
    if count < least:
        return f"{count} independent items; fewer than {least} cannot show anything, however alike"
    more = pairs_to_settle(change.estimate, claim.limit, alpha, 1)
    return (
        f"{more:,} more items would settle it if the measured value is the true one"
        if more
        else ("the measured value lies on the limit, or has no interval")
    )
