"""How numbers are written, the same in every format."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from .records import Estimate

NONE = "–"
WRITTEN_WHOLE = 1000  # from which a number of no units is written without a fraction
ALL_DIGITS = 1e15  # up to which a float holds every whole number
NAMES_LISTED = 5  # of a list of names in a sentence


def number(value: float | None, units: str = "") -> str:
    """A value by its units: shares in per cent, nats and percentage points signed, else four digits.

    Only what is nothing or all is written as 0, 0% or 100%.
    """
    if value is None:
        return NONE
    if units == "share":
        return f"{_per_cent(100 * value)}%".replace("-", "−")
    if units == "points":
        return _points(100 * value).replace("-", "−")
    if "nats" in units:
        digits = 2 if abs(value) >= 0.005 or abs(value) < 0.00005 else 4
        return f"{value if abs(value) >= 0.00005 else 0:+.{digits}f}".replace("-", "−")
    return (f"{value:,.0f}" if abs(value) >= WRITTEN_WHOLE else f"{value:,.4g}").replace("-", "−")


def amount(nats: float) -> str:
    """A number of nats in a sentence that says which way it goes: the digits of `number`, without a plus."""
    return number(nats, "nats").removeprefix("+")


def _per_cent(value: float) -> str:
    if 99.5 <= value < 100:
        return f"{math.floor(10 * value) / 10:.1f}"
    return f"{value:.0f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"


def _points(value: float) -> str:
    """Whole points from one on, a digit behind the point below it."""
    if abs(value) >= 0.95 or abs(value) < 0.005:
        return f"{round(value) or 0:+.0f}"
    return f"{value:+.{1 if abs(value) >= 0.095 else 2}f}"


def limit_text(value: float, units: str = "") -> str:
    """A limit as it was set: no digit of it is rounded away."""
    return f"{100 * value:.6g}%" if units == "share" else number(value, units).removeprefix("+")


def interval(low: float | None, high: float | None, units: str = "") -> str:
    """`[low, high]`, or a dash where no interval can be given."""
    return NONE if low is None or high is None else f"[{number(low, units)}, {number(high, units)}]"


def change(value: float | None, units: str) -> str:
    """A difference, with its sign; differences of shares are in points."""
    if value is not None and units == "share":
        return f"{number(value, 'points')} pt"
    text = number(value, units)
    return f"+{text}" if value and value > 0 and not text.startswith("+") else text


def change_interval(low: float | None, high: float | None, units: str) -> str:
    """The interval of a difference, in the units of `change`."""
    return interval(low, high, "points" if units == "share" else units)


def measured(estimate: Estimate | None, limit: float | None = None) -> str:
    """Value and interval of an estimate; a share beside a `limit` has as many digits as tell them apart."""
    if estimate is None:
        return NONE
    if estimate.units == "share" and (digits := _digits_beside(estimate.value, limit)):
        known = [x for x in (estimate.value, estimate.low, estimate.high) if x is not None]
        ends = [f"{100 * x:.{digits}f}%" for x in known]
        return ends[0] + (f" [{', '.join(ends[1:])}]" if len(ends) == 3 else "")
    bounds = interval(estimate.low, estimate.high, estimate.units)
    return number(estimate.value, estimate.units) + (f" {bounds}" if bounds != NONE else "")


def _digits_beside(value: float | None, limit: float | None) -> int:
    """Digits behind the per cent that tell `value` from `limit`; 0 where none are needed, or do not help."""
    if value is None or limit is None or value == limit or number(value, "share") != number(limit, "share"):
        return 0
    told = (n for n in (1, 2, 3) if f"{100 * value:.{n}f}" != f"{100 * limit:.{n}f}")
    return next(told, 0)


def p_value(p: float | None) -> str:
    """A p-value without its leading zero, to four decimals: `.0625`, `<.0001`."""
    if p is None:
        return NONE
    if p < 0.0001:
        return "<.0001"
    return (f"{p:.4f}".rstrip("0").rstrip(".") or "0").removeprefix("0")


def p_text(p: float) -> str:
    """`= .0625`, `<.0001`: what follows the letter p."""
    return p_value(p) if p < 0.0001 else f"= {p_value(p)}"


def count(n: int, noun: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def place_text(place: float) -> str:
    """A step, an entry or an epoch: a whole number with all its digits, so that it names a checkpoint."""
    return str(int(place)) if place == place // 1 and abs(place) < ALL_DIGITS else f"{place:g}"


def plain(value: Any) -> str:
    """A configuration value as one reads it."""
    if isinstance(value, float):
        return re.sub(r"e([+-])0+", r"e\1", f"{value:.4g}").replace("e+", "e")
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NONE}[value]
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    return str(value)


def spans(numbers: Sequence[int], limit: int) -> str:
    """Line numbers with runs drawn together, `1–8, 12`: the first `limit` runs, and how many more."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    shown = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:limit]]
    more = sum(len(run) for run in runs[limit:])
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def group_told(group: str) -> str:
    """A group in a sentence: `in all` would be read as in every group."""
    return "the whole set" if group == "all" else group


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return ", ".join(names[:NAMES_LISTED]) + more
