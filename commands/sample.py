"""`probe sample`: rejected sides from the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from ..errors import ProbeError
from ..scoring.options import ModelOptions
from . import bundles, options


def sample(
    prompts: Annotated[
        Path | None, typer.Argument(help="Prompts with a chosen answer each; or pairs.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="New file for the pairs. Default: NAME.sampled.jsonl."),
    ] = None,
    how: bundles.SamplingOptions = ModelOptions(),
    fields: options.Fields = None,
    temperatures: Annotated[str, typer.Option(help="Temperatures; 0 is greedy.")] = "0.1,0.4,0.7,1.0",
    n: Annotated[int, typer.Option(help="Answers at each temperature.")] = 1,
    top_p: Annotated[float, typer.Option(help="Mass of the likeliest tokens that are drawn.")] = 1.0,
    tokens: Annotated[
        int | None,
        typer.Option(help="Most tokens. Default: 1.5 times the longest chosen."),
    ] = None,
    keep_if: Annotated[
        list[str] | None,
        typer.Option(help="Rule a candidate must meet, as contrast>=0.2."),
    ] = None,
    rejected: Annotated[str, typer.Option(help="Which are kept: default, worst or all.")] = "default",
    match_length: Annotated[bool, typer.Option(help="Do not cut answers near the chosen length.")] = True,
    replace_trivial: Annotated[
        Path | None,
        typer.Option(help="Saved run: replace what it calls trivial."),
    ] = None,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
) -> None:
    """Sample answers from the model and make pairs of them. Chosen as given, rejected the model's own.

    Example: probe sample pairs/epistemic_stance.jsonl --temperatures 0.7,1.0 --to repaired.jsonl
    """
    from ..files import check_directory, shortened
    from ..gate.settings import one_of
    from ..pairs.fields import parse_fields
    from ..probes.sample.select import DEFAULT_RULES, Pick, parse_rules
    from ..reports.emit import check_emit, emit
    from ..runs import STEM_BYTES
    from ..training.saved import saved_run

    check_emit(format, out)
    one_of("--rejected", rejected, get_args(Pick))
    heat = parse_temperatures(temperatures)
    rules = parse_rules(DEFAULT_RULES if keep_if is None else keep_if)
    trivial = saved_run(replace_trivial) if replace_trivial else None
    path = prompts or (Path((trivial.inputs.get("pairs") or {}).get("path", "")) if trivial else None)
    if path is None:
        raise ProbeError("no prompts to answer. Name a file, or give --replace-trivial a run.")

    from ..probes.sample.run import SampleOptions, sample_run

    target = to or Path(f"{shortened(path.stem, STEM_BYTES)}.sampled.jsonl")
    check_directory(target.parent)  # the journal stands beside it
    chosen = next(pick for pick in get_args(Pick) if pick == rejected)
    wanted = SampleOptions(target, heat, n, top_p, tokens, rules, chosen, match_length, trivial, alpha, seed)
    run = sample_run(path, parse_fields(fields), how, wanted)
    emit(run, format, out, everything=everything)


def parse_temperatures(text: str) -> tuple[float, ...]:
    """`0.1,0.7` as numbers, each once. Raises `ProbeError` for what is no temperature."""
    try:
        values = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        raise ProbeError(f"--temperatures {text}: not numbers. Write a list such as 0.1,0.7,1.0.") from error
    if not all(0 <= value <= 10 for value in values):
        raise ProbeError(f"--temperatures {text}: give numbers from 0 to 10.")
    return values
