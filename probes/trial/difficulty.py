"""Which pairs will stay misranked: the early loss of each pair that the trial measured.

On published per-pair losses of DPO from 0.5B to 32B parameters the loss at step 10 ranks the pairs that end
misranked with an area under the curve of .80 to .94, and a 0.5B model's ranks those of 32B with .87
(`bench/difficulty.py`). One family and one data set; a hard pair need not be mislabelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .passes import Pass

LOSS_OF_NO_MARGIN = float(np.log(2))  # of a margin of 0


def difficulty(unseen: Pass, early: Pass, beta: float) -> list[dict[str, Any]]:
    """A row per pair, hardest first: its line, DPO loss in nats at `beta`, and whether it now is misranked.

    `unseen`: pairs after training on others; `early`: pairs of the first epoch just before their own update,
    which fill in for lines that were never unseen. A pair on both counts by the first.
    """
    margins = dict(zip(early.lines, early.margins, strict=True))
    margins |= dict(zip(unseen.lines, unseen.margins, strict=True))
    lines = np.array(list(margins), dtype=np.int64)
    losses = np.logaddexp(0.0, -beta * np.array(list(margins.values()), dtype=np.float64))
    order = np.argsort(-losses, kind="stable")
    return [
        {"line": int(lines[i]), "loss": float(losses[i]), "misranked": bool(losses[i] > LOSS_OF_NO_MARGIN)}
        for i in order
    ]


def by_line(details: Mapping[str, Any]) -> dict[int, float]:
    """The loss of each measured pair by line, from a run's details."""
    return {int(row["line"]): float(row["loss"]) for row in details.get("difficulty") or ()}
