"""What the gate judges: the table of conditions, and the three-valued test of one.

A condition compares an estimate's interval with a limit. It passes or fails only when the test against the
limit rejects after Holm's correction over all conditions that gate; otherwise it is inconclusive, with the
number of pairs that would settle it. Nothing that was not measured passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from ..config import Key
from ..number_format import number, p_text
from ..records import Estimate, Run
from ..stats.multiplicity import holm_adjusted
from .registry import PROBES, Rule

NORMAL = NormalDist()
POWER = 0.8


# Every condition, in the order of the probes.
CONDITIONS: tuple[Rule, ...] = tuple(rule for probe in PROBES for rule in probe.conditions)
RULES = {rule.name: rule for rule in CONDITIONS}
BY_CODE = {rule.code: rule for rule in CONDITIONS if rule.sense != "clean"}
LIMIT_KEYS = tuple(
    Key(rule.name, (int, float, bool), rule.limit, rule.help) for rule in CONDITIONS if rule.sense != "clean"
)


def code_found(rule: Rule, estimate: Estimate | None, run: Run) -> str:
    """The code of the finding that rests on this very estimate, where the rule has several; else its own."""
    if estimate is None or not rule.kin:
        return rule.code
    same = [f for f in run.findings if f.code in (rule.code, *rule.kin) and f.estimate is not None]
    own = [f for f in same if f.estimate == estimate] or [f for f in same if f.group == estimate.group]
    return own[0].code if own else rule.code


def beside_others(p: float | None, alpha: float, tests: int) -> str:
    """That a condition is open only since others share its alpha; "" where it is open by itself."""
    if p is None or p > alpha or tests < 2:
        return ""
    others = "the other condition" if tests == 2 else f"{tests - 1} other conditions"
    return f"p {p_text(p)} by itself, not under {alpha:g} beside {others} (Holm); "


def p_against(estimate: Estimate, limit: float, level: float) -> float | None:
    """Two-sided p of H0 "the quantity equals `limit`", read off the estimate's 1 − `level` interval.

    `level` is the one that the interval was measured at, whatever alpha it is judged by later. p equals it
    where the interval ends at the limit. Beyond, shares fall off exponentially (exact at 0 and 1 of a
    binomial, conservative between), everything else like a normal tail (Altman & Bland 2011,
    BMJ 343:d2304). None where the estimate has no interval.
    """
    distance = _distance(estimate, limit)
    if distance is None:
        return None
    if estimate.units == "share":
        return min(1.0, 2.0 * math.pow(level / 2, distance))
    return 2 * NORMAL.cdf(NORMAL.inv_cdf(level / 2) * distance)


def _distance(estimate: Estimate, limit: float) -> float | None:
    """From the value to the limit, in half-widths of the interval's side that faces it."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None or not high > low:
        return None
    width = value - low if limit < value else high - value
    if width <= 0:  # the value sits on its interval's end, as 1.0 does for a share
        return 0.0 if limit == value else None if math.isclose(limit, value) else math.inf
    return abs(value - limit) / width


def holm_rejects(ps: Sequence[float | None], alpha: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at family-wise `alpha`; None never is."""
    known = iter(holm_adjusted([p for p in ps if p is not None]))
    return [p is not None and bool(next(known) <= alpha) for p in ps]


def pairs_to_settle(
    estimate: Estimate, limit: float, alpha: float, tests: int, level: float | None = None
) -> int | None:
    """Further pairs for 80% power to tell the estimate from `limit`, were the measured value the true one.

    `tests` is the number of conditions that share `alpha`; the interval was measured at `level` (None:
    alpha). None when the value lies on the limit.
    """
    distance = _distance(estimate, limit)
    if not distance or math.isinf(distance):
        return None
    z = -NORMAL.inv_cdf((level or alpha) / 2)
    needed = (-NORMAL.inv_cdf(alpha / (2 * max(tests, 1))) + NORMAL.inv_cdf(POWER)) / (z * distance)
    return max(1, math.ceil(estimate.n * needed**2) - estimate.n)


def good_side(rule: Rule, value: float, limit: float) -> bool:
    """Whether `value` lies on the side of `limit` that the condition asks for."""
    if rule.sense == "within":
        return abs(value) <= limit
    return value <= limit if rule.sense == "<=" else value >= limit


def facing(rule: Rule, value: float, limit: float) -> float:
    """The end of the limit that a value is tested against: for `within`, the nearer of ±limit."""
    return math.copysign(limit, value) if rule.sense == "within" else limit


def against(rule: Rule, estimate: Estimate, limit: float, level: float) -> float:
    """How little speaks for the good side: the p of what lies on it, 1 for what does not."""
    p = p_against(estimate, limit, level)
    good = estimate.value is not None and good_side(rule, estimate.value, limit)
    return p if good and p is not None else 1.0


def not_followed(decisive: Estimate) -> str:
    """Why a condition stays open although its other evidence is shown."""
    return (
        "given pairs are ranked better, but what the model writes is not shown to follow: "
        f"{number(decisive.value, 'share')} of {decisive.n} prompts that moved, moved to the chosen kind"
    )


def rests_on(estimate: Estimate, least: int, level: float) -> bool:
    """Whether a share rests on `least` pairs, and on as much as half of that many that are independent: many
    pairs of few prompts do not. `level`: that of its interval, which is held against Wilson's."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if estimate.n < least or value is None or low is None or high is None:
        return False
    widest = wilson(value, max(1, least // 2), level)
    return high - low <= widest[1] - widest[0]


def wilson(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's interval of a share of n, missed with probability `level`."""
    z2 = NORMAL.inv_cdf(level / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return middle - half, middle + half
