"""The tables of a config file that are no command options, and the checks of their content."""

from __future__ import annotations

from typing import Any

from ..config import Key, Tables, check_types
from ..errors import ProbeError
from ..gate.settings import check_limits
from ..probes.data.limits import DATA_LIMITS
from ..ranges import check_limit


def _check_data_limits(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise ProbeError(f"{where}: not a table. Write one check = limit per line.")
    check_types(
        table,
        [Key(name, (int, float), limit.default, limit.help) for name, limit in DATA_LIMITS.items()],
        where,
    )
    for key, value in table.items():
        check_limit(key, value, where)


def _check_groups(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise ProbeError(f"{where}: not a table. Write one table per group, e.g. [gate.groups.advice].")
    for group, limits in table.items():
        check_limits(limits, f"{where[:-1]}.{group}]")


# Tables of a command that are no options, each with the function that checks it.
TABLES: Tables = {
    "gate": {"limits": check_limits, "groups": _check_groups},
    "data": {"limits": _check_data_limits},
}

# Their names as `config.section` takes them.
SECTIONS = ("accept", *(f"{command}.{name}" for command, names in TABLES.items() for name in names))
