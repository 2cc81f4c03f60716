"""`probe trial`: a few steps now instead of a failed run later."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..scoring.options import ModelOptions
from . import bundles, options

# Options that belong to one model, which is the larger one as well as its proxy, and what to do.
ONE_MODELS = {
    "adapter": "Leave it out, and give a proxy that has one as merged weights.",
    "revision": "Leave it out, and give a proxy of another revision as its directory.",
}


def trial(
    pairs: options.PairsFile,
    method: Annotated[str, typer.Option(help="A method, or stages such as sft+dpo.")] = "dpo",
    methods: Annotated[
        str | None,
        typer.Option(help="Race these on the same halves: dpo,sft,sft+dpo."),
    ] = None,
    how: bundles.LoadingOptions = ModelOptions(),
    most: Annotated[int, typer.Option("--pairs", help="Pairs drawn, by prompt; more is surer.")] = 128,
    steps: Annotated[int, typer.Option(help="Most optimizer steps of each stage.")] = 24,
    samples: Annotated[int, typer.Option(help="Samples per prompt, before and after; 0: none.")] = 2,
    proxy: Annotated[
        str | None,
        typer.Option(help="A smaller model that ranks the pairs for --model."),
    ] = None,
    export_trimmed: Annotated[
        Path | None, typer.Option(help="Write the file without the hardest pairs.")
    ] = None,
    trim: Annotated[float, typer.Option(help="Share of the measured pairs to leave out.")] = 0.05,
    by: Annotated[str, typer.Option(help="What they are trimmed by: difficulty.")] = "difficulty",
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    learning_rate: Annotated[float | None, typer.Option(help="Default: by method and size.")] = None,
    beta: Annotated[float | None, typer.Option(help="β of the loss.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of an optimizer step.")] = None,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> None:
    """Train a little and forecast the full run. Pairs are always scored before they are trained on.

    Example: probe trial pairs/listing_taste.jsonl --pairs 64
    """
    from ..errors import ProbeError
    from ..gate.whole import answers_tried
    from ..pairs.unpaired import is_unpaired
    from ..probes.negatives.trimming import check_trim, lines_to_drop, trimmed_line
    from ..probes.negatives.trimming import export_trimmed as write_trimmed
    from ..probes.trial.asked import trial_options
    from ..probes.trial.difficulty import by_line
    from ..probes.trial.run import trial_run
    from ..reports.emit import check_emit, emit
    from ..scoring.session import Source

    check_emit(format, out)
    options.refuse_alone(("trim", "by"), "--export-trimmed FILE", export_trimmed)
    if by != "difficulty":
        raise ProbeError(f"--by {by}: a trial ranks pairs by their difficulty. Use --by difficulty.")
    check_trim(by, trim)
    candidates = tuple(part.strip() for part in methods.split(",")) if methods else ()
    source = Source.of(pairs, fields, sides, skip_bad)
    if is_unpaired(pairs, source.fields):
        given = {
            "method": method, "methods": methods, "pairs": most, "samples": samples, "proxy": proxy,
            "export_trimmed": export_trimmed, "sides": sides,
            "learning_rate": learning_rate, "beta": beta, "batch": batch,
        }  # fmt: skip
        answers = answers_tried(source, how, given, alpha=alpha, seed=seed, steps=steps)
        emit(answers, format, out, everything=everything)
        return
    chosen = trial_options(
        method=method, methods=candidates, most=most, steps=steps, samples=samples,
        learning_rate=learning_rate, beta=beta, batch=batch, alpha=alpha, seed=seed,
        every=export_trimmed is not None,
    )  # fmt: skip
    run = trial_run(source, _of_proxy(how, proxy) if proxy else how, chosen)
    if proxy:
        run = replace(run, inputs={**run.inputs, "proxy_for": how.model or "embedded"})
    emit(run, format, out, everything=everything)
    if export_trimmed is not None:
        dropped = lines_to_drop(by_line(run.details), by, trim)
        log = write_trimmed(pairs, export_trimmed, dropped, by)
        n = int(run.inputs["trial"]["of"])
        print(trimmed_line(list(dropped), n, by, export_trimmed, log), file=sys.stderr)


def _of_proxy(how: ModelOptions, proxy: str) -> ModelOptions:
    """The model that a trial runs on in place of a larger one. Raises `ProbeError` for what is either's."""
    from ..errors import ProbeError

    for name, remedy in ONE_MODELS.items():
        if getattr(how, name):
            raise ProbeError(f"--{name} beside --proxy: it belongs to one of two models. {remedy}")
    return replace(how, model=proxy)
