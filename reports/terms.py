"""The terms that a report prints, each with what it means."""

from __future__ import annotations

from ..glossary import definition
from ..records import Run
from .tables import tables

HINT = "terms: probe explain TERM"


def terms(run: Run) -> dict[str, str]:
    """What the columns, conditions and estimates in the tables of this run's report mean, by name, sorted."""
    shown = [column for table in tables(run) if table.rows for column in table.columns]
    columns = [column.name for column in shown if column.align != "note"]
    names = [condition.name for condition in run.verdict.conditions] + [e.name for e in run.estimates]
    printed = dict.fromkeys(name.replace("_", " ") for name in (*columns, *names))
    return {name: meaning for name in sorted(printed, key=str.lower) if (meaning := definition(name))}


def hint(run: Run) -> str:
    """One line that says how to look a term up, with one of this report; empty where it prints none."""
    known = terms(run)
    example = next((name for name in ("gap", "accuracy", "value") if name in known), next(iter(known), ""))
    return f"{HINT}, e.g. probe explain {example}" if example and " " not in example else ""
