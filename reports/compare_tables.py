"""The tables of a comparison: its runs, and the paired differences between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ..number_format import NONE, change, change_interval, interval, number, p_value, plain
from ..records import Run
from .axis import ends
from .view import Column, IntervalCell, Table, confidence_heading, details, interval_column, named


def changes_table(run: Run) -> Table:
    """Paired differences between the runs of a comparison; those in nats/token are drawn."""
    columns = (
        Column("measured"), Column("group"), Column("n", "right", drop=4), Column("difference", "right"),
        interval_column(run), Column("", "plot"), Column("p", drop=1),
    )  # fmt: skip
    rows = details(run, "differences")
    span = ends(end for r in rows for end in _drawn(r))
    return Table(
        "differences", "paired differences", columns, tuple(map(_difference, rows)), axis=span, limit=20
    )


def _difference(r: Mapping[str, Any]) -> tuple[str | IntervalCell, ...]:
    value, low, high, units = r.get("value"), r.get("low"), r.get("high"), str(r.get("units"))
    group, n = str(r.get("group") or "all"), plain(r.get("n"))
    bounds = change_interval(low, high, units)
    return (
        str(r["name"]),
        group,
        n,
        change(value, units),
        bounds,
        IntervalCell(*_drawn(r)),
        p_value(r.get("p")),
    )


def _drawn(r: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    shown = "nats" in str(r.get("units"))
    return (r.get("value"), r.get("low"), r.get("high")) if shown else (None, None, None)


def runs(run: Run) -> Table:
    """The runs of a comparison, one a row, with their own gaps."""
    columns = (
        Column("run"), Column("model"), Column("file", drop=2), Column("n", "right", drop=4),
        Column("gap", "right"), _runs_interval(run), Column("", "plot"), Column("verdict", drop=1),
        Column("apart by", "note"),
    )  # fmt: skip
    rows = details(run, "runs")
    gaps = [row.get("gap") or {} for row in rows]
    cells = tuple(
        (
            str(row["run"]),
            PurePath(str(row.get("model") or NONE)).name,
            PurePath(str(row.get("pairs") or NONE)).name,
            plain(gap.get("n")),
            number(gap.get("value"), "nats"),
            interval(gap.get("low"), gap.get("high"), "nats"),
            IntervalCell(gap.get("value"), gap.get("low"), gap.get("high")),
            named(str(row.get("verdict")), run, row.get("sides") or ()),
            _apart(row.get("apart") or {}),
        )
        for row, gap in zip(rows, gaps, strict=True)
    )
    span = ends(gap.get(key) for gap in gaps for key in ("value", "low", "high"))
    return Table("runs", "the runs", columns, cells, "; ".join(details(run, "notes")), axis=span)


def _runs_interval(run: Run) -> Column:
    """The column of the runs' own intervals, with their level where they all have one."""
    levels = {row.get("alpha") for row in details(run, "runs")}
    return Column(confidence_heading(levels.pop()) if len(levels) == 1 else "CI", drop=3)


def _apart(facts: Mapping[str, Any]) -> str:
    # The start of a hash is enough to tell two apart.
    return ", ".join(f"{key.replace('_', ' ')} {plain(value)[:40]}" for key, value in facts.items())
