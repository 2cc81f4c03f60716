"""`probe init`: a config, a workflow, a hook and a sample pair file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ProbeError
from . import options

EXAMPLE = "pairs.jsonl"


def init(
    pairs: Annotated[str, typer.Option(help="Where the pair file is, or is to be.")] = EXAMPLE,
    model: options.ModelOption = None,
) -> None:
    """Write a config, a CI workflow, a commit hook and sample pairs. What exists is kept.

    Example: probe init --pairs data/pairs.jsonl
    """
    from .. import config
    from ..files import check_directory, write_text
    from ..pairs.formats import is_json_name
    from .init_files import hook, starter_files

    if any(sign in pairs for sign in "'\"\n\\"):
        raise ProbeError(f"--pairs {pairs}: no workflow can name such a file. Call it {EXAMPLE}.")
    if not (is_json_name(Path(pairs)) or Path(pairs).exists()):
        raise ProbeError(
            f"--pairs {pairs}: the sample pairs are JSON Lines, and would not be read from such a name. Call "
            f"it {Path(pairs).name.split('.')[0]}.jsonl, or put your file there first."
        )
    check_directory(Path())
    configured = config.find_config(Path.cwd()).path
    for name, content in starter_files(pairs, model).items():
        path = Path(name)
        if name == "probe.toml" and configured is not None:
            print(f"kept   {configured} configures probe already")
        elif path.exists():
            print(f"kept   {path}")
            if name == ".pre-commit-config.yaml" and hook(pairs) not in path.read_text(encoding="utf-8"):
                print(f"       add this to its repos:\n{hook(pairs)}", end="")
            if name == ".gitignore" and ".probe/" not in path.read_text(encoding="utf-8").split():
                print("       add .probe/ to it: runs and scores are kept there")
        else:
            write_text(path, content)
            print(f"wrote  {path}")
