"""Tags: what the rules for curves do not see, though it may make a run worthless."""

from __future__ import annotations

import math
from statistics import fmean, median, stdev

from ...training.rules import least_loss
from .case import Case, Sign
from .curve import Row, curve
from .diverged import WORSE, ZERO
from .method import LN2
from .nonfinite import lasting, share
from .rules import CHANCE, NEAR_IDLE

# A fifth of a shorter log is less than one entry: no rule about ends and beginnings can be trusted.
SHORTEST = 5
MOST = 0.9
FEW = 0.05
AWAY = 0.05  # more than half precision moves the mean of a batch


def transient(case: Case) -> Sign | None:
    """The tag of a run that survived its non-finite steps, or None.

    PB860 transient: at most 5% of the entries are not finite and the last ones are.

    Means: single batches gave NaN or infinity; the weights stayed finite.
    Why: it is a matter of those batches, not of the run.
    Do: find the batches of these steps, by seed and step, and drop or repair them.
    Source: design rule.
    """
    part = share(case)
    if not 0.0 < part <= FEW or lasting(case):
        return None
    text = f"{part:.1%} of the entries not finite, the loss finite afterwards"
    return Sign("transient", "PB860", None, text, "Look at the batches of these steps; the weights survived.")


def frozen(case: Case) -> Sign | None:
    """The tag of a run in which nothing trains, or None.

    PB861 frozen: the gradient is exactly 0 in at least nine of ten entries, or the rewards are.

    Means: no gradient reached any weight: adapter weights without requires_grad, everything masked, or a
    policy that is its own reference.
    Why: such a run ends with the weights it began with, whatever its accuracy column reads.
    Do: print the trainable parameters, call the model in training mode, check peft's is_trainable and
    enable_input_require_grads under gradient checkpointing.
    Source: design rule; a public log with grad_norm 0 in all of 100 entries.
    """
    for name in ("grad_norm", "rewards/margins"):
        values = curve(case.log.train, name)
        zeros = sum(v == 0.0 for v in values.values)
        paired = name == "grad_norm" or (case.method.family == "reference" and not case.log.has("grad_norm"))
        if len(values) >= 2 and paired and zeros >= MOST * len(values):
            text = f"{name} exactly 0 in {zeros} of {len(values)} entries: nothing trains"
            first = next(s for s, v in zip(values.steps, values.values, strict=True) if v == 0.0)
            return Sign("frozen", "PB861", first, text, NEXT_FROZEN)
    return None


NEXT_FROZEN = (
    "Print the trainable parameters: an adapter loaded without is_trainable=True, or gradient "
    "checkpointing without enable_input_require_grads(), trains nothing."
)


def lr_zero(case: Case) -> Sign | None:
    """The tag of a learning rate of 0, or None.

    PB862 learning rate 0: the logged learning rate is exactly 0 in at least nine of ten entries.

    Means: the schedule never left 0: warm-up longer than the run, steps skipped by a gradient scaler, or a
    schedule that was resumed at its end.
    Why: nothing is learned, and a flat loss is taken for hard data.
    Do: check warmup_steps against the number of optimizer steps and, under float16, whether steps are
    skipped.
    Source: transformers' `get_scheduler`.
    """
    rates = curve(case.log.train, "learning_rate")
    zeros = [s for s, v in zip(rates.steps, rates.values, strict=True) if v == 0.0]
    if len(rates) < 2 or len(zeros) < MOST * len(rates):
        return None
    text = f"learning_rate exactly 0 in {len(zeros)} of {len(rates)} entries"
    advice = "Compare warm-up and schedule with the number of optimizer steps; float16 may skip steps."
    return Sign("lr_zero", "PB862", zeros[0], text, advice)


