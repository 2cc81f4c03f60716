"""The steps of a GitHub workflow or composite action as data: what runs, in which shell, on which condition.

Nothing is executed here. `${{ … }}` is replaced from a table of values, and an expression that it lacks is an
error, so that a step is never run with a hole in it. Conditions are those that our files use: clauses
joined by `&&`, each `always()` or a comparison with a quoted text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
FILES = re.compile(r"hashFiles\('([^']+)'\)")
CLAUSE = re.compile(r"(\S+)\s*(==|!=)\s*'([^']*)'")
# What stands in for each action that a step uses; a step that uses another one is an error.
EFFECTS = {
    "actions/checkout": "the scratch repository is the working directory",
    "actions/setup-python": "a new virtual environment stands first on PATH",
    "actions/cache": "its paths are absent at the first run and kept for the second",
    "actions/upload-artifact": "each of its paths must exist",
}
SHELLS = {"": ("bash", "-e"), "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail")}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `run` is a script, or `uses` names an action whose effect stands in for it."""

    name: str
    run: str = ""
    uses: str = ""
    shell: tuple[str, ...] = SHELLS[""]
    when: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    may_fail: bool = False


def of_workflow(text: str) -> list[Step]:
    """The steps of a workflow's one job, in order. Raises `ValueError` where there are several jobs."""
    (job,) = yaml.safe_load(text)["jobs"].values()
    return [_step(row) for row in job["steps"]]


def of_action(text: str) -> list[Step]:
    """The steps of a composite action, in order."""
    return [_step(row) for row in yaml.safe_load(text)["runs"]["steps"]]


def _step(row: Mapping[str, Any]) -> Step:
    uses = str(row.get("uses", "")).partition("@")[0]
    if uses and uses not in EFFECTS:
        raise ValueError(f"no effect is known for the step that uses {uses}")
    return Step(
        str(row.get("name") or uses or str(row["run"]).splitlines()[0]),
        str(row.get("run", "")),
        uses,
        SHELLS[str(row.get("shell", ""))],
        str(row.get("if", "")),
        {key: str(value) for key, value in (row.get("env") or {}).items()},
        row.get("with") or {},
        bool(row.get("continue-on-error")),
    )


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with every `${{ expression }}` replaced. Raises `ValueError` for one that `values` lacks."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"no value for the expression {match[1]}")
        return values[match[1]]

    return EXPRESSION.sub(value, text)


def holds(condition: str, values: Mapping[str, str], folder: Path) -> bool:
    """Whether a step's condition is met. Raises `ValueError` for what is no clause that is known here."""
    return all(_clause(clause.strip(), values, folder) for clause in condition.split("&&") if clause.strip())


def _clause(clause: str, values: Mapping[str, str], folder: Path) -> bool:
    if clause == "always()":
        return True
    compared = CLAUSE.fullmatch(clause)
    if compared is None:
        raise ValueError(f"a condition that is not read here: {clause}")
    name, operator, text = compared.groups()
    hashed = FILES.fullmatch(name)
    if hashed is None and name not in values:
        raise ValueError(f"no value for {name} in the condition {clause}")
    found = ("found" if list(folder.glob(hashed[1])) else "") if hashed else values[name]
    return (found == text) is (operator == "==")


def paths(step: Step) -> Iterator[str]:
    """The paths that a step of an action is given, one a line."""
    yield from str(step.given.get("path", "")).split()
