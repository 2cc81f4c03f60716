"""`probe gate`: every probe, one verdict, one recommendation, one exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def gate(
    path: Annotated[Path, typer.Argument(help="A pair file to measure, or a run.json to judge again.")],
    inconclusive: Annotated[
        str, typer.Option(help="What an inconclusive condition does to the exit code: fail or warn.")
    ] = "fail",
    minimum_n: Annotated[int, typer.Option(help="Fewest pairs that a condition is judged on.")] = 20,
    goal: Annotated[
        str, typer.Option(help="What the pairs are to teach: auto, taste, fact or correctness.")
    ] = "auto",
    one_stage: Annotated[bool, typer.Option("--one-stage", help="No separate SFT stage is wanted.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Recipe for all weights instead of LoRA.")] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="An earlier run.json: no group of the same pairs may get worse.")
    ] = None,
    alpha: options.Alpha = 0.05,
    bound: options.Bound = 0.1,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> int:
    """Judge pairs for training this model: verdict, recommended method, exit code 0 (pass) or 1.

    Example: probe gate pairs/listing_taste.jsonl
    """
    from datetime import date

    from ..gate.settings import from_config, judged
    from ..reports.emit import emit, parse_formats, show
    from ..runs import load_run

    targets = parse_formats(format)
    how = from_config(
        alpha=alpha,
        bound=bound,
        minimum_n=minimum_n,
        inconclusive=inconclusive,
        goal=goal,
        one_stage=one_stage,
        full=full,
        baseline=baseline,
    )
    run = judged(load_run(path), how, date.today())
    if out is not None:
        emit(run, format, out, everything=everything)
    else:
        show(run, targets, everything=everything)
    return run.verdict.exit_code