def ref_mismatch(case: Case) -> Sign | None:
    """The tag of a reference that is not the starting policy, or None.

    PB863 reference mismatch: DPO's first loss is not ln 2, though the rewards should start at 0.

    Means: at step 1 policy and reference are the same weights, so every reward is 0 and the loss ln 2. Here
    the rewards begin elsewhere: another base model as reference, an adapter not applied or applied twice,
    dropout, or reference log-probabilities precomputed with another template.
    Why: the loss then pulls towards the wrong model, and accuracy starts from an arbitrary place.
    Do: score a few pairs with policy and reference before the first step; they must agree to rounding.
    Source: Rafailov et al. 2023, eq. 7, at equal policy and reference.
    """
    if case.method.name != "DPO":
        return None
    starts = [rows[0] for prefix, rows in case.places() if rows and rows[0]["step"] <= (0 if prefix else 1)]
    row = next((row for row in starts if _off_at_first_step(row)), None) or _off_all_along(case)
    if row is None:
        return None
    text = (
        f"loss {row['loss']:.4g} at step {row['step']:g} where equal policy and reference give ln 2 = 0.6931"
        + (f", rewards/chosen {row['rewards/chosen']:.3g}" if "rewards/chosen" in row else "")
    )
    return Sign("ref_mismatch", "PB863", row["step"], text, NEXT_REFERENCE)


NEXT_REFERENCE = (
    "Score a few pairs with policy and reference before the first step: they must agree. Check the "
    "reference checkpoint, the adapter (applied once?), dropout and the template of precomputed "
    "log-probs."
)


def _off_at_first_step(row: Row) -> bool:
    """Before any update the rewards are 0 and the loss is ln 2, up to the rounding of half precision."""
    return abs(row.get("loss", LN2) - LN2) > AWAY and _shift(row) > AWAY


