"""`probe export`: the recommended recipe as another tool's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run.json of a gate, or its directory.")],
    to: Annotated[str, typer.Option(help="trl, axolotl, llamafactory, mlx-lm-lora, openai, …")],
    pairs: Annotated[Path | None, typer.Option(help="The gated pair file, if it has moved.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write. Default: export-TOOL.")] = None,
    with_model: Annotated[
        bool,
        typer.Option("--with-model", help="Copy a model that no hub has beside it."),
    ] = False,
) -> None:
    """Write a gate's decision as another training tool's config. With the data file that it reads.

    Example: probe export .probe/runs/RUN --to trl
    """
    from ..gate.export.export import write_configs as write
    from ..runs import read_from
    from ..training.saved import saved_run

    saved = saved_run(run)
    with read_from(run):
        for path in write(saved, to, out or Path(f"export-{to}"), pairs, with_model):
            print(path)
