"""From evidence to a verdict on bias.

The whole file is one question, tested at alpha; its groups are a second family, each claim under Holm. The
claims "favours" and "neutral" share alpha without a penalty, since for any true mean at most one of them is
false (Goeman, Solari and Stijnen 2010, "Three-sided hypothesis testing").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...records import BiasRow, BiasVerdict
from ...stats.power import least_clusters, t_pairs, tost_pairs
from ...stats.several import holm
from ...stats.statistics import Mean
from .evidence import BiasSettings, GroupEvidence

MOST_PAIRS_ASKED = 1_000_000  # a larger number would settle nothing in practice


def judge_groups(cases: Sequence[GroupEvidence], settings: BiasSettings) -> list[BiasRow]:
    """A row for the whole file (the first case) and for each group."""
    return [row for family in (cases[:1], cases[1:]) for row in _rows(family, settings)]


def _rows(family: Sequence[GroupEvidence], settings: BiasSettings) -> list[BiasRow]:
    found, ps = verdicts(family, settings), _adjusted(family, settings)
    level = settings.alpha / max(len(_able(family, settings)), 1)
    return [
        _row(case, verdict, ps.get(case.group), level, settings)
        for case, verdict in zip(family, found, strict=True)
    ]


def _adjusted(family: Sequence[GroupEvidence], settings: BiasSettings) -> dict[str, float]:
    """By group, the p of "no preference beyond the bound" after Holm's correction."""
    able = _able(family, settings)
    ps = holm([p_favours(case, settings) for case in able])
    return {case.group: float(p) for case, p in zip(able, ps, strict=True)}


def verdicts(family: Sequence[GroupEvidence], settings: BiasSettings) -> list[BiasVerdict]:
    """The verdict on each case of one family, by Holm's procedure for each of the two claims."""
    able = _able(family, settings)
    favours = _adjusted(family, settings)
    neutral = holm([1.0 if case.tost.p is None else case.tost.p for case in able])
    found = {
        case.group: _verdict(case, favours[case.group] <= settings.alpha, q <= settings.alpha, settings)
        for case, q in zip(able, neutral, strict=True)
    }
    return [found.get(case.group, "undetermined") for case in family]


def _able(family: Sequence[GroupEvidence], settings: BiasSettings) -> list[GroupEvidence]:
    """Groups too small ever to reject take no part in the correction: that is fixed before any score."""
    return [case for case in family if case.mean.se is not None and case.mean.clusters >= settings.least]


def p_favours(case: GroupEvidence, settings: BiasSettings) -> float:
    """p of H0 "no preference beyond the bound": the larger of the interval's and the flip test's."""
    beyond = case.p_beyond(max(settings.bound, settings.noise_floor))
    return 1.0 if beyond is None else max(case.flip.p, beyond)


def _verdict(case: GroupEvidence, favours: bool, neutral: bool, settings: BiasSettings) -> BiasVerdict:
    if favours:
        if disagreeing(case):
            return "unstable"
        return "favours chosen" if case.mean.value > 0 else "favours rejected"
    if neutral and not settings.bound_is_noise:
        return "unstable" if leaning(case) else "neutral"
    return "undetermined"


def _row(
    case: GroupEvidence, verdict: BiasVerdict, p: float | None, level: float, settings: BiasSettings
) -> BiasRow:
    prompts = prompts_to_verdict(case, settings.bound, level) if verdict == "undetermined" else None
    shared = case.mean.clusters < case.mean.n
    return BiasRow(case.group, verdict, _pairs(prompts, case.mean), p, prompts if shared else None)


def disagreeing(case: GroupEvidence) -> list[str]:
    """Other ways to measure the gap whose mean has not the sign of the gap's."""
    return [name for name, e in case.others.items() if (e.value or 0.0) * case.mean.value <= 0]


def leaning(case: GroupEvidence) -> list[str]:
    """Other ways to measure the gap whose interval lies wholly beyond the bound, carried to their unit."""
    return [name for name, e in case.others.items() if _beyond(e.low, e.high, case.bounds[name])]


def _beyond(low: float | None, high: float | None, bound: float) -> bool:
    return low is not None and high is not None and (low > bound or high < -bound)


def prompts_to_verdict(case: GroupEvidence, bound: float, alpha: float) -> int | None:
    """How many prompts like these, in all, give a verdict with 80% power if the measured gap is the true one.

    A pair without a prompt, or with one of its own, is a prompt. The spread between prompts is the measured
    one, so that pairs which share a prompt count as far as they agree. Where the interval is already clear of
    the bound only the flip test falls short: the least number that it can reject with, or one more. None when
    nothing varies, or when more than a million pairs would be needed.
    """
    mean, beyond = case.mean, case.p_beyond(bound)
    if beyond is None:
        return None
    needed = 0 if beyond <= alpha else _clusters_needed(mean, bound, alpha)
    if needed is None:
        return None
    clusters = max(needed, least_clusters(alpha), mean.clusters + 1)
    return clusters if clusters * mean.n / mean.clusters <= MOST_PAIRS_ASKED else None


def _pairs(prompts: int | None, mean: Mean) -> int | None:
    """So many pairs as there would be on that many prompts, if each had as many as those at hand."""
    return None if prompts is None else math.ceil(prompts * mean.n / mean.clusters)


def _clusters_needed(mean: Mean, bound: float, alpha: float) -> int | None:
    assert mean.se is not None
    deviation = mean.se * math.sqrt(mean.clusters)
    distance = (abs(mean.value) - bound) / deviation
    if distance > 0:
        return t_pairs(distance, alpha=alpha)
    return tost_pairs(bound / deviation, offset=mean.value / deviation, alpha=alpha)