def _off_all_along(case: Case) -> Row | None:
    """The first entry of several steps, where its loss is too high and its rewards did not come later.

    Learning lowers the loss; a diverging run raises it, but its rewards grow from 0 entry by entry.
    """
    rows = [row for row in case.log.train if "loss" in row]
    if len(rows) < 6 or rows[0]["step"] > 1.5 * (rows[1]["step"] - rows[0]["step"]):
        return None
    usual = median(_shift(row) for row in rows[: len(rows) // 2])
    steady = median(row["loss"] for row in rows[: len(rows) // 2]) < WORSE * rows[0]["loss"]
    high = steady and rows[0]["loss"] > LN2 + AWAY and _shift(rows[0]) > 0.1
    return rows[0] if high and _shift(rows[0]) >= 0.5 * usual else None


def _shift(row: Row) -> float:
    """The largest mean reward of an entry, in size; 0 where none is finite."""
    sizes = [abs(row.get(f"rewards/{name}", 0.0)) for name in ("chosen", "rejected", "margins")]
    return max((v for v in sizes if math.isfinite(v)), default=0.0)


def below_chance(case: Case) -> Sign | None:
    """The tag of an accuracy under one half, or None.

    PB864 below chance: the accuracy of the last fifth is under .45, and surely under one half.

    Means: more pairs are ranked wrong than right. Methods without a reference judge by absolute
    probability, so a rejected side that is likelier to begin with stays below one half for long; ties count
    as wrong.
    Why: with DPO it hints at swapped labels or a wrong reference; with ORPO and SimPO at a rejected side
    the model itself would write.
    Do: check a few pairs by eye for swapped sides; `probe bias` measures the preference before training.
    Source: design rule.
    """
    accuracy = case.curve("rewards/accuracies")
    half = accuracy.values[len(accuracy) // 2 :]
    if not case.method.pairwise or len(accuracy) < 4 or accuracy.last(5) >= CHANCE[0]:
        return None
    if fmean(half) + 2.0 * stdev(half) / math.sqrt(len(half)) >= 0.5:
        return None
    text = f"mean accuracy {accuracy.last(5):.3f} in the last fifth"
    ties = (
        " (every reward is 0: ties count as wrong)" if not any(case.curve("rewards/margins").values) else ""
    )
    since = accuracy.since(lambda v: v < 0.5) or accuracy.steps[-accuracy.window(5)]
    advice = "Look for swapped sides; `probe bias` shows what the model prefers before any training."
    return Sign("below_chance", "PB864", since, text + ties, advice)


def too_short(case: Case) -> Sign | None:
    """The tag of a log too short to judge, or None.

    PB865 too short: fewer than five entries.

    Means: first and last fifth are the same entries, or none.
    Why: trends cannot be told from noise; the main label is a guess.
    Do: set logging_steps to a hundredth of the run, and 1 for the first ten steps.
    Source: design rule.
    """
    n = len(case.log.rows)
    if n >= SHORTEST:
        return None
    text = f"{n} {'entry' if n == 1 else 'entries'}: too few to see a trend"
    return Sign(
        "too_short", "PB865", case.log.rows[0]["step"], text, "Log more often: logging_steps=1 at first."
    )


def zero_loss(case: Case) -> Sign | None:
    """The tag of losses of exactly 0 that no margin explains, or None.

    PB866 zero loss: the loss is exactly 0 in at least a tenth of the entries, without a reason.

    Means: a cross-entropy does not reach 0, and −log σ reaches it, rounded, only at margins above 9. Exact
    zeros come from labels that are all masked, from empty responses, or from NaN that was filtered away.
    Why: it reads as perfect memory and is no training at all.
    Do: count the unmasked labels of a batch; check the response template of the collator; switch off the
    NaN filter.
    Source: design rule; a public QLoRA log with loss 0.0 from step 20 to 1000.
    """
    if case.method.family == "online":
        return None
    rows = [row for row in case.log.rows if "loss" in row]
    zeros = [row for row in rows if row["loss"] == 0.0 and not _explained(case, row)]
    if len(zeros) < max(2.0, 0.1 * len(rows)):
        return None
    text = f"loss exactly 0 in {len(zeros)} of {len(rows)} entries, first at step {zeros[0]['step']:g}"
    advice = "Count the labels that are not masked (-100) in a batch; log with logging_nan_inf_filter=False."
    return Sign("zero_loss", "PB866", zeros[0]["step"], text, advice)


def _explained(case: Case, row: Row) -> bool:
    """Whether a loss of 0.0 may be a small one, rounded to four decimals. A cross-entropy is never."""
    if case.method.family == "supervised" or case.method.name == "ORPO":
        return False
    return not case.method.sigmoid or least_loss(row.get("rewards/margins", math.inf)) < 1e-3


def flat(case: Case) -> Sign | None:
    """The tag of a loss that surely did not move, or None.

    PB867 flat: the loss of the last third equals that of the first within 1.4%, with 95% confidence.

    Means: not merely no visible trend, but a change shown to be small, as near as DPO counts as stuck at ln
    2.
    Why: the run spent its steps without effect: a learning rate far too small, or a model that already
    knew.
    Do: raise the learning rate by 3 to 10, or check which weights are trained.
    Source: two one-sided tests on the means of the first and the last third.
    """
    loss = case.curve("loss")
    k = len(loss) // 3
    # Where the loss of an idle policy is known, `stuck` judges that, and better.
    judged = case.method.idle is not None or case.method.family == "online" or loss.last_median(5) < ZERO
    if judged or len(loss) < SHORTEST or k < 2:
        return None
    a, b = loss.values[:k], loss.values[-k:]
    error = math.sqrt((stdev(a) ** 2 + stdev(b) ** 2) / k)
    change = fmean(b) - fmean(a)
    if abs(change) + _t95(2 * k - 2) * error > NEAR_IDLE * abs(fmean(a)):
        return None
    text = f"mean loss {fmean(a):.4g} in the first third, {fmean(b):.4g} in the last"
    return Sign(
        "flat", "PB867", loss.steps[0], text, "Raise the learning rate, or check which weights train."
    )


def _t95(df: int) -> float:
    """One-sided 95% quantile of Student's t, to 1% (Cornish-Fisher), without importing scipy."""
    z = 1.6449
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
