"""Labels that look the wrong way round: the share of them, and which pairs. Codes PB230 and PB231."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np

from ...pairs.record import Pair, text_of
from ...records import Estimate, Finding, Measured
from ...stats.label_noise import label_noise
from ...stats.statistics import Bools, Floats
from .classify import Separation
from .features import split_tokens
from .patterns import TOGETHER_LEAST

LEAST_SHARE = 0.05  # wrong labels below it are every file's
SURE = 0.5  # P(wrong) from which a pair is listed
WORST_SUSPECTS = 20
# Shares of the other pairs and of the suspects whose answers change sides (bench/label_noise.py --answers).
LEAST_AGREEING, LEAST_EXCHANGED = 2 / 3, 0.5


def judge_suspects(
    found: Separation, pairs: Sequence[Pair], alpha: float, seed: int
) -> tuple[Measured, Floats]:
    """`label_noise`, its finding, a row per suspect, and P(the label is wrong) [pairs].

    All 0 where it cannot be told: an unread label is not called wrong.
    """
    chosen, rejected = [text_of(pair.chosen) for pair in pairs], [text_of(pair.rejected) for pair in pairs]
    share, wrong = read_labels(found, chosen, rejected, alpha=alpha, seed=seed)
    if share.value is None:
        return Measured((share,), (unread_labels(share),)), wrong
    order = [int(i) for i in np.argsort(-wrong, kind="stable") if wrong[i] > SURE]
    rows = [{"line": pairs[i].line, "id": pairs[i].id, "wrong": float(wrong[i])} for i in order]
    finding = contradicted(share, [pairs[i] for i in order])
    return Measured((share,), (finding,) if finding else (), {"suspects": rows}), wrong


def read_labels(
    found: Separation, chosen: Sequence[str], rejected: Sequence[str], *, alpha: float = 0.05, seed: int = 0
) -> tuple[Estimate, Floats]:
    """The share of reversed labels, and P(the label is wrong) [pairs]; no value and 0 where it cannot tell.

    `label_noise` sees margins alone. Where the texts show that they hang on which of a few answers a side
    gives, a rarer right answer looks like a reversed label, however different the words around it are.
    """
    share, mixture = label_noise(found.margins, found.clusters, alpha=alpha, seed=seed)
    if share.value is None:
        return share, np.zeros(len(chosen))
    wrong = mixture.flipped(found.margins / max(float(np.sqrt(np.mean(np.square(found.margins)))), 1e-12))
    if answers_exchanged(chosen, rejected, wrong > SURE):
        method = "cannot say: a few answers tell the sides apart, and a rarer right one looks reversed"
        return replace(share, value=None, low=None, high=None, method=method), np.zeros(len(chosen))
    return share, wrong


def answers_exchanged(chosen: Sequence[str], rejected: Sequence[str], suspect: Bools) -> bool:
    """Whether suspects are the pairs in which an answer ("Yes", "B", "unsafe") has changed sides.

    The answer is the first, or the last, token in which the sides of a pair differ. It must be the same for
    one side of most other pairs, stand on the other side of most suspects, and have an answer that recurs
    beside it: words of prose do not.
    """
    if not suspect.any() or suspect.all():
        return False
    first, last = zip(*map(_differing, chosen, rejected), strict=True)
    return any(_exchanged(place, suspect) for place in (first, last))


def _exchanged(place: Sequence[tuple[str, str]], suspect: Bools) -> bool:
    often = Counter(token for both in place for token in both)
    for side in (0, 1):
        here, there = [both[side] for both in place], [both[1 - side] for both in place]
        usual = Counter(token for token, odd in zip(here, suspect, strict=True) if not odd)
        answer = usual.most_common(1)[0][0]
        kept = _answers(here, there, answer, often)[~suspect]
        turned = _answers(there, here, answer, often)[suspect]
        if kept.mean() >= LEAST_AGREEING and turned.mean() > LEAST_EXCHANGED:
            return True
    return False


def _answers(here: Sequence[str], there: Sequence[str], answer: str, often: Counter[str]) -> Bools:
    """Where `answer` stands here and another that recurs stands there; shape [pairs]."""
    both = zip(here, there, strict=True)
    return np.array([a == answer and b != answer and often[b] >= TOGETHER_LEAST for a, b in both])


def _differing(chosen: str, rejected: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The first and the last tokens in which two texts differ; "" where one side has no more."""
    a, b = split_tokens(chosen), split_tokens(rejected)
    ahead = _shared(a, b)
    behind = min(_shared(a[::-1], b[::-1]), min(len(a), len(b)) - ahead)
    a, b = a[ahead : len(a) - behind], b[ahead : len(b) - behind]
    return ("".join(a[:1]), "".join(b[:1])), ("".join(a[-1:]), "".join(b[-1:]))


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(a, b, strict=False)))


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
    would show reversed labels; or responses are the same few, or tell the sides apart by a few answers
    ("Yes", "B", "unsafe") with which they begin or end or in which they differ, and a rarer right one looks
    like a reversed label; or as many labels may be reversed as are not.
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
