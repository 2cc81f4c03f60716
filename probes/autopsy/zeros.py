"""Losses of exactly 0, and whether a margin explains them."""

from __future__ import annotations

import math

from ...training.rules import least_loss
from .case import Case
from .curve import LogRow
from .rounding import may_be_rounded


def unexplained_zeros(case: Case) -> tuple[list[LogRow], list[LogRow]]:
    """The entries whose loss is 0 and should not be, and all that have a loss.

    A loss that came as near to 0 as its last digit lets it may be a small one, rounded.
    """
    rows = [row for row in case.log.rows if "loss" in row]
    if case.method.family == "online":
        return [], rows
    rounded = may_be_rounded([row["loss"] for row in rows], case.log.rounding.get("loss", 0.0))
    return [
        row
        for row, small in zip(rows, rounded, strict=True)
        if row["loss"] == 0.0 and not small and not _explained(case, row)
    ], rows


def _explained(case: Case, row: LogRow) -> bool:
    """Whether a loss of 0.0 may be a small one, rounded to four decimals. A cross-entropy is never."""
    if case.method.family == "supervised" or case.method.name == "ORPO":
        return False
    return not case.method.sigmoid or least_loss(row.get("rewards/margins", math.inf)) < 1e-3
