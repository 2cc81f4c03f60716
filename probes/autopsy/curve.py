"""A column of a log as a curve: its ends, its windows, the step from which something holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

LogRow = dict[str, float]
SURE_ERRORS = 5.0  # standard errors beyond which a change is no noise, whatever else the log seems to say
Holds = Callable[[float], bool]
Middle = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One finite-valued column: `values[i]` was logged at `steps[i]`, in the order of training."""

    name: str
    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def window(self, parts: int) -> int:
        """How many entries a tenth or a fifth has: at least two where the log has four or more."""
        return max(min(2, len(self) // 2), len(self) // parts, min(1, len(self)))

    def first(self, parts: int) -> float:
        """Mean of the first tenth (`parts` = 10) or fifth; NaN for an empty curve."""
        return fmean(self.values[: self.window(parts)]) if self.values else math.nan

    def last(self, parts: int) -> float:
        """Mean of the last tenth or fifth; NaN for an empty curve."""
        return fmean(self.values[-self.window(parts) :]) if self.values else math.nan

    def last_median(self, parts: int) -> float:
        """Median of the last tenth or fifth; NaN for an empty curve."""
        return median(self.values[-self.window(parts) :]) if self.values else math.nan

    def before_last(self, parts: int) -> float:
        """Mean of the window just before the last one; NaN when the curve is too short for two."""
        k = self.window(parts)
        return fmean(self.values[-2 * k : -k]) if len(self) >= 2 * k > 0 else math.nan

    def smoothed(self) -> tuple[float, ...]:
        """Running median of three, which a single outlier cannot move."""
        v = self.values
        return tuple(median(v[max(0, i - 1) : i + 2]) for i in range(len(v)))

    def since(self, holds: Holds, parts: int, middle: Middle = fmean) -> float:
        """The step from which `holds` is true to the end of the curve, whose last window was judged by it.

        It is asked of the mean (or median) of every stretch as long as that window: single entries cross a
        limit by chance wherever the noise is as wide as the distance to it. Within the first stretch from
        which all hold, the first entry that holds as well; never later than the window that was judged.
        """
        v, k = self.values, self.window(parts)
        start = len(v) - k
        while start and holds(middle(v[start - 1 : start - 1 + k])):
            start -= 1
        smooth = self.smoothed()
        first = next((i for i in range(start, len(v)) if holds(smooth[i])), start)
        return self.steps[first]


def surely_changed(curve: Curve, share: float = 0.0) -> float:
    """The change from the first fifth to the last, or 0 where that may be noise or is under `share`.

    `share` is one of the first fifth's mean.
    """
    if len(curve) < 5:
        return 0.0
    change, error = curve.last(5) - curve.first(5), _error(curve.values, curve.window(5))
    return change if abs(change) > max(SURE_ERRORS * error, share * abs(curve.first(5))) else 0.0


def _error(values: Sequence[float], k: int) -> float:
    """The standard error of the difference of two means of `k` values.

    The noise is that of neighbours, whose mean distance is 1.128 σ: a batch of one pair jumps as far from one
    entry to the next as from the first to the last.
    """
    return fmean(abs(b - a) for a, b in pairwise(values)) / 1.128 * math.sqrt(2.0 / k)


def risen(loss: Curve) -> bool:
    """Whether the end of a curve lies above its start by more than its own noise.

    Else every entry of the last third above every one of the first, which eight or more entries do by chance
    in one log of 70.
    """
    v, k = loss.values, max(2, loss.window(10))
    third = max(2, len(v) // 3)
    apart = third >= 4 and min(v[-third:]) > max(v[:third])
    return apart or fmean(v[-k:]) - fmean(v[:k]) > 2.5 * _error(v, k)


def curve_of(rows: Sequence[LogRow], name: str) -> Curve:
    """The finite values of one column. An accuracy beside NaN rewards says nothing and is left out."""
    points = [
        (row["step"], row[name])
        for row in rows
        if math.isfinite(row.get(name, math.nan)) and not (name == "rewards/accuracies" and _hollow(row))
    ]
    return Curve(name, tuple(s for s, _ in points), tuple(v for _, v in points))


def _hollow(row: LogRow) -> bool:
    # NaN > NaN is false, so a trainer counts a NaN reward as a lost comparison.
    return any(math.isnan(row.get(f"rewards/{name}", 0.0)) for name in ("chosen", "rejected", "margins"))
