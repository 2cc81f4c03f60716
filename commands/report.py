"""`probe report`: saved runs in another format, or side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .options import Format


def report(
    runs: Annotated[list[Path], typer.Argument(help="A run.json or its directory; or several.")],
    format: Format = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> None:
    """Show a saved run in any format, or several side by side. Several with their paired differences.

    Example: probe report .probe/runs/BASE .probe/runs/TUNED --format markdown
    """
    from ..reports.emit import parse_formats, show_run
    from ..runs import read_from
    from ..training.saved import saved_run

    loaded = [saved_run(path) for path in runs]
    targets = parse_formats(format)  # after the runs, whose pair files no format replaces
    shown = loaded[0]
    with read_from(*runs):
        if len(loaded) > 1:
            from ..stats.paired_runs import side_by_side

            shown = side_by_side(loaded, created=max(run.created for run in loaded))
            argv = ["probe", "report", *map(str, runs)]
            shown = replace(shown, environment={**shown.environment, "argv": argv})
        show_run(shown, targets, everything=everything, summary=False)
