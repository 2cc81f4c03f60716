"""`probe show`: what the model reads of a pair, token by token."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..errors import ProbeError
from ..escape import json_text
from ..scoring.options import ModelOptions
from . import bundles, options


def show(
    pairs: options.PairsFile,
    line: Annotated[list[int] | None, typer.Option(help="A line of the file. Repeatable.")] = None,
    how: bundles.Encoding = ModelOptions(),
    fields: options.Fields = None,
    sides: options.Sides = None,
    skip_bad: options.SkipBad = False,
    format: Annotated[list[str] | None, typer.Option(help="text or json[=PATH].")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every token, and every pair where no line is named.")
    ] = False,
) -> None:
    """Show what the model reads of a pair, token by token. Context, special tokens, flags; no weights.

    Example: probe show pairs.jsonl --line 17
    """
    from ..files import write_text
    from ..probes.show import measure_show, shown_ids
    from ..reports.emit import parse_formats, show_run
    from ..scoring.session import Source
    from ..streams import utf8

    targets = parse_formats(format)
    if other := sorted({name for name, _ in targets} - {"text", "json"}):
        raise ProbeError(f"--format {other[0]}: not one of this command. Use text or json.")
    every = everything or any(name == "json" for name, _ in targets)
    run = measure_show(Source.of(pairs, fields, sides, skip_bad), how, line or (), first=not every)
    texts = [target for target in targets if target[0] == "text"]
    show_run(run, texts, everything=everything, summary=False)
    for path in (path for name, path in targets if name == "json"):
        content = json_text(json.dumps(shown_ids(run), ensure_ascii=False)) + "\n"
        utf8(content) if path is None else write_text(path, content)
