"""Tables of probes that describe their own section of the report: `details.sections` names rows and columns.

The entry of such a probe in `gate/registry.py` holds the description; every format shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..number_format import number, plain
from ..records import Run
from .view import Column, Table, details


def probe_tables(run: Run) -> list[Table]:
    """One table per described section that has rows, in the order of the probes."""
    return [_table(section, details(run, str(section["key"]))) for section in details(run, "sections")]


def _table(section: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> Table:
    named = dict(section["columns"])
    heads = (Column(key.replace("_", " "), "right" if units else "left") for key, units in named.items())
    cells = (tuple(_cell(row.get(key), units) for key, units in named.items()) for row in rows)
    return Table(str(section["key"]), str(section["title"]), tuple(heads), tuple(cells))


def _cell(value: Any, units: str) -> str:
    return number(value, units) if units else plain(value)
