"""The tables of a report that fits a screen: what does not pass, what was found."""

from __future__ import annotations

from dataclasses import replace

from ..number_format import measured
from ..records import Condition, Run
from .tables import data_checks
from .view import MARKS, Column, Table, limit, noted, result


def open_conditions(run: Run) -> Table:
    """The conditions that do not pass, in one line each, and how many do."""
    order = {"fail": 0, "inconclusive": 1, "accepted": 2, "note": 3}
    left = sorted(
        (c for c in run.verdict.conditions if c.result != "pass" and (c.gates or noted(c))),
        key=lambda c: order[result(c)],
    )
    passed = sum(c.gates and c.result == "pass" for c in run.verdict.conditions)
    columns = (
        Column("result"), Column("condition"), Column("measured", "right"), Column("limit", "right"),
        Column("code", drop=1), Column("", "note"),
    )  # fmt: skip
    rows = tuple((result(c), _where(c), measured(c.measured), limit(c), c.code, _why_open(c)) for c in left)
    notes = any(row[0] == "note" for row in rows)
    title = f"conditions that do not pass, beside {passed} that do"
    if notes:
        others = "did not pass or " if any(row[0] != "note" for row in rows) else ""
        title = f"what {others}is noted (a note does not count), beside {passed} that pass"
    return Table("open", title, columns, rows, limit=10)


def _why_open(c: Condition) -> str:
    """What keeps a measured condition open, since its number beside its limit may look settled."""
    known = c.gates and c.measured is not None and c.measured.value is not None
    return c.message if known and c.result == "inconclusive" else ""


def _where(c: Condition) -> str:
    name = c.name.replace("_", " ")
    return name if c.group == "all" else f"{name} in {c.group}"


def raised_checks(run: Run) -> Table:
    """The checks of the file that found something, and how many there were."""
    every = data_checks(run)
    rows = tuple(row for row in every.rows if str(row[-1]).endswith(tuple(MARKS.values())))
    return replace(every, title=f"what {len(every.rows)} checks of the file found", rows=rows)
