"""The tag of a reference that is not the starting policy, for every loss that has one."""

from __future__ import annotations

import math
from statistics import median

from ...training.methods import LN2
from ...training.rules import least_loss
from .case import Case, Confidence, Sign
from .curve import LogRow, curve_of
from .diverged import WORSE

AWAY = 0.05  # more than half precision moves the mean of a batch
FAR_SCORE = 0.25
FAR_REWARD = 1.0  # a mean reward that no policy reaches in a few steps from 0
EARLY_STEP, EARLY_EPOCH = 10.0, 0.02


def ref_mismatch(case: Case) -> Sign | None:
    """The tag of a reference that is not the starting policy, or None.

    PB863 reference mismatch: the rewards do not start at 0, or a DPO loss not at ln 2.

    Means: at step 1 policy and reference are the same weights, so every reward is 0 and the loss of DPO ln 2.
    Here they begin elsewhere. The most frequent cause is an SFT adapter trained on with ref_model=None: the
    reference is then the base model without the adapter. Others: another base model, an adapter not applied
    or applied twice, dropout, log-probabilities precomputed with another template.
    Why: the loss then pulls towards the wrong model, and the accuracy starts from an arbitrary value.
    Do: score a few pairs with policy and reference before the first step; they must agree to rounding.
    Where the loss is about that of the mean margin, see whether these are the scores of a reward model.
    Source: Rafailov et al. 2023, eq. 7, at equal policy and reference; TRL issue 1236.
    """
    if case.method.family not in ("reference", "unpaired"):
        return None
    row = _first_step(case) or _all_along(case) or _far(case)
    if row is not None:
        return _sign(case, row)
    high = _loss_alone(case)
    if high is None:
        return None
    text = (
        f"loss {high['loss']:.4g} at {case.at(high['step'])}, where equal policy and reference give "
        "ln 2 = 0.6931 (derived)"
    )
    advice = NEXT_REFERENCE + " Log rewards/chosen and rewards/rejected at step 1, which decide it."
    if case.log.hints.method == "DPO":
        return Sign("ref_mismatch", "PB863", high["step"], text, advice)
    # Of such columns alone DPO is not told from ORPO, SimPO and CPO.
    advice = f"A loss without a reference (ORPO, SimPO, CPO) may start anywhere. {_if_dpo(advice)}"
    return Sign("ref_mismatch", "PB863", high["step"], text, advice, "cannot tell")


NEXT_REFERENCE = (
    "Score a few pairs with policy and reference before the first step: they must agree. Most often an SFT "
    "adapter is trained on with ref_model=None, so that the reference is the base model without it: merge "
    "the adapter first, or load it a second time as reference. Then check dropout and the template of "
    "precomputed log-probs."
)


def _sign(case: Case, row: LogRow) -> Sign:
    shown = [f"{name} {row[name]:.4g}" for name in ("rewards/chosen", "rewards/rejected") if name in row]
    place = case.at(row["step"])
    early = row["step"] <= 1 and case.log.unit == "step"
    if case.method.sigmoid and "loss" in row and abs(row["loss"] - LN2) > AWAY and _shift(row) < FAR_REWARD:
        shown.insert(0, f"loss {row['loss']:.4g}")
        rule = "equal policy and reference give rewards of 0 and ln 2 = 0.6931 (derived)"
    else:
        rule = "a policy that is its reference has rewards of 0"
    sure: Confidence = "certain" if early and _shift(row) > 0.25 else "likely"
    text = f"{', '.join(shown) or 'rewards'} at {place}, where {rule}"
    if _as_of_scores(row):
        text += f"; loss {row['loss']:.4g} is about that of the mean margin, as with a reward model's scores"
        return Sign(
            "ref_mismatch", "PB863", row["step"], text, NEXT_SCORES + _if_dpo(NEXT_REFERENCE), "likely"
        )
    return Sign("ref_mismatch", "PB863", row["step"], text, NEXT_REFERENCE, sure)


NEXT_SCORES = "If these are the scores of a reward model, which may lie anywhere, nothing is wrong here. "


def _if_dpo(advice: str) -> str:
    return f"If this is DPO, {advice[0].lower()}{advice[1:]}"


