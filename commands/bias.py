"""`probe bias`: which side the model already prefers."""

from __future__ import annotations

from typing import Annotated

import typer

from ..scoring.options import ModelOptions
from ..shared_limits import BOUND
from . import bundles, options


def bias(
    pairs: options.PairsFile,
    how: bundles.Serving = ModelOptions(),
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    templates: Annotated[
        str,
        typer.Option(help="Templates to hold over: chat,qa,raw or none."),
    ] = "auto",
    corrected: Annotated[
        bool,
        typer.Option(help="Do not score pairs without the prompt too (no PB103)."),
    ] = True,
    alpha: options.Alpha = 0.05,
    bound: options.Bound = BOUND,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop once an anytime-valid test settles the sign.")
    ] = False,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> None:
    """Measure which side of each pair the model already prefers. How much, and how sure that is.

    Example: probe bias pairs/cico_insulin.jsonl --sides CICO,insulin
    """
    from ..probes.bias.run import BiasOptions, measure_bias
    from ..reports.emit import check_emit, emit
    from ..scoring.session import Source

    check_emit(format, out)
    source = Source.of(pairs, fields, sides, skip_bad)
    measured = measure_bias(source, how, BiasOptions(alpha, bound, templates, corrected, stop_early, seed))
    if measured is not None:  # None: another process of this launch writes the report
        emit(measured.run, format, out, rows=measured.rows, everything=everything)
