"""The bias probe when it may stop early: an answer that is valid whenever it is given.

Looking at a fixed-sample test again and again until it rejects makes it reject far too often. The sign test
here is an e-process: its error is at most alpha at every stopping time (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...number_format import limit_text
from ...records import BiasRow, BiasVerdict, Estimate, Finding
from ...scoring.table import ScoreTable
from ...stats.sequential import SignSequence, sign_sequence
from .judge import BiasResult

NEUTRAL_DELTA = 0.1  # a win rate settled to lie within ½ ± this is called neutral


def early_verdict(sequence: SignSequence, alpha: float) -> BiasVerdict | None:
    """The verdict that the sequence allows now, or None: look further."""
    if sequence.preferred(alpha):
        return "favours chosen" if sequence.wins > sequence.losses else "favours rejected"
    return "neutral" if sequence.neutral(NEUTRAL_DELTA) else None


def cluster_gaps(scores: ScoreTable, clusters: Sequence[int], noise_floor: float) -> list[float]:
    """The sum of the gaps of each cluster, in order of appearance; gaps within the noise count as ties."""
    chosen, rejected = scores.totals("chosen"), scores.totals("rejected")
    gaps = chosen[0] / chosen[1] - rejected[0] / rejected[1]
    sums: dict[int, float] = {}
    for cluster, gap in zip(clusters, gaps.tolist(), strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + (gap if abs(gap) > noise_floor else 0.0)
    return list(sums.values())


def early_result(
    whole: BiasResult, gaps: Sequence[float], looked: int, total: int, sides: tuple[str, str], alpha: float
) -> BiasResult:
    """`whole`, the ordinary result on the pairs looked at, with what optional stopping makes invalid removed.

    Fixed-sample intervals and p values go; the win rate gets its confidence sequence and the verdict is the
    sequence's own. Groups get no verdict, since nobody decided when to stop looking at them.
    """
    sequence = sign_sequence(np.asarray(gaps), alpha)
    verdict = early_verdict(sequence, alpha)
    n = sequence.wins + sequence.losses
    rate = Estimate(
        "win_rate", sequence.wins / n if n else None, sequence.low, sequence.high, n, sequence.p,
        "anytime-valid sign test", "share",
    )  # fmt: skip
    values = [
        replace(
            e, low=None, high=None, p=None, method="mean of a sample whose size depended on it; no interval"
        )
        for e in whole.estimates
        if e.name.startswith("gap") and e.name not in ("gap_equivalence", "gap_bootstrap")
    ]
    row = BiasRow("all", verdict or "undetermined")
    finding = answered_early(rate, verdict, looked, total, sides, alpha)
    return BiasResult((rate, *values), (row,), (finding,), whole.details)


def answered_early(
    rate: Estimate, verdict: BiasVerdict | None, looked: int, total: int, sides: tuple[str, str], alpha: float
) -> Finding:
    """PB607 answered early: the question was settled, or not, before the file was read to its end.

    Means: Pairs were taken in random order and an anytime-valid sign test was asked after each batch. Its
    error is at most alpha whenever it stops, unlike an ordinary test asked again and again.

    Why: A file of a hundred thousand pairs mostly answers within its first hundreds.

    Do: For the size of the gap with an interval, or for verdicts on groups, run again without --stop-early;
    what was scored is stored.

    Source: docs/statistics.md; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid
    inference".
    """
    words = {
        "favours chosen": f"the model prefers {sides[0]}",
        "favours rejected": f"the model prefers {sides[1]}",
        "neutral": f"the win rate lies within 50% ± {NEUTRAL_DELTA:.0%}",
        None: "not settled",
    }[verdict]
    return Finding(
        "PB607",
        "info",
        f"{words}: answered after {looked:,} of {total:,} pairs, error at most {limit_text(alpha, 'share')} "
        "whenever stopped",
        "Run without --stop-early for the size of the gap and its interval.",
        estimate=rate,
    )
