"""`probe effects`: what else these pairs would teach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..scoring.options import ModelOptions
from . import bundles, options


def effects(
    pairs: options.PairsFile,
    how: bundles.LoadingOptions = ModelOptions(),
    trait: Annotated[
        list[str] | None, typer.Option("--trait", help='A trait of your own, "NAME: text". Repeatable.')
    ] = None,
    traits_file: Annotated[
        Path | None, typer.Option(help="A file of traits, one NAME: text per line.")
    ] = None,
    builtin: Annotated[bool, typer.Option(help="Leave out the built-in traits.")] = True,
    traits: Annotated[bool, typer.Option(help="Measure no trait, only attributes.")] = True,
    intended: Annotated[
        list[str] | None, typer.Option(help="A trait or attribute that is the purpose. Repeatable.")
    ] = None,
    most: Annotated[int, typer.Option(help="Pairs that the model reads, drawn at random.")] = 128,
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> None:
    """Measure what else the pairs would teach. Attributes by rules, traits by system texts.

    Example: probe effects pairs/listing_taste_hype.jsonl --intended advertising
    """
    from ..probes.effects.run import EffectsOptions, measure_effects
    from ..reports.emit import check_emit, emit
    from ..scoring.session import Source

    check_emit(format, out)
    chosen = EffectsOptions.of(
        trait or (), traits_file, tuple(intended or ()),
        builtin=builtin, traits=traits, most=most, alpha=alpha, seed=seed,
    )  # fmt: skip
    run = measure_effects(Source.of(pairs, fields, sides, skip_bad), how, chosen)
    emit(run, format, out, everything=everything)
