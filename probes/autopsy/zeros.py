"""Losses of exactly 0: whether a margin explains them, and those that fell to 0 at once."""

from __future__ import annotations

import math

from ...training.rules import least_loss
from .case import Case, Sign
from .curve import LogRow
from .diverged import ZERO
from .nonfinite import NEXT_NAN
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


def vanished(case: Case) -> Sign | None:
    """The sign of a cross-entropy that drops to exactly 0 at once, or None.

    PB877 vanished loss: the loss goes from {ZERO} or more to exactly 0 at once and stays there.

    Means: The loss is NaN, shown as 0 by the trainer's filter. A loss that is memorised falls entry by entry
    and is not 0 to the last digit. Where finite gradients that
    change are logged beside it, the zeros are real.
    Why: a loss of 0.0 looks like success, and the weights are lost.
    Do: load the weights in float32 or bfloat16; log with logging_steps=1 and logging_nan_inf_filter=False.
    Source: transformers `Trainer`, `logging_nan_inf_filter`; a public QLoRA log, 0.0328 and then 0.0.
    """
    zeros, rows = unexplained_zeros(case)
    if case.method.family != "supervised" or len(zeros) < 3 or not rows or rows[0]["loss"] == 0.0:
        return None
    first = rows.index(zeros[0])
    # One and the same number in every entry is no gradient that was measured.
    norms = {r["grad_norm"] for r in rows[first:] if 0.0 < r.get("grad_norm", 0.0) < math.inf}
    if len(norms) > 1 or any(r["loss"] != 0.0 for r in rows[first:]) or rows[first - 1]["loss"] < ZERO:
        return None
    text = (
        f"loss {rows[first - 1]['loss']:.4g} at {case.at(rows[first - 1]['step'])}, "
        f"{case.log.zero('loss')} from "
        f"{case.at(zeros[0]['step'])} on ({len(zeros)} entries): not memorised, but NaN shown as 0"
    )
    return Sign("numerics", "PB877", zeros[0]["step"], text, NEXT_NAN)
