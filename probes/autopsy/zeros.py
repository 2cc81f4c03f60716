"""Losses of exactly 0, and whether a margin explains them."""

from __future__ import annotations

import math

from ...training.rules import least_loss
from .case import Case
from .curve import LogRow


def unexplained_zeros(case: Case) -> tuple[list[LogRow], list[LogRow]]:
    """The entries whose loss is exactly 0 and should not be, and all that have a loss."""
    rows = [row for row in case.log.rows if "loss" in row]
    if case.method.family == "online":
        return [], rows
    return [row for row in rows if row["loss"] == 0.0 and not _explained(case, row)], rows


def _explained(case: Case, row: LogRow) -> bool:
    """Whether a loss of 0.0 may be a small one, rounded to four decimals. A cross-entropy is never."""
    if case.method.family == "supervised" or case.method.name == "ORPO":
        return False
    return not case.method.sigmoid or least_loss(row.get("rewards/margins", math.inf)) < 1e-3