def _as_of_scores(row: LogRow) -> bool:
    """Whether both rewards are far from 0 and the loss is about as low as their mean margin allows.

    The log-ratios of two models differ from pair to pair, which raises the loss; scores of a reward model at
    its start are alike.
    """
    margin = row.get("rewards/margins", math.nan)
    sides = [abs(row.get(f"rewards/{side}", 0.0)) for side in ("chosen", "rejected")]
    if not math.isfinite(row.get("loss", math.nan)) or not math.isfinite(margin) or min(sides) < FAR_SCORE:
        return False
    # Within a reward model's first entries the mean margin is small, and single pairs lie about it.
    near = abs(margin) < FAR_SCORE and abs(row["loss"] - LN2) < AWAY
    return near or row["loss"] < least_loss(margin) + AWAY


def _first_step(case: Case) -> LogRow | None:
    """The entry of the first step, or an evaluation before it: no update explains its rewards.

    Half precision moves a reward by some hundredths; where the loss is −log σ it must be off as well.
    """
    if case.log.unit != "step":
        return None
    starts = [rows[0] for prefix, rows in case.places() if rows and rows[0]["step"] <= (0 if prefix else 1)]
    if case.method.sigmoid:
        return next((r for r in starts if abs(r.get("loss", LN2) - LN2) > AWAY < _shift(r)), None)
    return next((r for r in starts if _shift(r) > 0.25), None)


def _all_along(case: Case) -> LogRow | None:
    """The first entry of several steps, where its loss is too high and its rewards did not come later.

    Learning lowers the loss; a diverging run raises it, but its rewards grow from 0 entry by entry.
    """
    rows = [row for row in case.log.train if "loss" in row]
    if not case.method.sigmoid or len(rows) < 6 or case.log.unit == "W&B step":
        return None
    if rows[0]["step"] > 1.5 * (rows[1]["step"] - rows[0]["step"]):
        return None
    usual = median(_shift(row) for row in rows[: len(rows) // 2])
    steady = median(row["loss"] for row in rows[: len(rows) // 2]) < WORSE * rows[0]["loss"]
    high = steady and rows[0]["loss"] > LN2 + AWAY and _shift(rows[0]) > 0.1
    return rows[0] if high and _shift(rows[0]) >= 0.5 * usual else None


def _far(case: Case) -> LogRow | None:
    """An early entry whose rewards are far from 0 already, and no farther later on."""
    rows = case.log.train
    if len(rows) < 2 or not _early(case, rows[0]) or _shift(rows[0]) < FAR_REWARD:
        return None
    usual = median(_shift(row) for row in rows[: max(2, len(rows) // 2)])
    return rows[0] if _shift(rows[0]) >= 0.5 * usual else None


def _early(case: Case, row: LogRow) -> bool:
    """Whether an entry comes before the policy can have moved: the first steps, or the start of a warm-up."""
    rates = curve_of(case.log.train, "learning_rate")
    warming = len(rates) > 2 and rates.values[0] < 0.2 * max(rates.values)
    known = case.log.unit == "step"
    return warming or (known and row["step"] <= EARLY_STEP) or row.get("epoch", math.inf) <= EARLY_EPOCH


def _loss_alone(case: Case) -> LogRow | None:
    """Without rewards: a loss well above ln 2 from the start that falls, at an accuracy of one half."""
    rows = [row for row in case.log.train if "loss" in row]
    if case.method.name != "DPO" or case.log.has("rewards/chosen", "rewards/margins") or len(rows) < 3:
        return None
    accuracy = curve_of(rows, "rewards/accuracies")
    starts_high = rows[0]["loss"] > 1.3 * LN2 and rows[-1]["loss"] < 1.1 * rows[0]["loss"]
    return rows[0] if starts_high and len(accuracy) and abs(accuracy.values[0] - 0.5) < 0.2 else None


def _shift(row: LogRow) -> float:
    """The largest mean reward of an entry, in size; 0 where none is finite."""
    sizes = [abs(row.get(f"rewards/{name}", 0.0)) for name in ("chosen", "rejected", "margins")]
    return max((v for v in sizes if math.isfinite(v)), default=0.0)
