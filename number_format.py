"""How numbers are written, the same in every format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .records import Estimate

NONE = "–"
NAMES_LISTED = 5  # of a list of names in a sentence


def number(value: float | None, units: str = "") -> str:
    """A value by its units: shares in per cent, nats and percentage points signed, else four digits."""
    if value is None:
        return NONE
    if units == "share":
        text = f"{100 * value:.0f}%" if abs(value) >= 0.1 or value == 0 else f"{100 * value:.2g}%"
        return text.replace("-", "−")
    if units == "points":
        return f"{100 * value:+.0f}".replace("-", "−")
    if "nats" in units:
        digits = 2 if abs(value) >= 0.005 or abs(value) < 0.00005 else 4
        return f"{value if abs(value) >= 0.00005 else 0:+.{digits}f}".replace("-", "−")
    return f"{value:,.4g}".replace("-", "−")


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


def measured(estimate: Estimate | None) -> str:
    """Value and interval of an estimate."""
    if estimate is None:
        return NONE
    bounds = interval(estimate.low, estimate.high, estimate.units)
    return number(estimate.value, estimate.units) + (f" {bounds}" if bounds != NONE else "")


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


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return ", ".join(names[:NAMES_LISTED]) + more
