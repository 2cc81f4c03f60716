"""`probe levers`: would something cheaper than training do it?"""

from __future__ import annotations

from typing import Annotated

import typer

from ..scoring.options import ModelOptions
from . import bundles, options


def levers(
    pairs: options.PairsFile,
    how: bundles.LoadingOptions = ModelOptions(),
    system: Annotated[str | None, typer.Option(help="A system text, or a file that holds it.")] = None,
    context: Annotated[str | None, typer.Option(help="A passage before each prompt, or its file.")] = None,
    context_field: Annotated[str | None, typer.Option(help="The field with each row's own passage.")] = None,
    shots: Annotated[int, typer.Option(help="Chosen sides of other prompts shown first.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws of the shots.")] = 3,
    steering: Annotated[bool, typer.Option(help="Try no steering vector.")] = True,
    strength: Annotated[float, typer.Option(help="Times the mean difference of the states.")] = 2.0,
    trial_steps: Annotated[int, typer.Option(help="LoRA steps to compare with; 0 for none.")] = 0,
    most: Annotated[int, typer.Option(help="Pairs that are tried, drawn at random.")] = 64,
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> None:
    """Measure what a prompt, examples or a vector do to the pairs. Beside a short training run, on request.

    Example: probe levers pairs/cico_insulin.jsonl --system "You explain weight by calories."
    """
    from ..errors import ProbeError
    from ..probes.levers.run import LeversOptions, measure_levers, text_of_option
    from ..reports.emit import check_emit, emit
    from ..scoring.session import Source

    check_emit(format, out)
    if context is not None and context_field is not None:
        raise ProbeError("--context and --context-field: both give the passage. Keep one.")
    chosen = LeversOptions(
        text_of_option(system, "--system"), text_of_option(context, "--context"), context_field,
        shots, draws, steering, strength, trial_steps, most, alpha, seed,
    )  # fmt: skip
    run = measure_levers(Source.of(pairs, fields, sides, skip_bad), how, chosen)
    emit(run, format, out, everything=everything)
