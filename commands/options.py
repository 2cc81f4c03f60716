"""Options that several commands share, so that a flag means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PairsFile = Annotated[
    Path, typer.Argument(help="Preference pairs: JSON Lines with prompt, chosen, rejected.")
]
Fields = Annotated[
    str | None, typer.Option(help="Other field names: prompt=question,chosen=good,rejected=bad,group=topic.")
]
Sides = Annotated[str | None, typer.Option(help="What the report calls the two sides: CICO,insulin.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without malformed lines, and say so.")]
Model = Annotated[
    str | None,
    typer.Option(help="Hub name, local directory or GGUF file. Default: the embedded SmolLM2-135M."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, auto. Default: the best there is.")]
DType = Annotated[str | None, typer.Option(help="float32, bfloat16, float16. Default: by the device.")]
Quantize = Annotated[
    str | None, typer.Option(help="nf4 or int8: load the weights quantised (bitsandbytes; CPUs too).")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")]
Adapter = Annotated[str | None, typer.Option(help="A peft adapter to load on top of the model.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model. Off by default.")
]
Template = Annotated[str, typer.Option(help="auto, raw, chat, qa, or a text with {prompt} in it.")]
MaxLength = Annotated[
    int | None, typer.Option(help="Longest sequence in tokens; longer ones are cut at the end and counted.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write stored scores.")]
Format = Annotated[
    list[str] | None,
    typer.Option("--format", help="text, json, markdown, html, junit, github; or FORMAT=PATH. Repeatable."),
]
Out = Annotated[Path | None, typer.Option(help="Directory for run.json and its companions.")]
Alpha = Annotated[float, typer.Option(help="Error rate of the tests; intervals cover 1 - alpha.")]
Bound = Annotated[float, typer.Option(help="Gaps within ± this many nats/token count as neutral.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
