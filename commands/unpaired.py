"""`probe unpaired`: answers with a label each, as KTO takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ProbeError
from ..scoring.options import ModelOptions
from . import bundles, options

if TYPE_CHECKING:
    from ..scoring.source import Source


def unpaired(
    answers: Annotated[Path, typer.Argument(help="Answers: prompt, completion, label.")],
    fields: Annotated[str | None, typer.Option(help="Field names, as completion=answer,label=good.")] = None,
    skip_bad: options.SkipBad = False,
    how: bundles.LoadingOptions = ModelOptions(),
    to: Annotated[Path | None, typer.Option(help="Write the pairs in it; must not exist.")] = None,
    read_only: Annotated[bool, typer.Option("--no-model", help="Check the answers; load no model.")] = False,
    trial_steps: Annotated[int, typer.Option(help="Steps of a short KTO run; 0: none.")] = 0,
    alpha: options.Alpha = 0.05,
    seed: options.Seed = 0,
    format: options.Format = None,
    out: options.Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every row and finding.")] = False,
) -> None:
    """Check answers with labels, as for KTO, and make pairs of them.

    Example: probe unpaired answers.jsonl --to pairs.jsonl --no-model
    """
    from ..files import write_text
    from ..gate.whole import answers_decided
    from ..probes.unpaired.told import UnpairedOptions
    from ..reports.emit import check_emit, emit
    from ..scoring.source import Source

    check_emit(format, out)
    if to is not None and to.exists():
        raise ProbeError(f"{to}: exists, and nothing is overwritten. Choose another name with --to.")
    source = Source.of(answers, fields, None, skip_bad)
    pairs = _pairs(source) if to is not None else ""
    run = answers_decided(source, how, UnpairedOptions(not read_only, alpha, seed, trial_steps))
    if to is not None:
        write_text(to, pairs)
    emit(run, format, out, everything=everything)


def _pairs(source: Source) -> str:
    """The pairs in the answers as JSON Lines. Raises `ProbeError` where there are none."""
    from ..pairs.unpaired import pair_of_answers, pairs_in, read_unpaired

    read = read_unpaired(source.path, source.fields, skip_bad=source.skip_bad)
    rows = [pair_of_answers(*pair) for pair in pairs_in(read.rows)]
    if not rows:
        raise ProbeError(
            f"{source.path}: no prompt has different answers of both labels, so there are no pairs to write."
        )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
