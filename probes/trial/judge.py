"""What a short trial says of a full run: accuracy on unseen pairs, margins, drift, noise, a forecast.

Null hypothesis: training on other pairs does not help to rank a pair, so held-out accuracy is ½.
Codes PB501–PB505.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ...records import Estimate, Finding, Measured
from ...stats.resampling import sign_flip
from ...stats.statistics import mean_estimate, share_clustered

Floats = npt.NDArray[np.float64]

TRIVIAL = 0.95  # measured (docs/validity.md): above it full DPO runs saturate
# Standard deviation: a mean absolute error of .066 on six sets that chose nothing here, × √(π/2).
FORECAST_ERROR = 0.083
CROSS_FIT = 2.0  # the halves that judge each other make the same errors: at worst they count as one
FALL = 0.05  # nats/token: the pilot's healthy runs moved chosen responses by at most .06


@dataclass(frozen=True, slots=True)
class Pass:
    """Pairs that a trial measured while they were unseen; arrays [pairs].

    `margins`: Δ log p(chosen) − Δ log p(rejected) from the starting model, in nats; `token_margins`: the same
    difference in nats/token. `changes`: Δ log p of chosen, in nats/token. `rates`: Σ of the learning rates of
    the updates before a pair was scored. `prompts` are the clusters, `lines` the lines of the file. `gaps`:
    mean log p(chosen) − mean log p(rejected) of the starting model, in nats/token. `folds`: trainings that
    measured them, each on pairs that another one was trained on.
    """

    margins: Floats
    token_margins: Floats
    changes: Floats
    rates: Floats
    prompts: Sequence[str]
    lines: Sequence[int]
    gaps: Floats = field(default_factory=lambda: np.zeros(0))
    folds: int = 1

    @classmethod
    def empty(cls) -> Pass:
        """No pair at all."""
        none = np.zeros(0)
        return cls(none, none, none, none, (), ())


@dataclass(frozen=True, slots=True)
class Noise:
    """Squared gradient norms of single pairs [pairs], and of their mean."""

    singles: Floats
    mean: float


@dataclass(frozen=True, slots=True)
class Trial:
    """Both halves trained, each scored on the other, and every batch of their first epoch before its update.

    `steps` updates made a half; `full_rate` is Σ of the learning rates that the full run would have.
    """

    prequential: Pass
    halves: Pass
    steps: int
    batch: int
    full_rate: float
    noise: Noise | None = None


def trial(measured: Trial, alpha: float = 0.05) -> Measured:
    """Estimates, findings and the details of a trial."""
    accuracy = held_out(measured.halves, "trial_accuracy", alpha)
    early = _accuracy(measured.prequential, "trial_pass_accuracy", alpha)
    per_token = held_out(measured.halves, "trial_token_accuracy", alpha)
    change = _mean(measured.halves.changes, measured.halves, "trial_chosen_change", "nats/token", alpha)
    slope = _mean(
        measured.halves.margins / measured.steps, measured.halves, "trial_margin_slope", "nats/step", alpha
    )
    estimates = [
        accuracy,
        early,
        per_token,
        ranking_change(measured.halves, alpha),
        slope,
        change,
        *_forecast(measured, accuracy, change, alpha),
    ]
    findings = [nothing_learned(accuracy), trivial(accuracy, measured.steps), chosen_falls(change)]
    findings.append(only_length(measured.halves, accuracy, per_token, alpha))
    if measured.noise is not None and (scale := noise_scale(measured.noise)) is not None:
        estimates.append(_noise_estimate(scale, len(measured.noise.singles)))
        findings.append(noisy(scale, measured.batch))
    details = {"trial": curve(measured.prequential)}
    return Measured(tuple(estimates), tuple(found for found in findings if found), details)


def curve(unseen: Pass) -> list[dict[str, float]]:
    """A row a batch of the one pass: accuracy and mean margin (nats) of its pairs before their own update."""
    # What had been spent on updates grows from batch to batch, so it tells them apart.
    batches = [unseen.margins[unseen.rates == spent] for spent in np.unique(unseen.rates)]
    return [
        {
            "step": step,
            "unseen/accuracies": float((np.sign(batch) + 1).mean() / 2),
            "unseen/margins": float(batch.mean()),
        }
        for step, batch in enumerate(batches, 1)
    ]


def held_out(halves: Pass, name: str, alpha: float) -> Estimate:
    """The share of unseen pairs ranked right, by sums or (a name with `token`) per token.

    Two halves that judge each other make the same errors under no signal: the interval counts both as one.
    p belongs to this share and this interval.
    """
    margins = halves.token_margins if "token" in name else halves.margins
    wins = (np.sign(margins) + 1) / 2
    made = share_clustered(wins, halves.prompts, name=name, alpha=alpha, spread=_spread(halves), null=0.5)
    return replace(made, method=f"{made.method}{_folds(halves)}")


def _spread(halves: Pass) -> float:
    return CROSS_FIT if halves.folds > 1 else 1.0


def _folds(halves: Pass) -> str:
    return ", both halves as one" if halves.folds > 1 else ""


def ranking_change(halves: Pass, alpha: float) -> Estimate:
    """The change of the share of unseen pairs whose chosen side is likelier per token, paired by pair."""
    before, after = ((np.sign(gaps) + 1) / 2 for gaps in (halves.gaps, halves.gaps + halves.token_margins))
    made = mean_estimate(
        after - before, name="ranking_change", units="share", clusters=halves.prompts, alpha=alpha
    )
    if halves.folds == 1 or made.value is None or made.low is None or made.high is None:
        return made
    low, high = (made.value + math.sqrt(CROSS_FIT) * (end - made.value) for end in (made.low, made.high))
    return replace(made, low=low, high=high, p=None, method=f"{made.method}{_folds(halves)}")


def _accuracy(measured: Pass, name: str, alpha: float) -> Estimate:
    """The share of margins above 0, ties as half, by prompt; p of ½ by sign flips."""
    wins = (np.sign(measured.margins) + 1) / 2
    estimate = share_clustered(wins, measured.prompts, name=name, alpha=alpha)
    if not len(wins):
        return estimate
    test = sign_flip(wins - 0.5, measured.prompts)
    return replace(estimate, p=test.p, method=f"{estimate.method}; {test.method}")


def _mean(values: Floats, measured: Pass, name: str, units: str, alpha: float) -> Estimate:
    return mean_estimate(values, name=name, units=units, clusters=measured.prompts, alpha=alpha)


def _forecast(measured: Trial, accuracy: Estimate, change: Estimate, alpha: float) -> list[Estimate]:
    """What the full run would show on unseen pairs.

    Accuracy: the trial's own, its interval widened by the error that such forecasts had. Change of the chosen
    side: in proportion to the sum of learning rates, which overstates where the curve flattens.
    """
    factor = measured.full_rate / max(float(measured.halves.rates.mean()), 1e-30)
    return [
        replace(_widened(accuracy, alpha), name="forecast_accuracy", p=None),
        Estimate(
            "forecast_chosen_change", _times(change.value, factor), _times(change.low, factor),
            _times(change.high, factor), change.n, None,
            f"the trial's × {factor:.3g}, the ratio of summed learning rates (linear, so an upper bound)",
            "nats/token",
        ),
    ]  # fmt: skip


def _widened(accuracy: Estimate, alpha: float) -> Estimate:
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return accuracy
    z = 1.96 if alpha == 0.05 else -_normal_quantile(alpha / 2)
    low = accuracy.value - math.hypot(accuracy.value - accuracy.low, z * FORECAST_ERROR)
    high = accuracy.value + math.hypot(accuracy.high - accuracy.value, z * FORECAST_ERROR)
    method = "trial accuracy; interval widened by the error on six unseen sets (sd .083, one model)"
    return replace(accuracy, low=max(0.0, low), high=min(1.0, high), method=method)


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _noise_estimate(scale: float, n: int) -> Estimate:
    method = "tr Σ / |G|² (McCandlish et al. 2018, eq. 2.9)"
    return Estimate("gradient_noise", scale, None, None, n, None, method, "pairs")


def noise_scale(noise: Noise) -> float | None:
    """tr Σ / |G|² in pairs: batches much smaller than this step mostly at random.

    Unbiased parts: with B pairs, |G|² = (B·|ḡ|² − mean|gᵢ|²)/(B − 1) and tr Σ = (mean|gᵢ|² − |ḡ|²)·B/(B − 1).
    None when |G|² cannot be told from 0, so that the scale is beyond what B pairs can measure.
    Source: McCandlish et al. 2018, appendix A.1.
    """
    b, single = len(noise.singles), float(noise.singles.mean())
    if b < 2:
        return None
    squared = (b * noise.mean - single) / (b - 1)
    return None if squared <= 0 else (single - noise.mean) * b / (b - 1) / squared


def nothing_learned(accuracy: Estimate) -> Finding | None:
    """PB501 trial learns nothing: pairs not yet trained on are not ranked better than by chance.

    Means: Each half of the drawn pairs was trained on and the other half scored. The interval of the share of
    unseen pairs whose margin rose reaches ½.
    Why: The accuracy of pairs already seen says nothing: with shuffled labels it reaches 1. This one is
    honest, and on six sets that chose nothing here it missed that of full runs by .066 on average.
    Do: More, cleaner or clearer pairs; `probe data` and `probe label` for the labels. If only the chosen side
    is wanted, SFT. If the trial was short, make it longer: `--pairs`, `--learning-rate`.
    Source: two-fold cross-validation; docs/validity.md.
    """
    if accuracy.low is None or accuracy.value is None or accuracy.low > 0.5:
        return None
    return Finding(
        "PB501", "warning",
        f"unseen pairs are ranked right in {accuracy.value:.0%} [{accuracy.low:.0%}, {accuracy.high:.0%}]: "
        "no better than chance can be shown",
        "More or clearer pairs, or a longer trial (`--pairs`, `--learning-rate`).", estimate=accuracy,
    )  # fmt: skip


def trivial(accuracy: Estimate, steps: int) -> Finding | None:
    """PB502 trial saturates: a few steps rank nearly all unseen pairs right.

    Means: After at most 24 steps on half of the pairs, the lower bound of the accuracy on the other half is
    above .95.
    Why: What is learned so fast is a surface sign of the rejected side. DPO saturates within an epoch, and
    teaches nothing that is of use elsewhere.
    Do: `probe negatives` names the sign; `probe sample` makes rejected responses from the model itself. SFT
    on the chosen side needs no rejected one.
    Source: measured by training on 16 sets (docs/validity.md): above .95 nearly all full runs saturated.
    """
    if steps > 24 or accuracy.low is None or accuracy.low <= TRIVIAL:
        return None
    return Finding(
        "PB502", "warning",
        f"after {steps} steps on one half, {accuracy.value:.0%} of the other half are ranked right "
        f"(lower bound {accuracy.low:.0%})",
        "See `probe negatives`; make rejected responses with `probe sample`.", estimate=accuracy,
    )  # fmt: skip


def chosen_falls(change: Estimate) -> Finding | None:
    """PB503 chosen side falls: within a few steps unseen chosen responses lose probability.

    Means: After the trial's steps on one half, the log-probs of the other half's *chosen* responses are lower
    by more than .05 nats/token, over the whole interval.
    Why: A full run goes on in this direction; the probability goes to text that nobody judged.
    Do: dpop or dpo_nll, which pay for a falling chosen side; SFT first; a smaller learning rate.
    Source: Razin et al. 2024; Pal et al. 2024; the limit is a starting point of ours.
    """
    if change.value is None or change.high is None or change.high >= -FALL:
        return None
    return Finding(
        "PB503", "warning",
        f"unseen chosen responses change by {change.value:+.3f} nats/token (at most {change.high:+.3f})",
        "Train with --method dpop or dpo_nll, or SFT first (sft+dpo).", estimate=change,
    )  # fmt: skip


def only_length(unseen: Pass, sums: Estimate, per_token: Estimate, alpha: float) -> Finding | None:
    """PB505 only length is learned: summed margins of unseen pairs rise, margins per token do not.

    Means: After the trial's steps on one half, the other half is ranked right by summed log-probs and not by
    log-probs per token, and more pairs by the first than by the second (sign-flip test by prompt).
    Why: Any change of all tokens alike moves the sum of the longer side further. The reward accuracy that
    trainers log counts sums, so it rises to 1 while the answers are ranked no better than before.
    Do: Match the lengths of the sides (PB330 names the pairs), or see whether a loss per token learns more:
    `probe trial PAIRS --method dpo_norm`.
    Source: Park et al. 2024 (length exploitation in DPO); measured on two sets (docs/validity.md), where full
    DPO runs had .80 and 1.00 of the held-out margins up by sums, .45 and .25 per token.
    """
    if sums.low is None or per_token.low is None or per_token.value is None or sums.value is None:
        return None
    by_sum, by_token = (np.sign(margins) for margins in (unseen.margins, unseen.token_margins))
    if sums.low <= 0.5 or per_token.low > 0.5:
        return None
    p = sign_flip(by_sum - by_token, unseen.prompts).p
    if p is None or p > alpha:
        return None
    return Finding(
        "PB505", "warning",
        f"{sums.value:.0%} of unseen pairs are ranked right by summed log-probs, {per_token.value:.0%} "
        f"[{per_token.low:.0%}, {per_token.high:.0%}] per token: what is learned is length",
        "Match the lengths of the sides, or try `probe trial --method dpo_norm`.", estimate=per_token,
    )  # fmt: skip


def noisy(scale: float, batch: int) -> Finding | None:
    """PB504 gradient noise: single steps mostly follow chance.

    Means: The gradient noise scale, the batch at which noise and signal are equal, is above ten batches.
    Why: Each step then says little about the pairs as a whole; many small steps average it out, a large
    learning rate amplifies it.
    Do: A larger batch or a smaller learning rate. More pairs do not lower it; clearer ones do.
    Source: McCandlish et al. 2018.
    """
    if scale <= 10 * batch:
        return None
    return Finding(
        "PB504", "info", f"gradient noise scale {scale:.0f} pairs, batch {batch}",
        "Raise --batch or lower --learning-rate.",
    )  # fmt: skip
