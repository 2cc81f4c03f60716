"""Do people who see a pair blind prefer the side that the file calls chosen?

Null hypothesis: they agree with the file in at most `limit` of its pairs. The sample is random, so the exact
binomial test holds for the file's share whatever its pairs have in common (without replacement and stratified
by group, it errs on the safe side). A tie is neither agreement nor disagreement and is counted on its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...number_format import limit_text
from ...pairs.audit import Label, LabelAnswer, uniform_draw
from ...pairs.identity import content_digest
from ...pairs.record import Pair
from ...records import ConditionResult, Estimate
from ...stats.power import share_above_power, share_above_trials
from ...stats.statistics import share, share_clustered, summarise
from .agreement import cohen_kappa, krippendorff_alpha

TIE_LIMIT = 0.2  # convention
EXPECTED = 0.9

Answers = Mapping[str, Mapping[str, LabelAnswer]]  # by labeller, then by the pair's digest


@dataclass(frozen=True, slots=True)
class Audited:
    """A pair with what the labellers made of it together."""

    pair: Pair
    votes: Mapping[str, Label]  # by labeller
    label: Label | None  # the majority's side; `tie` when there is none; None: nobody has answered


def audit(pairs: Sequence[Pair], answers: Answers) -> list[Audited]:
    """Each pair with its votes. The label with most votes wins; where two have most, it is a tie."""
    audited = []
    for pair in pairs:
        key = content_digest(pair)
        votes: dict[str, Label] = {name: given[key].label for name, given in answers.items() if key in given}
        audited.append(Audited(pair, votes, _majority(votes)))
    return audited


def _majority(votes: Mapping[str, Label]) -> Label | None:
    counts = Counter(vote for vote in votes.values() if vote != "skip")
    if not counts:
        return "skip" if votes else None
    (first, most), *others = counts.most_common()
    return "tie" if others and others[0][1] == most else first


def measure_labels(
    audited: Sequence[Audited], answers: Answers, limit: float, alpha: float
) -> list[Estimate]:
    """Agreement (all, then by group), ties, agreement between labellers, and each labeller's habits."""
    between = between_labellers(audited, alpha)
    return [
        agreement(audited, limit, alpha),
        *(agreement(rows, limit, alpha, group) for group, rows in audits_by_group(audited).items()),
        tie_share(audited, alpha),
        *([between] if between else []),
        *(e for name, given in answers.items() for e in _habits(name, given, answers, alpha)),
    ]


def audits_by_group(audited: Sequence[Audited]) -> dict[str, list[Audited]]:
    """The audited pairs of each group; empty when there is only one."""
    groups = sorted({a.pair.group for a in audited if a.pair.group})
    rows = {group: [a for a in audited if a.pair.group == group] for group in groups}
    return rows if len(rows) > 1 else {}


def agreement(audited: Sequence[Audited], limit: float, alpha: float, group: str = "all") -> Estimate:
    """Share of the votes for a side that went to the file's chosen one; p is one-sided, against ≤ `limit`."""
    return _share(audited, ("chosen",), ("chosen", "rejected"), "agreement", limit, alpha, group)


def tie_share(audited: Sequence[Audited], alpha: float) -> Estimate:
    """Share of the votes, skips left out, that found both sides equally good."""
    return _share(audited, ("tie",), ("chosen", "rejected", "tie"), "tie_share", TIE_LIMIT, alpha, "all")


def _share(
    audited: Sequence[Audited],
    wanted: Sequence[Label],
    counted: Sequence[Label],
    name: str,
    null: float,
    alpha: float,
    group: str,
) -> Estimate:
    """Share of the votes: exact for one vote a pair; several votes on a pair are no independent trials.

    Votes are not merged into a majority first: two labellers who agree by chance would look like certainty.
    """
    hits, clusters = _votes(audited, wanted, counted)
    if len(set(clusters)) < len(clusters):
        return share_clustered(hits, clusters, name=name, alpha=alpha, group=group)
    return share(
        int(sum(hits)), len(hits), name=name, null=null, alternative="greater", alpha=alpha, group=group
    )


def _votes(
    audited: Sequence[Audited], wanted: Sequence[Label], counted: Sequence[Label]
) -> tuple[list[float], list[int]]:
    """Whether each vote that counts is one of those wanted, and which pair it is of."""
    votes = [(i, vote) for i, a in enumerate(audited) for vote in a.votes.values() if vote in counted]
    return [float(vote in wanted) for _, vote in votes], [i for i, _ in votes]


