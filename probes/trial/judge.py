"""What a short trial says of a full run: accuracy on unseen pairs, margins, drift, noise, a forecast.

Accuracy is what trainers log as reward accuracy: the share of pairs whose margin from the start is above 0.
Null hypothesis: training on other pairs does not raise a pair's margin, so held-out accuracy is ½.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...records import Estimate, Measured
from ...stats.behaviour import CROSS_FIT
from ...stats.resampling import sign_flip
from ...stats.statistics import mean_estimate, share_clustered
from .findings import chosen_falls, noisy, nothing_learned, only_length, trivial
from .passes import Floats, Noise, Pass

# Standard deviation: a mean absolute error of .066 on six sets that chose nothing here, × √(π/2).
FORECAST_ERROR = 0.083


@dataclass(frozen=True, slots=True)
class Trial:
    """Both halves trained, each scored on the other, and every batch of their first epoch before its update.

    `steps` updates made a half, and `full_rate`, Σ of the learning rates that the run on the whole file would
    have, are over all stages.
    """

    prequential: Pass
    halves: Pass
    steps: int
    batch: int
    full_rate: float
    noise: Noise | None = None


def judge_trial(measured: Trial, alpha: float = 0.05) -> Measured:
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
    """A row per batch of the one pass: accuracy and mean margin (nats) of its pairs before their update."""
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
    """The share of unseen pairs whose margin rose, by sums or (a name with `token`) per token.

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
    return replace(
        made, low=max(-1.0, low), high=min(1.0, high), p=None, method=f"{made.method}{_folds(halves)}"
    )


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
            f"the trial's × {factor:.3g}, the ratio of learning rates summed over all stages (linear: it "
            "overstates where the curve flattens)",
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
