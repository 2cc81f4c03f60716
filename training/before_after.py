"""What training changed on held-out pairs: the same quantities before and after, paired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..scoring.scores import PairScore
from ..stats.mean_change import before_after_row, mean_changes
from ..stats.paired_runs import paired_changes

MEANS: dict[str, Callable[[PairScore], float]] = {
    "chosen logps": lambda score: score.chosen.mean_logps,
    "rejected logps": lambda score: score.rejected.mean_logps,
}


def before_after_rows(
    before: Sequence[PairScore], after: Sequence[PairScore], clusters: Sequence[str], alpha: float = 0.05
) -> list[dict[str, Any]]:
    """Rows of `details["before_after"]`, over all pairs and in each group.

    The gap and log-probs change by a mean with a cluster-robust interval (`clusters`: a name per prompt); the
    share of pairs won has McNemar's exact test. Raises `ValueError` unless both hold the same pairs.
    """
    if [score.line for score in before] != [score.line for score in after]:
        raise ValueError("before and after are not the same pairs")
    pairs = list(zip(map(_row, before, clusters), map(_row, after, clusters), strict=True))
    found = paired_changes(pairs, alpha)
    for name, value in MEANS.items():
        old, new = ([value(score) for score in scores] for scores in (before, after))
        whole = [None] * len(pairs)
        found += mean_changes(old, new, whole, clusters, name=name, units="nats/token", alpha=alpha)
    return [before_after_row(c.estimate.name, c.estimate, c.before, c.after) for c in found]


def _row(score: PairScore, cluster: str) -> dict[str, Any]:
    return {"id": score.id, "gap": score.gap, "group": score.group, "cluster": cluster}
