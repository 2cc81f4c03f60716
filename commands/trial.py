"""`probe trial`: a few steps now instead of a failed run later."""

from __future__ import annotations

from typing import Annotated

import typer

from ..training.methods import METHODS
from . import options


def trial(
    pairs: options.PairsFile,
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}, or stages such as sft+dpo.")] = "dpo",
    methods: Annotated[
        str | None,
        typer.Option(help="Race these on the same halves, e.g. dpo,sft,sft+dpo; the first is forecast."),
    ] = None,
    model: options.Model = None,
    most: Annotated[int, typer.Option("--pairs", help="Pairs drawn, by prompt; more is surer.")] = 128,
    steps: Annotated[int, typer.Option(help="Most optimizer steps of each stage.")] = 12,
    samples: Annotated[int, typer.Option(help="Samples a prompt, before and after; 0: none.")] = 2,
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    template: options.Template = "auto",
    max_length: options.MaxLength = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default: by method and size.")] = None,
    beta: Annotated[float | None, typer.Option(help="β of the loss.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of an optimizer step.")] = None,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.DType = None,
    revision: options.Revision = None,
    adapter: options.Adapter = None,
    trust_remote_code: options.TrustRemoteCode = False,
    no_cache: options.NoCache = False,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> None:
    """Train a little, always scoring pairs before they are trained on, and forecast the full run.

    Example: probe trial pairs/style.jsonl --pairs 64
    """
    from ..probes.trial.options import TrialOptions
    from ..probes.trial.run import trial_run
    from ..reports.emit import emit, parse_formats
    from ..scoring.session import ModelOptions, Source

    parse_formats(format)
    changes = {"learning_rate": learning_rate, "beta": beta, "batch": batch}
    run = trial_run(
        Source.of(pairs, fields, sides, skip_bad),
        ModelOptions(
            model, device, dtype, revision, adapter, trust_remote_code, template, max_length, no_cache
        ),
        TrialOptions(
            method,
            most,
            steps,
            tuple((k, v) for k, v in changes.items() if v is not None),
            alpha=alpha,
            seed=seed,
            methods=tuple(part.strip() for part in methods.split(",")) if methods else (),
            samples=samples,
        ),
    )
    emit(run, format, out, everything=everything)
