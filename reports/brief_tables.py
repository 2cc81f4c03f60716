"""The tables of a report that fits a screen: what does not pass, what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..records import Condition, Run
from .next_step import why_unmeasured
from .tables import RESULTS, data_checks
from .view import SEVERITY_MARKS, Column, Table, condition_code, condition_name, limit, noted, result, value


def open_conditions(run: Run) -> Table:
    """The conditions that do not pass, in one line each, and how many do."""
    left = sorted(
        (c for c in run.verdict.conditions if c.result != "pass" and (c.gates or noted(c, run))),
        key=lambda c: RESULTS.index(result(c, run)),
    )
    passed = sum(c.gates and c.result == "pass" for c in run.verdict.conditions)
    columns = (
        Column("result"), Column("condition"), Column("measured", "right"), Column("limit", "right"),
        Column("code", drop=1), Column("why", "note"),
    )  # fmt: skip
    rows = tuple(
        (result(c, run), condition_name(c), value(c), limit(c), condition_code(c), _why_open(c)) for c in left
    )
    return Table("open", _told(rows, passed), columns, rows, limit=10)


def _told(rows: Sequence[Sequence[str]], passed: int) -> str:
    """The title: which kinds of rows stand in the table, and what those are worth that fail no gate."""
    kinds = {row[0] for row in rows}
    open_ = "conditions that did not pass" if kinds - {"note", "decides"} else "numbers beside the conditions"
    told = [f"{passed} pass"]
    told += ["a note fails nothing"] if "note" in kinds else []
    return f"{open_} ({'; '.join(told)})"


def _why_open(c: Condition) -> str:
    """What keeps a condition open: its number beside its limit may look settled, a dash says no cause."""
    if why := why_unmeasured(c):
        return f"could not be measured: {why}"
    known = c.gates and c.measured is not None and c.measured.value is not None
    return c.message if known and c.result == "inconclusive" else ""


def raised_checks(run: Run) -> Table:
    """The checks of the file that found something, and how many there were."""
    every = data_checks(run)
    rows = tuple(row for row in every.rows if str(row[-1]).endswith(tuple(SEVERITY_MARKS.values())))
    return replace(every, title=f"checks outside their limit, of {len(every.rows)}", rows=rows)
