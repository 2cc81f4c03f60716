"""`probe negatives`: what the rejected side really teaches, and whether a run would survive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..scoring.options import ModelOptions
from . import bundles, options


def negatives(
    pairs: options.PairsFile,
    how: bundles.LoadingOptions = ModelOptions(),
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Measure as if white space at the ends were off.")
    ] = False,
    surface: Annotated[bool, typer.Option(help="Do not judge the text by itself.")] = True,
    states: Annotated[bool, typer.Option(help="Do not read the model's states.")] = True,
    alone: Annotated[bool, typer.Option(help="Do not read responses without their prompts.")] = True,
    gradients: Annotated[int, typer.Option(help="Pairs for gradient entanglement (no forecast).")] = 0,
    samples: Annotated[int, typer.Option(help="Prompts that the model answers itself.")] = 0,
    most: Annotated[int, typer.Option(help="Pairs that the model reads, drawn at random.")] = 300,
    numerics: Annotated[bool, typer.Option(help="Try no step of the planned run.")] = True,
    method: Annotated[str, typer.Option(help="Method of the run to be made.")] = "dpo",
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of the run to be made.")] = 5e-6,
    beta: Annotated[float, typer.Option(help="Beta of the run to be made.")] = 0.1,
    train_dtype: Annotated[str, typer.Option(help="Dtype that its weights would be in.")] = "float32",
    full: Annotated[bool, typer.Option("--full", help="Train all weights instead of LoRA.")] = False,
    fused: Annotated[bool, typer.Option("--fused", help="Fused AdamW, which computes in float32.")] = False,
    export_trimmed: Annotated[
        Path | None, typer.Option(help="Write the file without the ends of a score.")
    ] = None,
    trim: Annotated[float, typer.Option(help="Share of pairs to leave out at each end.")] = 0.05,
    trim_by: Annotated[str, typer.Option(help="gap (both ends), surface, signal or ches.")] = "gap",
    drop_suspect: Annotated[
        Path | None, typer.Option(help="Write the file without the suspect labels (PB230).")
    ] = None,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and pair.")] = False,
) -> None:
    """Measure how trivial the rejected side is, and who wrote it. What it teaches and what it displaces.

    Example: probe negatives pairs/listing_taste_hype.jsonl --no-states --no-numerics
    """
    from ..probes.negatives.run import measure_negatives
    from ..probes.negatives.suspects import SURE
    from ..probes.negatives.trimming import check_trim, lines_to_drop, trimmed_line
    from ..probes.negatives.trimming import export_trimmed as write_trimmed
    from ..probes.negatives.work import negatives_options
    from ..reports.emit import check_emit, emit
    from ..scoring.session import Source

    check_emit(format, out)
    options.refuse_alone(("trim", "trim_by"), "--export-trimmed FILE", export_trimmed)
    check_trim(trim_by, trim)
    source = Source.of(pairs, fields, sides, skip_bad)
    chosen = negatives_options(
        alpha=alpha, seed=seed, strip=strip, surface=surface, states=states, alone=alone, gradients=gradients,
        samples=samples, most=most, numerics=numerics, method=method, learning_rate=learning_rate, beta=beta,
        train_dtype=train_dtype, full=full, fused=fused,
    )  # fmt: skip
    measured = measure_negatives(source, how, chosen)
    emit(measured.run, format, out, everything=everything)
    if export_trimmed is not None:
        dropped = lines_to_drop(measured.scores.get(trim_by, {}), trim_by, trim)
        log = write_trimmed(pairs, export_trimmed, dropped, trim_by)
        print(
            trimmed_line(list(dropped), measured.run.inputs["pairs"]["n"], trim_by, export_trimmed, log),
            file=sys.stderr,
        )
    if drop_suspect is not None:
        suspects = {line: p for line, p in measured.scores.get("suspect", {}).items() if p > SURE}
        log = write_trimmed(pairs, drop_suspect, suspects, "suspect")
        n = measured.run.inputs["pairs"]["n"]
        print(trimmed_line(list(suspects), n, "suspect", drop_suspect, log), file=sys.stderr)
