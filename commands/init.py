"""`probe init`: a config, a workflow, a hook and a sample pair file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def init(
    pairs: Annotated[str, typer.Option(help="Where the pair file is, or is to be.")] = "pairs.jsonl",
    model: options.ModelOption = None,
) -> None:
    """Write a config, a CI workflow, a commit hook and sample pairs. What exists is kept.

    Example: probe init --pairs data/pairs.jsonl
    """
    from .. import config
    from ..files import write_text
    from .init_files import hook, starter_files

    configured = config.find_config(Path.cwd()).path
    for name, content in starter_files(pairs, model).items():
        path = Path(name)
        if name == "probe.toml" and configured is not None:
            print(f"kept   {configured} configures probe already")
        elif path.exists():
            print(f"kept   {path}")
            if name == ".pre-commit-config.yaml":
                print(f"       add this to its repos:\n{hook(pairs)}", end="")
            if name == ".gitignore" and ".probe/" not in path.read_text(encoding="utf-8").split():
                print("       add .probe/ to it: runs and scores are kept there")
        else:
            write_text(path, content)
            print(f"wrote  {path}")
