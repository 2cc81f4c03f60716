"""Labels that look the wrong way round: the share of them, and which pairs. Codes PB230 and PB231."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...pairs.record import Pair
from ...records import Estimate, Finding, Measured
from ...stats.label_noise import label_noise
from ...stats.statistics import Floats
from .classify import Separation

LEAST_SHARE = 0.05  # wrong labels below it are every file's
SURE = 0.5  # P(wrong) from which a pair is listed
WORST_SUSPECTS = 20


def judge_suspects(
    found: Separation, pairs: Sequence[Pair], alpha: float, seed: int
) -> tuple[Measured, Floats]:
    """`label_noise`, its finding, a row per suspect, and P(the label is wrong) [pairs].

    All 0 where it cannot be told: an unread label is not called wrong.
    """
    share, mixture = label_noise(found.margins, found.clusters, alpha=alpha, seed=seed)
    if share.value is None:
        return Measured((share,), (unread_labels(share),)), np.zeros(len(pairs))
    scale = max(float(np.sqrt(np.mean(np.square(found.margins)))), 1e-12)
    wrong = mixture.flipped(found.margins / scale)
    order = [int(i) for i in np.argsort(-wrong, kind="stable") if wrong[i] > SURE]
    rows = [{"line": pairs[i].line, "id": pairs[i].id, "wrong": float(wrong[i])} for i in order]
    finding = contradicted(share, [pairs[i] for i in order])
    return Measured((share,), (finding,) if finding else (), {"suspects": rows}), wrong


def contradicted(share: Estimate, suspects: Sequence[Pair]) -> Finding | None:
    """PB230 labels contradicted: a share of the pairs says the opposite of what the others teach.

    Means: a classifier that did not see a pair expects its sides the other way round, so surely that a
    mixture of right and flipped labels explains it and hard pairs do not. The share of flipped ones is
    estimated, and the lines are those that are more likely flipped than not.
    Why: wrong labels teach their opposite; with 30% of them little is left to learn, although the pairs are
    good. Where a minority of prompts wants the opposite on purpose, nothing is wrong: look at the lines.
    Do: look at the lines; relabel (`probe label`), or leave them out: `probe negatives PAIRS
    --drop-suspect FILE`.
    Source: mixture model, calibrated at 0 to 40% flipped labels (`bench/label_noise.py`).
    """
    if share.value is None or share.low is None or share.high is None or share.low <= LEAST_SHARE:
        return None
    return Finding(
        "PB230", "warning",
        f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of the labels seem to be reversed; "
        f"{len(suspects)} pairs are more likely so than not",
        "Look at the lines; `probe negatives PAIRS --drop-suspect FILE` leaves them out.",
        estimate=share,
        lines=tuple(pair.line for pair in suspects[:WORST_SUSPECTS] if pair.line),
        worst_pairs=tuple(pair.id for pair in suspects[:WORST_SUSPECTS]),
    )  # fmt: skip


def unread_labels(share: Estimate) -> Finding:
    """PB231 labels not read: whether labels are the wrong way round cannot be told from these pairs.

    Means: no classifier of the text tells the sides of unseen pairs apart so well that its contradictions
    would show reversed labels; or responses are the same few, and a rarer right one looks like a reversed
    label; or as many labels may be reversed as are not.
    Why: it is no sign that the labels are right: with 30% of them reversed such a file looks the same.
    Do: have a sample labelled blind (`probe label`); more pairs may settle it.
    Source: the mixture model of PB230.
    """
    return Finding(
        "PB231", "info",
        f"{share.n} pairs cannot tell whether labels are the wrong way round",
        "`probe label PAIRS` has people check a sample.",
        estimate=share,
    )  # fmt: skip
