"""`probe rollback`: the model that was in place before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def rollback(
    place: Annotated[Path, typer.Argument(help="The place that `probe compare --promote-to` keeps.")],
) -> None:
    """Put the previous model back in place, in one step.

    Example: probe rollback models/serve
    """
    from ..gate.promote.deploy import restore_previous

    done = restore_previous(place)
    print(f"{place}: now {done.now}; before it: {done.before or 'nothing'}")
