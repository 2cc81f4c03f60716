"""`probe autopsy`: what went wrong in a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Format, Out


def autopsy(
    log: Annotated[
        Path,
        typer.Argument(help="trainer_state.json, run.json, metrics or a checkpoint."),
    ],
    format: Format = None,
    out: Out = None,
) -> None:
    """Say what happened in a training run. Since which step, by which numbers, and what to check next.

    Example: probe autopsy checkpoint-500/trainer_state.json
    """
    from ..probes.autopsy.diagnose import diagnose, to_run
    from ..probes.autopsy.read import read_log
    from ..reports.emit import emit, parse_formats, show_run

    targets = parse_formats(format)
    read = read_log(log)
    run = to_run(read, diagnose(read))
    if out is None:
        show_run(run, targets)
    else:
        emit(run, format, out)
