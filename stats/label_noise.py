"""How many labels are the wrong way round? A mixture of margins of classifiers that did not see the pairs.

A cross-fitted classifier gives each pair a margin: the log-odds that its sides are the right way round. Where
a share ε of the labels is flipped, margins come from (1 − ε)·f(m) + ε·f(−m): a flipped pair has the margin
that it would have, with the other sign. With f normal, of mean μ ≥ 0 and deviation σ, ε is found by maximum
likelihood. That tells only where f lies clear of its mirror image: for μ below `LEAST_SEPARATION` deviations
a hard pair looks like a flipped one. And it takes the classifiers to be right more often than not: margins of
one size whose signs are chance are a mixture at ε = ½, of which nothing says which half is right. Where
responses are but a few ("Yes.", "No."), margins have a few sizes, and the rarer right answer looks like a
flipped label. In each case the answer is "cannot say". No model here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import Estimate
from .statistics import Floats, share_clustered

LEAST_SEPARATION = 1.0  # μ/σ below which the mixture is not told from one wide hump (bench/label_noise.py)
FEWEST_MARGINS = 20  # pairs
REACHES_HALF = 0.5 - 1e-6  # a share that `fitted` has brought down to ½, or near it
ROUNDS = 60
DRAWS = 200


@dataclass(frozen=True, slots=True)
class Mixture:
    """The share that is flipped, and mean and deviation of the margin of a pair whose label is right."""

    share: float
    mean: float
    spread: float

    def flipped(self, margins: Floats) -> Floats:
        """P(the label is wrong) of each margin."""
        # log f(−m) − log f(m) = −2·μ·m/σ²
        with np.errstate(divide="ignore"):
            odds = np.log(self.share) - np.log1p(-self.share) - 2 * self.mean * margins / self.spread**2
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))))


def fitted(margins: Floats) -> Mixture:
    """Maximum likelihood by EM from several starts."""
    best, most = Mixture(0.0, 0.0, 1.0), -np.inf
    size: Floats = np.abs(margins)
    for start in (0.02, 0.15, 0.35):
        now = Mixture(start, float(size.mean()), float(max(size.std(), 1e-3)))
        for _ in range(ROUNDS):
            wrong = now.flipped(margins)
            turned = (1 - 2 * wrong) * margins
            mean = max(float(turned.mean()), 0.0)
            spread = math.sqrt(max(float(np.mean(margins**2)) - mean**2, 1e-12))
            now = Mixture(float(np.clip(wrong.mean(), 1e-4, 0.5)), mean, spread)
        likelihood = float(np.log(_density(now, margins)).sum())
        if likelihood > most:
            best, most = now, likelihood
    return best


def _density(one: Mixture, margins: Floats) -> Floats:
    ahead, back = (
        np.exp(-(((sign * margins - one.mean) / one.spread) ** 2) / 2) for sign in (1, -1)
    )  # fmt: skip
    return np.asarray(((1 - one.share) * ahead + one.share * back) / one.spread + 1e-300)


def label_noise(
    margins: Sequence[float] | Floats, clusters: npt.NDArray[np.int64], *, alpha: float = 0.05, seed: int = 0
) -> tuple[Estimate, Mixture]:
    """The share of wrong labels with a bootstrap interval over clusters; no value where it cannot be told.

    That is where the sides are not told apart well enough or not beyond chance at `alpha`, where most pairs
    repeat the responses of others, and where the interval reaches one half.
    """
    values = np.asarray(margins, dtype=np.float64)
    values = values / max(float(np.sqrt(np.mean(values**2))), 1e-12)
    found = fitted(values)
    if found.mean < LEAST_SEPARATION * found.spread or len(values) < FEWEST_MARGINS:
        return _cannot_say(len(values), "the sides are not told apart well enough"), found
    if not beats_chance(values, clusters, alpha):
        return _cannot_say(len(values), "the sides of unseen pairs are not told apart beyond chance"), found
    if few_sizes(values, clusters):
        return _cannot_say(
            len(values), "the responses are so few that a rarer right one looks reversed"
        ), found
    low, high = _interval(values, clusters, alpha, seed)
    if high >= REACHES_HALF:
        return _cannot_say(len(values), "as many labels may be reversed as are not"), found
    method = "mixture of cross-fitted margins and their mirror image, bootstrap over prompts"
    return Estimate("label_noise", found.share, low, high, len(values), None, method, "share"), found


def beats_chance(margins: Floats, clusters: npt.NDArray[np.int64], alpha: float) -> bool:
    """Whether more than half of the margins are above 0, by prompt, at one-sided `alpha`; ties are half."""
    right = (np.sign(margins) + 1) / 2
    ahead = share_clustered(right, clusters, name="accuracy", alpha=alpha, null=0.5)
    return ahead.value is not None and ahead.value > 0.5 and ahead.p is not None and ahead.p <= 2 * alpha


def few_sizes(margins: Floats, clusters: npt.NDArray[np.int64]) -> bool:
    """Whether margins that contradict labels have fewer sizes than half of the prompts: the same texts."""
    sizes = np.unique(np.round(np.abs(margins), 6))
    return bool((margins < 0).any()) and 2 * len(sizes) < len(np.unique(clusters))


def _cannot_say(n: int, why: str) -> Estimate:
    return Estimate("label_noise", None, None, None, n, None, f"cannot say: {why}", "share")


def _interval(
    values: Floats, clusters: npt.NDArray[np.int64], alpha: float, seed: int
) -> tuple[float, float]:
    rng, count = np.random.default_rng(seed), int(clusters.max()) + 1
    rows = [np.flatnonzero(clusters == k) for k in range(count)]
    shares = []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[k] for k in rng.integers(0, count, count)])
        shares.append(fitted(values[drawn]).share)
    low, high = np.quantile(shares, [alpha / 2, 1 - alpha / 2]).tolist()
    low = 0.0 if low < 1 / count else low  # less than one label is none
    high = max(high, 1 - (alpha / 2) ** (1 / count))  # none among so many: never a width of zero
    return low, high
