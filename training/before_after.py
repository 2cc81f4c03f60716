"""What training changed on held-out pairs: the same quantities before and after, paired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..scoring.scores import PairScore
from ..stats.paired_runs import differences
from ..stats.statistics import mean_estimate

MEANS: dict[str, Callable[[PairScore], float]] = {
    "chosen logps": lambda score: score.chosen.mean_logps,
    "rejected logps": lambda score: score.rejected.mean_logps,
}


def before_after(
    before: Sequence[PairScore], after: Sequence[PairScore], clusters: Sequence[str], alpha: float = 0.05
) -> list[dict[str, Any]]:
    """Rows of `details["before_after"]`, over all pairs and in each group.

    The gap and log-probs change by a mean with a cluster-robust interval (`clusters`: a name per prompt); the
    share of pairs won has McNemar's exact test. Raises `ValueError` unless both hold the same pairs.
    """
    if [score.line for score in before] != [score.line for score in after]:
        raise ValueError("before and after are not the same pairs")
    matched = list(zip(before, after, clusters, strict=True))
    pairs = [(_row(a, cluster), _row(b, cluster)) for a, b, cluster in matched]
    rows = []
    for change in differences(pairs, alpha):
        some = [pair for pair in pairs if change.group in ("all", pair[1]["group"])]
        key = "won" if change.units == "share" else "gap"
        values = [sum(pair[i][key] for pair in some) / len(some) for i in (0, 1)]
        rows.append(_entry(change.name, change, *values))
    for name, value in MEANS.items():
        old, new = ([value(score) for score in scores] for scores in (before, after))
        moved = mean_estimate(
            [b - a for a, b in zip(old, new, strict=True)],
            name=name, units="nats/token", clusters=clusters, alpha=alpha,
        )  # fmt: skip
        rows.append(_entry(name, moved, sum(old) / len(old), sum(new) / len(new)))
    return rows


def _row(score: PairScore, cluster: str) -> dict[str, Any]:
    won = float(score.gap > 0)
    return {"id": score.id, "gap": score.gap, "won": won, "group": score.group, "cluster": cluster}


def _entry(name: str, change: Any, before: float, after: float) -> dict[str, Any]:
    return {
        "name": name, "group": change.group, "before": before, "after": after, "change": change.value,
        "low": change.low, "high": change.high, "p": change.p, "units": change.units,
    }  # fmt: skip
