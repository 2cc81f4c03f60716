"""What the gate judges: the table of conditions, and the three-valued test of one.

A condition compares an estimate's interval with a limit. It passes or fails only when the test against the
limit rejects after Holm's correction over all conditions that gate; otherwise it is inconclusive, with the
number of pairs that would settle it. Nothing that was not measured passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from ..config import Key
from ..records import Estimate
from ..stats.multiplicity import holm_adjusted

Sense = Literal["<=", ">=", "within", "clean"]
NORMAL = NormalDist()
POWER = 0.8
MEASURED = "measured on 16 sets × 2 models"  # what bench/forecast.py trained; see docs/validity.md


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition. `name` is an estimate's name, or a probe's for sense `clean` (no error finding).

    `code` is the finding that says the same (a prefix for `clean`). `limit` None: off until configured.
    `exact`: a count of this very file, compared without an interval. `optional`: judged only when measured.
    `forbids`: fails where it is shown to be past its limit, and passes where enough pairs do not show it.
    `also`: estimates with the same limit that show the same; one of them is enough, and each is tested at a
    level corrected for their number.
    """

    name: str
    sense: Sense
    limit: float | None
    code: str
    probe: str
    help: str
    source: str
    gates: bool = True
    exact: bool = False
    optional: bool = False
    forbids: bool = False
    also: tuple[str, ...] = ()


CONDITIONS: tuple[Rule, ...] = (
    Rule(
        "numerics",
        "clean",
        None,
        "PB0",
        "numerics",
        "Forward, backward and one step stay finite in the dtype and optimizer to be used.",
        "deterministic",
    ),
    Rule("data", "clean", None, "PB3", "data", "The file has no error that spoils training.", "exact counts"),
    Rule(
        "displacement",
        "clean",
        None,
        "PB4",
        "displacement",
        "The displacement probe has run and raises no error; what it warns of decides the loss.",
        "Razin et al. 2024; Yuan et al. 2024",
    ),
    Rule(
        "gap",
        "within",
        None,
        "PB101",
        "bias",
        "Mean gap of the base model, nats/token, within ± the limit. Off until a limit is set.",
        "equivalence test (TOST)",
    ),
    Rule(
        "flip_budget_share",
        "<=",
        0.5,
        "PB120",
        "bias",
        "Share of pairs that DPO must flip by more than 1/beta nats.",
        "Chen et al. 2024, theorem 4.1; limit by convention",
        gates=False,
    ),
    Rule(
        "surface_accuracy",
        "<=",
        0.9,
        "PB202",
        "negatives",
        "Accuracy of telling the sides apart without the prompt.",
        f"{MEASURED}: DPO saturates above it",
        gates=False,
    ),
    Rule(
        "states_accuracy",
        "<=",
        0.9,
        "PB204",
        "negatives",
        "Accuracy of telling the sides apart by the model's own states, without the prompt.",
        f"{MEASURED}: DPO saturates above it",
        gates=False,
        optional=True,
    ),
    Rule(
        "length_accuracy",
        "<=",
        0.65,
        "PB201",
        "negatives",
        "Accuracy of telling the sides apart by length alone.",
        "Singhal et al. 2023: at most .63 on natural sets",
        forbids=True,
    ),
    Rule(
        "template_share",
        "<=",
        0.5,
        "PB211",
        "negatives",
        "Share of one side's responses that begin or end alike.",
        "convention",
        exact=True,
        optional=True,
    ),
    Rule(
        "entanglement",
        "<=",
        0.5,
        "PB420",
        "displacement",
        "Share of pairs whose own DPO step lowers the chosen response.",
        "Yuan et al. 2024; exact for a pair, the limit on the share is a convention",
        gates=False,
        optional=True,
    ),
    Rule(
        "signal_accuracy",
        ">=",
        0.6,
        "PB240",
        "negatives",
        "Forecast of held-out accuracy by a linear probe on the frozen model.",
        f"{MEASURED}: DPO teaches nothing below it",
        gates=False,
    ),
    Rule(
        "trial_accuracy",
        ">=",
        0.5,
        "PB501",
        "trial",
        "Unseen pairs ranked right by a short trial, or samples on unseen prompts moved to the chosen kind.",
        "chance",
        also=("behaviour_up",),
    ),
    Rule(
        "agreement",
        ">=",
        0.8,
        "PB310",
        "label",
        "Agreement of a blind human re-label with the file's labels.",
        "convention of a published post-mortem",
        optional=True,
    ),
)
RULES = {rule.name: rule for rule in CONDITIONS}
BY_CODE = {rule.code: rule for rule in CONDITIONS if rule.sense != "clean"}
LIMIT_KEYS = tuple(
    Key(rule.name, (int, float, bool), rule.limit, rule.help) for rule in CONDITIONS if rule.sense != "clean"
)


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


def holm(ps: Sequence[float | None], alpha: float) -> list[bool]:
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
