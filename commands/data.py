"""`probe data`: is the file itself fit to train on?"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from .. import config
from ..errors import ProbeError
from ..records import Run
from .options import Fields, Format, MaxLength, Out, TemplateOption

Against = Annotated[Path | None, typer.Option(help="Another file that must share no prompts with it.")]
Fix = Annotated[Path | None, typer.Option(help="Write the rows that are not broken to this file.")]
DataTokenizerOption = Annotated[
    str | None, typer.Option("--model", help="Check its tokens too; no weights are loaded.")
]


def _accepting(run: Run) -> Run:
    """The run with the findings marked that the config accepts."""
    if not (rows := config.section("accept")):
        return run
    from ..gate.accept import parse
    from ..gate.leniency import marked

    return marked(run, parse(rows), date.today())


def data(
    pairs: Annotated[list[Path], typer.Argument(help="Preference pairs: prompt, chosen, rejected.")],
    fields: Fields = None,
    against: Against = None,
    model: DataTokenizerOption = None,
    template: TemplateOption = "auto",
    max_length: MaxLength = None,
    fix: Fix = None,
    format: Format = None,
    out: Out = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every check and finding.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="For hooks: many files, one line per error, exit 1."),
    ] = False,
) -> int:
    """Check the pair file itself: broken rows, duplicates, lengths. Leaks and contrast too; no model is run.

    Example: probe data pairs.jsonl --against test.jsonl
    """
    from ..probes.data.run import DataRequest, check_data
    from ..reports.emit import check_emit, emit, parse_formats

    parse_formats(format)

    def checks(path: Path) -> Run:
        request = DataRequest(path, fields, against, model, template, max_length, fix, templates=True)
        return _accepting(check_data(request))

    if check:
        from .data_check import checked

        if fix or format or out:
            raise ProbeError("--check writes nothing: leave out --fix, --format and --out.")
        return checked(pairs, checks)
    if len(pairs) > 1:
        raise ProbeError("a report is on one file. Name one, or several with --check.")
    check_emit(format, out)
    emit(checks(pairs[0]), format, out, everything=everything)
    return 0
