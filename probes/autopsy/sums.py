"""Whether the losses of a log are sums over micro-batches, squares, or ln 2 divided once too often."""

from __future__ import annotations

import math
from statistics import fmean, median

from ...training.methods import LN2
from ...training.rules import least_loss
from .curve import LogRow, curve_of
from .log import Log

GROWN = 0.2  # a mean margin at which two terms are told from one of twice the margin
EXO_SMOOTHING = 1e-3
EXACT_EXO = 2e-3
UNMOVED_MARGIN = 0.01  # a mean margin up to which the spread of its pairs adds nothing to the loss
FIRST_ENTRIES = 4  # whose losses must show the same sum


def terms_added(log: Log, loss: float, margin: float) -> int | None:
    """How many micro-batches the losses were added up over, from a first one at rest; None for a single one.

    Two sums over 2 from the losses that start at 2·ln 2 by themselves, NCA and BCO: by convexity neither is
    ever below 2·(−log σ(margin / 2)), and a sum of −log σ(margin) is once the margin has grown.
    """
    times = accumulated_batches(loss, margin) or summed_with_margins(log)
    if times == 4 and _starts_as_exo(loss, margin):
        return None
    return None if times == 2 and not _below_two_terms(log) else times


def _starts_as_exo(loss: float, margin: float) -> bool:
    """Whether a first loss is EXO's at TRL's least smoothing, 2.761; four terms in bfloat16 are 2.766."""
    won = 1.0 / (1.0 + math.exp(-margin))
    exo = won * math.log(won / (1.0 - EXO_SMOOTHING)) + (1.0 - won) * math.log((1.0 - won) / EXO_SMOOTHING)
    return abs(margin) < UNMOVED_MARGIN and abs(loss - exo) < EXACT_EXO


def _below_two_terms(log: Log) -> bool:
    rows = [row for row in log.train if _has_both(row) and row["rewards/margins"] > GROWN]
    rows.sort(key=lambda row: row["rewards/margins"])
    far = rows[len(rows) // 2 :]
    return bool(far) and median(r["loss"] / least_loss(r["rewards/margins"] / 2.0) for r in far) < 2.0


def accumulated_batches(loss: float, margin: float) -> int | None:
    """How many micro-batches a first loss was added up over: k·ln 2; None for a single one.

    Multiples of ln 2 lie close together for large k, so the distance is taken in ln 2, not in percent.
    """
    ratio = loss / math.log1p(math.exp(-margin))
    times = round(ratio)
    near = 0.05 if times.bit_count() == 1 else 0.02  # accumulations are mostly powers of two
    return times if abs(ratio - times) < min(near, 0.01 * times) and 2 <= times <= 64 else None


def summed_with_margins(log: Log) -> int | None:
    """How many terms −log σ(margin) the losses add up, where the policy has moved within the first entry.

    The spread of margins adds to the loss, so the ratio lies a little above k. An SFT term that is mixed in
    has such a ratio at the start as well, but then the loss falls by one term as the margin grows, not by k.
    """
    rows = [row for row in log.train if _has_both(row)]
    points = [(row["loss"], least_loss(row["rewards/margins"])) for row in rows]
    if len(points) < 2 * FIRST_ENTRIES:
        return None
    ratios = [loss / one for loss, one in points[:FIRST_ENTRIES]]
    # Accumulations beyond 8 are powers of two; other integers lie within the noise of each other.
    times = round(ratios[0]) if ratios[0] < 9.0 else 1 << round(math.log2(ratios[0]))
    near = all(0.97 * times < ratio < 1.1 * times for ratio in ratios) and ratios[0] < 1.025 * times
    if not near or not 2 <= times <= 64:
        return None
    (loss, one), (last_loss, last_one) = (
        tuple(map(fmean, zip(*part, strict=True)))
        for part in (points[:FIRST_ENTRIES], points[-FIRST_ENTRIES:])
    )
    return times if one - last_one > 0.05 and loss - last_loss > 0.65 * times * (one - last_one) else None


def _has_both(row: LogRow) -> bool:
    return all(math.isfinite(row.get(name, math.nan)) for name in ("loss", "rewards/margins"))


def squares_fit(log: Log, times: int, beta: float) -> bool:
    """Whether (margin − ½)² / β² explains the losses better than the sum of `times` terms −log σ(margin).

    Means of entries differ from both by the spread within the entry; the medians tell the two apart.
    """
    rows = [row for row in log.train if {"loss", "rewards/margins"} <= row.keys() and row["loss"] > 0.0]
    # Partial accumulations are lower than either says.
    rows = [row for row in rows if row["loss"] > 0.5 * rows[0]["loss"]] or rows
    rows = [row for row in rows if math.isfinite(row["rewards/margins"])]
    nearest = float(f"{beta:.2g}")
    square = median(abs(((r["rewards/margins"] - 0.5) / nearest) ** 2 / r["loss"] - 1.0) for r in rows)
    added = median(abs(times * least_loss(r["rewards/margins"]) / r["loss"] - 1.0) for r in rows)
    return square < added


def divided_twice(loss: float, log: Log) -> bool:
    """Whether the loss is ln 2 over a power of two: accumulation divided out twice."""
    power = round(math.log2(loss / LN2))
    # Zeros after it would be a failure, not a scale.
    lasting = median(curve_of(log.rows, "loss").values) > 0.0
    return lasting and -6 <= power < 0 and abs(loss / LN2 / 2.0**power - 1.0) < 0.005
