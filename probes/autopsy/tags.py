"""Tags: what the rules for curves do not see, though it may make a run worthless."""

from __future__ import annotations

import math
from statistics import fmean, stdev

from ...shared_limits import LOW
from .case import Case, Confidence, Sign
from .curve import Curve, curve_of, surely_changed
from .diverged import ZERO
from .log import Log
from .nonfinite import lasting, nonfinite_share
from .online import reward_curve, silent_share
from .zeros import unexplained_zeros

# A fifth of a shorter log is less than one entry: no rule about ends and beginnings can be trusted.
FEWEST_ENTRIES = 5
ZERO_GRADIENT_SHARE = 0.9
LEARNED_SHARE = 0.1  # of a loss: a change that no order of the data explains
FLAT_LOSS_CHANGE = 0.0144  # of the mean: as near as .01 is to ln 2
FLAT_REWARD_CHANGE = 0.1  # of reward_std: an advantage of that size moves no policy far
TRANSIENT_SHARE = 0.05
ZERO_LOSS_SHARE = 0.1


def transient(case: Case) -> Sign | None:
    """The tag of a run that survived its non-finite steps, or None.

    PB860 transient: at most {TRANSIENT_SHARE:.0%} of the entries are not finite and the last ones are.

    Means: single batches gave NaN or infinity; the weights stayed finite.
    Why: the cause is in those batches and not in the run.
    Do: find the batches of these steps, by seed and step, and drop or repair them.
    Source: design rule.
    """
    part = nonfinite_share(case)
    if not 0.0 < part <= TRANSIENT_SHARE or lasting(case):
        return None
    text = f"{part:.1%} of the entries not finite, the loss finite afterwards"
    return Sign(
        "transient", "PB860", None, text, "Look at the batches of these steps; the weights stayed finite."
    )


def frozen_sign(case: Case) -> Sign | None:
    """The tag of a run in which nothing trains, or None.

    PB861 frozen: in {ZERO_GRADIENT_SHARE:.0%} of the entries or more the gradient, or every reward, is 0.

    Means: no gradient reached any weight: adapter weights without requires_grad, everything masked, or a
    policy that is its own reference. Where loss or margins surely moved meanwhile, the gradient was only not
    logged, and there is no tag.
    Why: such a run ends with the weights it began with, whatever its accuracy column shows.
    Do: print the trainable parameters, call the model in training mode, check peft's is_trainable and
    enable_input_require_grads under gradient checkpointing.
    Source: design rule; a public log with grad_norm 0 in all of 100 entries.
    """
    if (silent_share(case) or (0.0,))[0] > 0.0:
        return None  # groups without variance have no gradient, and the adapter may train all the same
    for name in ("grad_norm", "rewards/margins"):
        values, zeros = _zeros(case.log, name)
        paired = name == "grad_norm" or (case.method.family == "reference" and not case.log.has("grad_norm"))
        if paired and zeros and not _moved_meanwhile(case.log, name):
            text = f"{name} {case.log.zero(name)} in {zeros} of {len(values)} entries: nothing is trained"
            first = next(s for s, v in zip(values.steps, values.values, strict=True) if v == 0.0)
            sure: Confidence = "likely" if case.log.below(name) else "certain"
            return Sign("frozen", "PB861", first, text, NEXT_FROZEN, sure)
    return None


def _zeros(log: Log, name: str) -> tuple[Curve, int]:
    """A column of training, and how often it is 0; no times where that is seldom."""
    values = curve_of(log.train, name)
    zeros = sum(v == 0.0 for v in values.values)
    return values, zeros if len(values) >= 2 and zeros >= ZERO_GRADIENT_SHARE * len(values) else 0


def _moved_meanwhile(log: Log, name: str) -> str:
    """What surely moved while `name` was 0, which no weight without a gradient can do; else ""."""
    rows = [row for row in log.train if row.get(name) == 0.0]
    loss = curve_of([row for row in rows if row.get("loss") != 0.0], "loss")  # 0 is what NaN leaves
    if surely_changed(loss, LEARNED_SHARE):
        return "the loss"
    return "the margins" if surely_changed(curve_of(rows, "rewards/margins")) else ""


def not_logged(log: Log) -> str:
    """That a gradient norm of 0 was only never logged, where the loss or the margins moved; else ""."""
    values, zeros = _zeros(log, "grad_norm")
    moved = _moved_meanwhile(log, "grad_norm") if zeros else ""
    return moved and (
        f"grad_norm is 0 in {zeros} of {len(values)} entries while {moved} moved: it was not logged"
    )


NEXT_FROZEN = (
    "Print the trainable parameters: an adapter loaded without is_trainable=True, or gradient "
    "checkpointing without enable_input_require_grads(), trains nothing."
)


