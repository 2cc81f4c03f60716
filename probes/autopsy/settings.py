"""Tags about the settings that a log shows: the learning rate, the summing of losses, label smoothing."""

from __future__ import annotations

import math
from statistics import fmean, median, pstdev

from ...training.methods import LN2
from ...training.rules import least_loss
from .case import Case, Sign
from .curve import LogRow, curve_of, surely_changed

ZERO_RATE_SHARE = 0.9
ABSURD = 0.05  # AdamW on language models is used at 1e-7 to 1e-3
EXPLODED = 50.0  # times the median gradient norm
FLUENT_LOSS = 4.0  # nats per token: a model that lost its language is above it
WRITTEN_SMOOTHING = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def lr_zero(case: Case) -> Sign | None:
    """The tag of a learning rate of 0, or None.

    PB862 learning rate 0: the logged rate is 0 in {ZERO_RATE_SHARE:.0%} of the entries or more.

    Means: the schedule never left 0: warm-up longer than the run, steps skipped by a gradient scaler, or a
    schedule that was resumed at its end. A rate that is written with few decimals (0.000) may be a usual
    one: then, and where loss or rewards moved, the sign is not certain; where both hold, there is none.
    Why: nothing is learned, and the flat loss is mistaken for hard data.
    Do: check warmup_steps against the number of optimizer steps and, under float16, whether steps are
    skipped.
    Source: transformers' `get_scheduler`.
    """
    rates = curve_of(case.log.train, "learning_rate")
    zeros = [s for s, v in zip(rates.steps, rates.values, strict=True) if v == 0.0]
    if len(rates) < 2 or len(zeros) < ZERO_RATE_SHARE * len(rates):
        return None
    rounded, learns = case.log.below("learning_rate") > 0.0, _learns(case)
    if rounded and learns:
        return None
    text = f"learning_rate {case.log.zero('learning_rate')} in {len(zeros)} of {len(rates)} entries"
    if rounded or learns:
        text += f", though {learns} moved" if learns else ""
        return Sign("lr_zero", "PB862", zeros[0], text, NEXT_WRITTEN_RATE, "likely")
    advice = "Compare warm-up and schedule with the number of optimizer steps; float16 may skip steps."
    return Sign("lr_zero", "PB862", zeros[0], text, advice, "certain")


NEXT_WRITTEN_RATE = (
    "Log the rate with all its digits, and that of the group that trains. If it is 0, compare warm-up and "
    "schedule with the number of optimizer steps."
)


def _learns(case: Case) -> str:
    """The first of the curves that only training moves which surely moved; else ""."""
    names = (
        ("reward", "objective/rlhf_reward") if case.method.family == "online" else ("loss", "rewards/margins")
    )
    return next((name for name in names if surely_changed(curve_of(case.log.train, name))), "")


def lr_high(case: Case) -> Sign | None:
    """The tag of a learning rate that nobody can have meant, or None.

    PB868 absurd learning rate: the logged learning rate is {ABSURD} or more.

    Means: a lost exponent (5 for 5e-6), a factor applied twice, or a percentage.
    Why: AdamW moves every weight by about the learning rate a step: the model is destroyed in a few steps.
    Do: read the value that reached the trainer, and write 5e-6 rather than 5. Prodigy and D-Adaptation have a
    rate of 1 by design, a factor on a step size of their own: where the loss falls and no gradient explodes,
    the tag cannot tell.
    Source: Kingma & Ba 2015, section 2.1: the step size bounds the update.
    """
    rates = curve_of(case.log.train, "learning_rate")
    high = [(s, v) for s, v in zip(rates.steps, rates.values, strict=True) if v >= ABSURD]
    if not high:
        return None
    step, rate = max(high, key=lambda item: item[1])
    text = f"learning_rate {rate:.4g} at {case.at(step)} (AdamW on language models: 1e-7 to 1e-3)"
    advice = "Read the value that reached the trainer: an exponent is missing, as in 5 for 5e-6."
    if _bears(case):
        text += "; the loss falls all the same, as it would not under AdamW"
        return Sign("lr_high", "PB868", high[0][0], text, NEXT_FACTOR, "cannot tell")
    return Sign("lr_high", "PB868", high[0][0], text, advice, "certain" if rate >= 1.0 else "likely")


NEXT_FACTOR = (
    "Look which optimizer was used: Prodigy and D-Adaptation have a rate of 1 by design, a factor on a step "
    "size that they find themselves, and some (Muon, SGD) take larger rates than AdamW. Only under AdamW is "
    "an exponent missing, as in 5 for 5e-6."
)


def _bears(case: Case) -> bool:
    """Whether a run learns at its rate: the loss falls surely to what it may be, and no gradient explodes.

    A destroyed model may get better as well, from far above where it began before the first entry.
    """
    loss, norms = case.curve("loss"), case.curve("grad_norm").values
    steady = not norms or max(norms) <= EXPLODED * median(norms)
    low = loss.last(5) < (case.method.idle or FLUENT_LOSS)
    return steady and low and surely_changed(loss) < 0.0


