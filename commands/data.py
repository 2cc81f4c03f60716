"""`probe data`: is the file itself fit to train on?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Fields, Format, MaxLength, Out, PairsFile, Template

Against = Annotated[
    Path | None, typer.Option(help="A file that must share no prompts with this one, e.g. the test half.")
]
Fix = Annotated[Path | None, typer.Option(help="Write the rows that are not broken here, as JSON Lines.")]
Tokenizer = Annotated[
    str | None, typer.Option("--model", help="Check tokens too, by this model's tokenizer; no weights.")
]


def data(
    pairs: PairsFile,
    fields: Fields = None,
    against: Against = None,
    model: Tokenizer = None,
    template: Template = "auto",
    max_length: MaxLength = None,
    fix: Fix = None,
    format: Format = None,
    out: Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every check and finding.")] = False,
) -> None:
    """Check the pair file itself: broken rows, duplicates, leaks, lengths, contrast. No model is run.

    Example: probe data pairs.jsonl --against test.jsonl
    """
    from ..probes.data.run import Request, measure
    from ..reports.emit import emit, parse_formats

    parse_formats(format)
    run = measure(Request(pairs, fields, against, model, template, max_length, fix, templates=True))
    emit(run, format, out, everything=everything)
