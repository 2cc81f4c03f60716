"""One group's evidence and verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...number_format import NONE, count, interval, number
from ...records import BiasRow, Estimate
from ...scoring.scores import PairScore
from .evidence import BiasSettings, GroupEvidence

EXAMPLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GroupWording:
    """One group's evidence and verdict, with what a message needs besides."""

    case: GroupEvidence
    row: BiasRow
    settings: BiasSettings
    scores: Sequence[PairScore]

    @property
    def side(self) -> str:
        """The name of the side that the mean gap leans to."""
        return self.settings.sides[0 if self.case.mean.value > 0 else 1]

    @property
    def wins(self) -> str:
        """`CICO wins 5 of 5 pairs, 2 tied`: the leading side first."""
        rate, ties = self.case.wins, self.case.ties
        first = round((rate.value or 0.0) * rate.n)
        best = 0 if 2 * first >= rate.n else 1
        tied = f", {ties:,} tied" if ties else ""
        wins = first if best == 0 else rate.n - first
        return f"{self.settings.sides[best]} wins {wins:,} of {count(rate.n, 'pair')}{tied}"

    @property
    def gap(self) -> str:
        """The mean gap with its interval and unit."""
        return value_with_unit(self.case.gap)

    def most(self, sign: float) -> list[PairScore]:
        """The pairs whose gap goes furthest in the direction of `sign`."""
        gaps = np.array([self.scores[i].gap for i in self.case.index])
        order = np.argsort(-sign * gaps, kind="stable")[:EXAMPLES_SHOWN]
        return [self.scores[self.case.index[i]] for i in order]


def value_with_unit(estimate: Estimate) -> str:
    """Value, interval and unit."""
    bounds = interval(estimate.low, estimate.high, estimate.units)
    shown = "(no interval)" if bounds == NONE else bounds
    return f"{number(estimate.value, estimate.units)} {shown} {estimate.units}"
