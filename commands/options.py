"""Options that several commands share, so that a flag means the same everywhere."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Annotated

import typer

from .. import config
from ..errors import ProbeError

PairsFile = Annotated[Path, typer.Argument(help="Preference pairs: prompt, chosen, rejected.")]
Fields = Annotated[str | None, typer.Option(help="Field names, as prompt=question,chosen=good.")]
Sides = Annotated[str | None, typer.Option(help="What the report calls the two sides: CICO,insulin.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without malformed lines, and say so.")]
ModelOption = Annotated[
    str | None,
    typer.Option(help="Hub name, folder or GGUF. Default: the embedded."),
]
TokenizerOption = Annotated[str | None, typer.Option(help="Of a served model: --model http://HOST/v1.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto. Default: the best.")]
DTypeOption = Annotated[str | None, typer.Option(help="float32, bfloat16, float16. Default: by device.")]
Quantize = Annotated[str | None, typer.Option(help="nf4 or int8: weights quantised (bitsandbytes).")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")]
Adapter = Annotated[str | None, typer.Option(help="A peft adapter to load on top of the model.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]
TemplateOption = Annotated[str, typer.Option(help="auto, raw, chat, qa or text with {prompt}.")]
MaxLength = Annotated[int | None, typer.Option(help="Longest sequence in tokens; the end is cut off.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write stored scores.")]
Format = Annotated[
    list[str] | None,
    typer.Option("--format", help="text, json, markdown, html, junit, github[=PATH]."),
]
Out = Annotated[Path | None, typer.Option(help="Directory for run.json and its companions.")]
Alpha = Annotated[float, typer.Option(help="Error rate of tests and intervals.")]
Bound = Annotated[float, typer.Option(help="Gaps in ± this many nats/token are neutral.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


def refuse_alone(names: Container[str], needed: str, value: object) -> None:
    """Raises `ProbeError` for the first typed option of `names` where `needed`, without which it does
    nothing, has no value."""
    origins = config.current().get("origins", {}).items()
    typed = [name for name, origin in origins if name in names and origin == config.FLAG]
    if typed and value is None:
        flag = f"--{typed[0].replace('_', '-')}"
        raise ProbeError(f"{flag}: does nothing without {needed}. Name one, or leave {flag} out.")


def typed_beside(known: Container[str]) -> list[str]:
    """The options of the running command that were typed, as they are written, but for those of `known`."""
    settings = config.current()
    return [
        f"--{'no-' * (settings[name] is False)}{name.replace('_', '-')}"
        for name, origin in settings.get("origins", {}).items()
        if origin == config.FLAG and name not in known
    ]
