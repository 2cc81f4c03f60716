"""Axes: ends that hold the data, ticks at round numbers. Text and SVG plots share them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..number_format import place_text

SMALLEST_RANGE = 1e-300  # below it floats lose their digits, and steps their multiples


def ends(values: Iterable[float | None], bound: float | None = None) -> tuple[float, float]:
    """Round ends of an axis that holds all values, zero and ± bound."""
    known = [x for x in values if x is not None and math.isfinite(x)]
    low, high = min([0.0, -(bound or 0), *known]), max([0.0, bound or 0, *known])
    step = round_step((high - low or 1.0) / 8)
    return step * _floor(low / step), -step * _floor(-high / step)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers from `low` to `high`, both included where they are round."""
    if high <= low:
        return [low]
    step = round_step((high - low) / (most - 1))
    first, last = -_floor(-low / step), _floor(high / step)
    return [step * k for k in range(first, last + 1)]


def round_step(size: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is at least `size`."""
    size = max(size, SMALLEST_RANGE)
    power = 10.0 ** math.floor(math.log10(size))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= size * 0.999)


def tick_label(value: float) -> str:
    """A tick's label, signed where negative, without trailing zeros."""
    return place_text(round(value, 10)).replace("-", "−")


def _floor(value: float) -> int:
    return math.floor(round(value, 6))
