"""Several runs side by side in words: how the gap goes, and which differences are clear of 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..number_format import change, change_interval, count, number
from ..records import Run
from .view import details

MOST_RUNS = 6  # runs whose gap is told


def gaps_told(run: Run) -> str:
    """The mean gap of each run, in their order."""
    rows = details(run, "runs")
    known = [(row["run"], (row.get("gap") or {}).get("value")) for row in rows]
    told = [f"{number(value, 'nats')} in {name}" for name, value in known if value is not None]
    if not told:
        return ""
    shown = told if len(told) <= MOST_RUNS else [*told[: MOST_RUNS - 1], "…", told[-1]]
    return f"{count(len(rows), 'run')} side by side: the mean gap is {', '.join(shown)} (nats/token)."


def differences_told(run: Run) -> str:
    """The differences over the whole file whose interval is clear of 0, or that there is none."""
    rows = _whole(run)
    if not rows:
        return ""
    told = [_told(row) for row in rows if _clear(row)]
    return f"Clear of 0: {'; '.join(told)}." if told else "No difference over the whole file is clear of 0."


def counted(run: Run) -> str:
    """How many runs, and which of their differences over the whole file are clear of 0."""
    rows, runs = _whole(run), details(run, "runs")
    if not runs:
        return ""
    clear = [str(row["name"]) for row in rows if _clear(row)]
    told = f", {len(clear)} of {count(len(rows), 'difference')} clear of 0" if rows else ""
    return f"{count(len(runs), 'run')}{told}{': ' if clear else ''}{', '.join(clear[:MOST_RUNS])}"


def _whole(run: Run) -> list[Mapping[str, Any]]:
    return [row for row in details(run, "differences") if row.get("group") == "all"]


def _clear(row: Mapping[str, Any]) -> bool:
    low, high = row.get("low"), row.get("high")
    return low is not None and high is not None and not low <= 0 <= high


def _told(row: Mapping[str, Any]) -> str:
    units = str(row["units"])
    return f"{row['name']} {change(row['value'], units)} {change_interval(row['low'], row['high'], units)}"
