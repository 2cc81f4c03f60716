"""`probe data --check`: one line an error, as a linter prints them, for a commit hook; writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import Exit, ProbeError
from ..escape import inert, visible
from ..records import Finding, Run
from ..reports.next_step import errors_told
from ..reports.view import reason_accepted
from ..streams import print_report


def checked(paths: Iterable[Path], check: Callable[[Path], Run]) -> int:
    """Print every error of the files with its line; the exit code, 1 where there is one.

    Raises what the first file raised that could not be checked, after all others were.
    """
    errors: list[tuple[Path, Finding]] = []
    unread: list[ProbeError] = []
    for path in paths:
        try:
            run = check(path)
            found = (f for f in run.findings if f.severity == "error" and not reason_accepted(f, run))
            errors += [(path, f) for f in found]
        except ProbeError as error:
            unread.append(error)
    lines = [line for path, finding in errors for line in _lines(path, finding)]
    if unread:
        print_report("".join(f"{inert(visible(line))}\n" for line in lines))
        raise unread[0]
    told = errors_told(f for _, f in errors)
    print_report("".join(f"{inert(visible(line))}\n" for line in [*lines, told or "no errors"]))
    return Exit.FAILED if errors else Exit.OK


def _lines(path: Path, finding: Finding) -> Iterator[str]:
    for line in finding.lines or (1,):
        yield f"{path}:{line}: {finding.code} {finding.message}"
