"""`probe report`: a saved run in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Format


def report(
    run: Annotated[Path, typer.Argument(help="A run.json, or the directory that holds one.")],
    format: Format = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> None:
    """Show a saved run as text, markdown, html, json, junit or github annotations.

    Example: probe report .probe/runs/RUN --format markdown
    """
    from ..reports.emit import parse_formats, show
    from ..runs import load_run

    targets = parse_formats(format)
    show(load_run(run), targets, everything=everything)