def below_chance(case: Case) -> Sign | None:
    """The tag of an accuracy under one half, or None.

    PB864 below chance: the accuracy of the last fifth is under {LOW}, and surely under one half.

    Means: more pairs are ranked wrong than right. Methods without a reference judge by absolute probability,
    so where the rejected side is likelier to begin with the accuracy stays below one half for long; ties
    count as wrong.
    Why: with DPO this suggests swapped labels or a wrong reference; with ORPO and SimPO, a rejected side that
    the model itself would write.
    Do: read a few pairs and check whether the sides are swapped; `probe bias` measures the preference before
    training.
    Source: design rule.
    """
    accuracy = case.curve("rewards/accuracies")
    half = accuracy.values[len(accuracy) // 2 :]
    if not case.method.pairwise or len(accuracy) < 4 or accuracy.last(5) >= LOW:
        return None
    if fmean(half) + 2.0 * stdev(half) / math.sqrt(len(half)) >= 0.5:
        return None
    text = f"mean accuracy {accuracy.last(5):.3f} in the last fifth"
    ties = (
        " (every reward is 0: ties count as wrong)" if not any(case.curve("rewards/margins").values) else ""
    )
    since = accuracy.since(lambda v: v < 0.5, 5)
    advice = "Look for swapped sides; `probe bias` shows what the model prefers before any training."
    if ties:
        advice = "The accuracy means nothing here: find out why policy and reference never differ."
    return Sign("below_chance", "PB864", since, text + ties, advice)


def too_short(case: Case) -> Sign | None:
    """The tag of a log too short to judge, or None.

    PB865 too short: fewer than {FEWEST_ENTRIES} entries.

    Means: the first and the last fifth are the same entries, or are empty.
    Why: trends cannot be told from noise; the main label is a guess.
    Do: set logging_steps to a hundredth of the run, and 1 for the first ten steps.
    Source: design rule.
    """
    n = len(case.log.rows)
    if n >= FEWEST_ENTRIES:
        return None
    text = f"{n} {'entry' if n == 1 else 'entries'}: too few to see a trend"
    advice = "Log more often: logging_steps=1 at first, a hundred entries per run; evaluate three times."
    return Sign("too_short", "PB865", case.log.rows[0]["step"], text, advice, "certain")


def zero_loss(case: Case) -> Sign | None:
    """The tag of losses of exactly 0 that no margin explains, or None.

    PB866 zero loss: the loss is exactly 0 in {ZERO_LOSS_SHARE:.0%} of the entries or more, without a reason.

    Means: a cross-entropy does not reach 0, and −log σ reaches it, rounded, only at margins above 9. Exact
    zeros come from labels that are all masked, from empty responses, or from NaN that was filtered away.
    Why: it looks like perfect memory, and nothing is trained.
    Do: count the unmasked labels of a batch; check the response template of the collator; switch off the
    NaN filter.
    Source: design rule; a public QLoRA log with loss 0.0 from step 20 to 1000.
    """
    zeros, rows = unexplained_zeros(case)
    if len(zeros) < max(2.0, ZERO_LOSS_SHARE * len(rows)):
        return None
    zero, since = case.log.zero("loss"), case.at(zeros[0]["step"])
    text = f"loss {zero} in {len(zeros)} of {len(rows)} entries, first at {since}"
    advice = "Count the labels that are not masked (-100) in a batch; log with logging_nan_inf_filter=False."
    return Sign("zero_loss", "PB866", zeros[0]["step"], text, advice)


def flat(case: Case) -> Sign | None:
    """The tag of a loss, or of an online run's reward, that surely did not move, or None.

    PB867 flat: the loss, or an online run's reward, is in its last third what it was in the first.

    Means: a trend is not merely absent: the change is shown to be small, with 95% confidence. A loss changed
    by less than {FLAT_LOSS_CHANGE:.1%}, as small as the change by which DPO counts as stuck at ln 2. The loss
    of online methods says nothing of what was learned; their reward does: it changed by less than
    {FLAT_REWARD_CHANGE:g} of its spread within a group (reward_std), the unit in which a reward moves the
    policy, or without that column by less than the share of a loss.
    Why: the steps had no effect: the learning rate is far too small, or the model already knew the answers.
    Do: multiply the learning rate by 3 to 10, or check which weights are trained; online, read completions
    with their rewards as well: are the tasks solved already, or out of reach?
    Source: two one-sided tests on the means of the first and the last third.
    """
    if case.method.family == "online":
        return _flat_reward(case)
    loss = case.curve("loss")
    # Where the loss of an idle policy is known, `stuck` judges that, and better.
    if case.method.idle is not None or loss.last_median(5) < ZERO:
        return None
    told = _same(loss, FLAT_LOSS_CHANGE * abs(loss.first(3)))
    advice = "Raise the learning rate, or check which weights train."
    return Sign("flat", "PB867", loss.steps[0], told, advice) if told else None


def _flat_reward(case: Case) -> Sign | None:
    reward, spread = reward_curve(case), case.curve("reward_std").values
    unit = FLAT_REWARD_CHANGE * fmean(spread) if any(spread) else FLAT_LOSS_CHANGE * abs(reward.first(3))
    told = _same(reward, unit)
    return Sign("flat", "PB867", reward.steps[0], told, NEXT_FLAT_REWARD) if told else None


NEXT_FLAT_REWARD = (
    "Read ten completions with their rewards: are the tasks solved already, or out of reach? If neither, "
    "raise the learning rate 3 to 10 times, or check which weights train."
)


def _same(curve: Curve, limit: float) -> str:
    """In words, that the last third is within `limit` of the first, with 95% confidence; else ""."""
    k = len(curve) // 3
    if len(curve) < FEWEST_ENTRIES or k < 2:
        return ""
    a, b = curve.values[:k], curve.values[-k:]
    error = math.sqrt((stdev(a) ** 2 + stdev(b) ** 2) / k)
    if abs(fmean(b) - fmean(a)) + _t95(2 * k - 2) * error > limit:
        return ""
    return f"mean {curve.name} {fmean(a):.4g} in the first third, {fmean(b):.4g} in the last"


def _t95(df: int) -> float:
    """One-sided 95% quantile of Student's t, to 1% (Cornish-Fisher), without importing scipy."""
    z = 1.6449
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