def _trials_per_pair(audited: Sequence[Audited]) -> float:
    """Independent answers that a labelled pair is worth: 1 where each has one answer, or where the answers to
    a pair always agree; up to the number of labellers."""
    votes = summarise(*_votes(audited, ("chosen",), ("chosen", "rejected")))
    if votes.se is None or not 0 < votes.value < 1:
        return 1.0
    effective = votes.value * (1 - votes.value) / votes.se**2
    return float(min(max(effective / votes.clusters, 1.0), votes.n / votes.clusters))


def audit_result(
    audited: Sequence[Audited], limit: float, alpha: float
) -> tuple[ConditionResult, int | None]:
    """Pass, fail or inconclusive by two one-sided tests at `alpha`, and how many pairs an open case lacks.

    The tests are read off the 1 − 2·alpha interval. The number gives 80% power if the measured share is the
    true one; None when that is the limit itself.
    """
    made = agreement(audited, limit, 2 * alpha)
    if made.value is None:
        return "inconclusive", share_above_trials(EXPECTED, limit, alpha=alpha)
    if made.low is not None and made.low >= limit:
        return "pass", None
    if made.high is not None and made.high <= limit:
        return "fail", None
    above = share_above_trials(made.value, limit, alpha=alpha)
    needed = above or share_above_trials(1 - made.value, 1 - limit, alpha=alpha)
    if needed is None:
        return "inconclusive", None
    labelled = len(set(_votes(audited, ("chosen",), ("chosen", "rejected"))[1]))
    return "inconclusive", max(1, math.ceil(needed / _trials_per_pair(audited)) - labelled)


def between_labellers(audited: Sequence[Audited], alpha: float) -> Estimate | None:
    """Krippendorff's α over the pairs that several labellers answered; None when there are none.

    A fair coin per pair names the sides anew. Coded as chosen and rejected, a good file has one code nearly
    always, chance agreement is then high, and labellers who are nearly always right would get an α near 0.
    """
    units = [_recoded(a) for a in audited]
    if not any(len(unit) > 1 for unit in units):
        return None
    return krippendorff_alpha(units, alpha=alpha)


def _recoded(audited: Audited) -> list[str]:
    heads = uniform_draw("sides", content_digest(audited.pair)) % 2
    codes = {"chosen": "ab"[heads], "rejected": "ba"[heads], "tie": "tie"}
    return [codes[vote] for vote in audited.votes.values() if vote in codes]


def _habits(name: str, given: Mapping[str, LabelAnswer], answers: Answers, alpha: float) -> list[Estimate]:
    """One labeller's own agreement with the file beyond chance (κ) and share of left answers."""
    decided = [a for a in given.values() if a.label in ("chosen", "rejected")]
    picked = ["left" if a.label == a.left else "right" for a in decided]
    filed = ["left" if a.left == "chosen" else "right" for a in decided]
    group = f"labeller {name}" if len(answers) > 1 else "all"
    return [
        cohen_kappa(picked, filed, alpha=alpha, group=group),
        share(picked.count("left"), len(picked), name="left_share", alpha=alpha, group=group),
    ]


def audit_row(audited: Audited) -> dict[str, Any]:
    """What an audit made of a pair, as it is saved; `label` is the side that people preferred."""
    pair = audited.pair
    return {
        "id": pair.id,
        "line": pair.line,
        "group": pair.group,
        "label": audited.label,
        "votes": dict(audited.votes),
    }


def reasoning(n: int, total: int, limit: float, alpha: float, expected: float) -> str:
    """Why so many pairs: the power of the exact test at `n` of the file's `total` pairs, in words."""
    chance = share_above_power(n, expected, limit, alpha)
    others = (r for r in (0.95, 0.9, 0.875, 0.85) if r > limit and r != expected)
    needs = ", ".join(f"{share_above_trials(r, limit, alpha=alpha)} if it is {r:.1%}" for r in others)
    level, asked = limit_text(alpha, "share"), limit_text(limit, "share")
    return (
        f"{n} of {total} pairs: an exact test at {level} then shows agreement above {asked} with "
        f"{chance:.0%} probability if the truth is {expected:.1%} (for 80%: "
        f"{share_above_trials(expected, limit, alpha=alpha)} pairs; {needs})."
    ).replace(".0%", "%")
