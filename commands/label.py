"""`probe label`: do people agree with the labels of the file?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def label(
    pairs: options.PairsFile,
    name: Annotated[str, typer.Option(help="Who labels; each name has answers of its own.")] = "labeller",
    n: Annotated[int | None, typer.Option(help="Pairs to label. Default: by power.")] = None,
    agreement: Annotated[float, typer.Option(help="Agreement to be shown.")] = 0.8,
    expect: Annotated[float, typer.Option(help="Agreement you hope for; decides the default of --n.")] = 0.9,
    report: Annotated[
        bool, typer.Option("--report", help="Ask nothing; report on the answers that there are.")
    ] = False,
    export: Annotated[Path | None, typer.Option(help="Write the audited pairs with their labels.")] = None,
    fields: options.Fields = None,
    skip_bad: options.SkipBad = False,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> None:
    """Label a random sample of pairs blind; compare with the file's.

    Sides are shuffled and unmarked. Every answer is saved at once; the same command goes on where it stopped.
    Exits with 0 when agreement is shown to be above --agreement, 1 when it is below or undecided.

    Example: probe label pairs.jsonl --name ann
    """
    from ..reports.emit import check_emit, emit
    from ..runs import save_rows
    from .label_run import Audit, LabelOptions

    check_emit(format, out)
    audit = Audit.begin(LabelOptions(pairs, name, n, agreement, expect, fields, skip_bad, alpha, seed))
    if not report and not audit.ask():
        return
    run = audit.run()
    if export is not None:
        save_rows(audit.rows(), export)
    emit(run, format, out, everything=everything)
    if run.verdict.exit_code:
        raise typer.Exit(run.verdict.exit_code)
