"""The tables of a report that fits a screen: what does not pass, what was found."""

from __future__ import annotations

from dataclasses import replace

from ..number_format import measured
from ..records import Condition, Run
from .tables import data_checks
from .view import MARKS, Column, Table, limit


def open_conditions(run: Run) -> Table:
    """The conditions that do not pass, in one line each, and how many do."""
    order = {"fail": 0, "inconclusive": 1, "accepted": 2}
    left = sorted(
        (c for c in run.verdict.conditions if c.result != "pass"),
        key=lambda c: (order[c.result], not c.gates),
    )
    passed = len(run.verdict.conditions) - len(left)
    columns = (
        Column("result"), Column("condition"), Column("measured", "right"), Column("limit", "right"),
        Column("code", drop=1),
    )  # fmt: skip
    rows = tuple((c.result, _where(c), measured(c.measured), limit(c), c.code) for c in left)
    return Table("open", f"conditions that do not pass; {passed} pass", columns, rows, limit=10)


def _where(c: Condition) -> str:
    name = c.name.replace("_", " ") + ("" if c.gates else " (told, not judged)")
    return name if c.group == "all" else f"{name} in {c.group}"


def raised_checks(run: Run) -> Table:
    """The checks of the file that found something, and how many there were."""
    every = data_checks(run)
    rows = tuple(row for row in every.rows if str(row[-1]).endswith(tuple(MARKS.values())))
    return replace(every, title=f"what {len(every.rows)} checks of the file found", rows=rows)
