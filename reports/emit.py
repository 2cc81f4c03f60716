"""Where a finished run goes: its directory, stdout, the files asked for, the CI's step summary."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..escape import inert
from ..files import check_directory, check_target, writable, write_text
from ..progress import first_process
from ..records import Run
from ..runs import RUNS, new_run_dir, note_last, save_rows, save_run
from ..streams import print_report, utf8
from . import text
from .answer import answered
from .renderers import RENDERERS

TALLEST = 40  # lines of a screen that a report counts on
WIDEST_REPORT = 120  # longer lines are hard to read; a wide terminal gains nothing

Target = tuple[str, Path | None]


def parse_formats(formats: Sequence[str] | None) -> list[Target]:
    """`--format` values as (format, file or None for stdout); text goes to stdout when nothing else does.

    Raises `ProbeError` for a format there is not, or a file that cannot be written: call it before measuring.
    """
    targets = [_target(value) for value in formats or ()]
    for _, path in targets:
        if path is not None:
            check_target(path)
    return targets if any(path is None for _, path in targets) else [("text", None), *targets]


def check_emit(formats: Sequence[str] | None, directory: Path | None) -> None:
    """Before anything is measured: raises `ProbeError` where `emit` could not write what it is to write."""
    parse_formats(formats)
    if directory is None:
        try:
            check_directory(RUNS)
        except ProbeError as error:
            raise ProbeError(f"{error} --out names one.") from error


def emit(
    run: Run,
    formats: Sequence[str] | None,
    directory: Path | None,
    *,
    rows: Iterable[Mapping[str, Any]] | None = None,
    everything: bool = False,
) -> Path:
    """Save `run` with its companions, then show it as asked; returns the directory written.

    `rows` are those of `scores.jsonl`. `directory` None makes a new one under `.probe/runs`. The format never
    changes what is saved. A judged run is noted in `.probe/last.json` for `probe train`. Of several processes
    the first one does all of this.
    """
    targets = parse_formats(formats)
    if not first_process():
        return directory or Path()
    run = answered(run)
    gated = bool(run.verdict.conditions)
    try:
        directory = directory or new_run_dir(run.command, _stem(run), run.created)
        wrote = _saved(run, directory, rows)
    except ProbeError:
        show_run(run, targets, everything=everything)  # what was measured is told, though it cannot be kept
        raise
    if run.decision is not None and run.command != "train" and (gated or run.command != "unpaired"):
        try:
            note_last(run, wrote[0])
        except ProbeError as error:
            print(f"probe: not noted for `probe train --method auto`: {error}", file=sys.stderr)
    show_run(run, targets, everything=everything)
    told, names = f"Wrote {directory}{os.sep}", f"({', '.join(path.name for path in wrote)})"
    fits = len(told) + 1 + len(names) <= shutil.get_terminal_size((80, 24)).columns
    print(f"{told} {names}" if fits else f"{told}\n      {names}", file=sys.stderr)
    return directory


def _saved(run: Run, directory: Path, rows: Iterable[Mapping[str, Any]] | None) -> list[Path]:
    """The files of a run's directory, written."""
    wrote = [save_run(run, directory)]
    if rows is not None:
        wrote.append(directory / "scores.jsonl")
        save_rows(rows, wrote[-1])
    wrote.append(directory / "report.html")
    write_text(wrote[-1], RENDERERS["html"](run))
    return wrote


def show_run(run: Run, targets: Sequence[Target], *, everything: bool = False, summary: bool = True) -> None:
    """Print or write `run` in each format, and add it to the step summary of a CI that has one."""
    run = answered(run)
    for name, path in targets:
        if path is not None:
            write_text(path, in_format(run, name, everything=everything))
        elif name == "text":
            print_report(_told(name, terminal(run, everything=everything)))
        else:
            utf8(_told(name, RENDERERS[name](run)))
    if summary:
        _summarise(run)


def in_format(run: Run, name: str, *, everything: bool = False) -> str:
    """The report for a file; `everything` lifts the limits of the one format that has any."""
    return text.render(run, everything=True) if everything and name == "text" else RENDERERS[name](run)


def terminal(run: Run, *, everything: bool = False) -> str:
    """The text report as this terminal can show it: its width, its colours (`NO_COLOR`), its characters."""
    size, height = shutil.get_terminal_size((80, 24))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    ascii_only = not encoding.startswith("utf")
    return text.render(
        run,
        width=min(size, WIDEST_REPORT),
        color=color,
        ascii_only=ascii_only,
        everything=everything,
        height=min(max(height, 24), TALLEST),
    )


def _summarise(run: Run) -> None:
    """Append to the step summary of a CI that has one; nothing but the summary is lost when that fails."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with writable(Path(path)).open("a", encoding="utf-8") as file:
            file.write(RENDERERS["markdown"](run))
    except OSError as error:
        print(f"{path}: {error.strerror}; the step summary was not written.", file=sys.stderr)
    except ProbeError as error:
        print(f"{error} The step summary was not written.", file=sys.stderr)


def _target(value: str) -> Target:
    name, _, path = value.partition("=")
    if name not in RENDERERS:
        near = get_close_matches(name, RENDERERS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ProbeError(f"--format {value}: no such format. {hint}There are {', '.join(RENDERERS)}.")
    return name, Path(path) if path else None


def _told(name: str, content: str) -> str:
    """`content` as it may stand in the log of a CI, where only `--format github` gives commands."""
    if not os.environ.get("GITHUB_ACTIONS") or name in ("github", "json"):  # a line of JSON opens otherwise
        return content
    return inert(content) if name == "text" else inert(content, colon="&#58;", mark="#&#35;[")


def _stem(run: Run) -> str:
    path = (run.inputs.get("pairs") or {}).get("path")
    return Path(path).stem if path else "run"