def warmup(case: Case) -> Sign | None:
    """The tag of a learning rate that rises to the last entry, or None.

    PB869 warm-up without end: the learning rate rises in every entry and is highest in the last.

    Means: the warm-up is longer than the run, or the run was stopped within it.
    Why: the weights hardly moved: the run never reached the rate it was meant to have.
    Do: compare warmup_steps or warmup_ratio with the number of optimizer steps, counted after accumulation.
    Source: transformers' `get_scheduler`: the warm-up is linear from 0.
    """
    rates = curve_of(case.log.train, "learning_rate")
    rising = all(b > a for a, b in zip(rates.values, rates.values[1:], strict=False))
    if len(rates) < 6 or not rising or rates.values[-1] < 2.0 * max(rates.values[0], 0.0):
        return None
    total = case.log.hints.max_steps
    of = f" of {total}" if total and case.log.unit == "step" else ""
    text = (
        f"learning_rate rises from {rates.values[0]:.3g} to {rates.values[-1]:.3g} at "
        f"{case.at(rates.steps[-1])}{of}, the last entry"
    )
    advice = "Compare warmup_steps (or warmup_ratio) with the number of optimizer steps of the run."
    return Sign("warmup", "PB869", rates.steps[0], text, advice, "certain" if of else "likely")


def summed_loss(case: Case) -> Sign | None:
    """The tag of losses that are sums over micro-batches, or None.

    PB870 summed loss: the first loss is k·ln 2, the sum over k micro-batches of an untrained DPO policy.

    Means: the trainer adds the losses of gradient accumulation and does not divide; lower rows at the end of
    an epoch are accumulations that were not full. Where the policy moved within the first entry, its loss and
    the next ones are about k·(−log σ(margin)).
    Why: such a log is misread twice: 2.77 looks like a bad start, and the last rows look like learning.
    Do: divide by the accumulation before comparing with ln 2; update transformers and TRL, which divide.
    Source: transformers issue 34242 on losses under gradient accumulation.
    """
    if case.method.accumulated_batches < 2:
        return None
    row = case.log.train[0]
    raw = row.get("loss_sum", row.get("loss", math.nan))
    text = (
        f"loss {raw:.4g} at {case.at(row['step'])} is {raw / LN2:.2f} × ln 2 (derived): summed over "
        f"{case.method.accumulated_batches} micro-batches"
    )
    parts = sum(
        r.get("loss_parts", case.method.accumulated_batches) < case.method.accumulated_batches
        for r in case.log.train
    )
    text += f"; {parts} low entries are partial accumulations" if parts else ""
    times = case.method.accumulated_batches
    advice = f"Divide these losses by {times} before comparing; update transformers and TRL."
    return Sign("summed_loss", "PB870", row["step"], text, advice)


def smoothing_floor(case: Case) -> Sign | None:
    """The tag of a loss that label smoothing keeps above 0, or None.

    PB871 smoothing floor: the loss exceeds −log σ(margin) by a constant share ε of the margin.

    Means: label smoothing ε: the loss is −log σ(m) + ε·m, lowest at m = ln((1 − ε)/ε) and above 0 there.
    Why: a loss that stops falling, or rises with the margin, is then no failure: the policy is past the
    margin that the smoothing asks for.
    Do: judge by accuracy and held-out margin; stop when the margin passes ln((1 − ε)/ε).
    Source: Mitchell 2023, "A note on DPO with noisy preferences" (cDPO).
    """
    epsilon = smoothing(case)
    if epsilon is None:
        return None
    floor = -(epsilon * math.log(epsilon) + (1.0 - epsilon) * math.log(1.0 - epsilon))
    loss, margin = case.curve("loss"), case.curve("rewards/margins")
    text = (
        f"mean loss {loss.last(5):.4g} at mean margin {margin.last(5):.3g} in the last fifth: label "
        f"smoothing {epsilon:g} (derived) keeps it above {floor:.3g} (derived)"
    )
    advice = (
        "This is no failure: judge by accuracy. A loss that rises with the margin has passed its optimum."
    )
    return Sign("smoothing_floor", "PB871", None, text, advice)


def _smoothed(row: LogRow) -> bool:
    # Pairs that are ranked wrong raise the loss as well, each by its margin.
    finite = all(math.isfinite(row.get(k, math.nan)) for k in ("loss", "rewards/margins"))
    return finite and row["loss"] > 0.05 and row.get("rewards/accuracies", 0.0) >= 0.95


def smoothing(case: Case) -> float | None:
    """The label smoothing ε that explains a DPO loss in every entry: one that people write, or None."""
    if case.method.family != "reference" or not case.method.sigmoid:
        return None
    rows = [r for r in case.log.train if r.get("rewards/margins", 0.0) > 1.5 and _smoothed(r)]
    shares = [(r["loss"] - least_loss(r["rewards/margins"])) / r["rewards/margins"] for r in rows]
    margins = [r["rewards/margins"] for r in rows]
    if len(shares) < 4 or fmean(shares) < 0.009:
        return None
    # A small ε is told from the spread of margins only over a wide range of them.
    if max(margins) < (1.2 if fmean(shares) > 0.08 and len(shares) > 5 else 1.5) * min(margins):
        return None
    if pstdev(shares) > 0.15 * fmean(shares):
        return None
    near: float = min(WRITTEN_SMOOTHING, key=lambda e: abs(e - fmean(shares)))
    # The spread of margins within a batch adds a little above Jensen's bound.
    return near if -0.1 * near <= fmean(shares) - near <= 0.25 * near else None
