"""The run behind `probe show`: what the model reads of some pairs. Nothing is scored, nothing is saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import config
from ..records import Run
from ..runs import environment, now

if TYPE_CHECKING:
    from ..scoring.session import ModelOptions, Source


def measure_show(source: Source, how: ModelOptions, lines: Sequence[int] = (), first: bool = True) -> Run:
    """These lines of the file as the model reads them; without lines the first pair, or all of them.

    Raises `ProbeError` for a line that holds no pair, and for what no trainer could render either.
    """
    from ..scoring.shown import inputs_of, show_pairs

    created = now()
    shown = show_pairs(source, how, lines, first)
    return Run(
        command="show",
        created=created,
        inputs=inputs_of(shown, source, how),
        config=config.current(),
        environment=environment(),
        details={"shown": shown.rows},
    )


def shown_ids(run: Run) -> list[dict[str, Any]]:
    """The list that `--format json` prints: line, context, scored ids, end token and flags of each pair."""
    return [row["ids"] for row in run.details["shown"]]
