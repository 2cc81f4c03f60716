"""`probe data --check`: one line an error, as a linter prints them, for a commit hook; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Exit
from ..escape import inert, visible
from ..records import Finding, Run
from ..reports.next_step import errors_told
from ..streams import print_report


def checked(runs: Iterable[tuple[Path, Run]]) -> int:
    """Print every error of the runs with its file and line; the exit code, 1 where there is one."""
    errors = [(path, f) for path, run in runs for f in run.findings if f.severity == "error"]
    lines = [line for path, finding in errors for line in _lines(path, finding)]
    told = errors_told(f for _, f in errors)
    print_report("".join(f"{inert(visible(line))}\n" for line in [*lines, told or "no errors"]))
    return Exit.FAILED if errors else Exit.OK


def _lines(path: Path, finding: Finding) -> Iterator[str]:
    for line in finding.lines or (1,):
        yield f"{path}:{line}: {finding.code} {finding.message}"
