"""Estimates from out-of-fold predictions: an accuracy, and the ratio of two information contents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..records import Estimate
from .classify import Array, Clusters, Separation
from .statistics import mean_estimate, share_clustered

RESAMPLES = 2000


def accuracy(name: str, separation: Separation, alpha: float = 0.05, group: str = "all") -> Estimate:
    """The cross-validated accuracy of a separation, with the one-sided sign-flip p of accuracy ½.

    The interval is that of the predictions as they fell, over prompts; it does not know how they would fall
    with other training folds.
    """
    made = share_clustered(separation.hits, separation.clusters, name=name, alpha=alpha, group=group)
    test = f"one-sided sign-flip test, {len(separation.null)} refits"
    return replace(made, p=separation.p, method=f"grouped cross-validation, {made.method}; {test}")


def information(name: str, separation: Separation, alpha: float = 0.05) -> Estimate:
    """V-information in bits a pair: what a classifier of this family can use of the features.

    The label's entropy (1 bit) less the out-of-fold cross-entropy: an estimate from below, and negative where
    the classifier misleads. Source: Xu et al. 2020; Ethayarajh et al. 2022.
    """
    return mean_estimate(separation.bits, name=name, units="bits", clusters=separation.clusters, alpha=alpha)


def ratio(name: str, part: Array, whole: Array, clusters: Clusters, alpha: float = 0.05) -> Estimate:
    """mean(part) / mean(whole), arrays [pairs], with a percentile interval over resampled clusters.

    No value where the mean of `whole` is not surely positive: a share of nothing says nothing.
    """
    n, method = len(part), "ratio of means, percentile bootstrap over clusters"
    below = mean_estimate(whole, name=name, units="bits", clusters=clusters, alpha=alpha)
    if below.low is None or below.low <= 0:
        return Estimate(name, None, None, None, n, None, method, "share")
    sums = np.array([np.bincount(clusters, values) for values in (part, whole)])
    even = np.full(sums.shape[1], 1 / sums.shape[1])
    picks = np.random.default_rng(0).multinomial(sums.shape[1], even, RESAMPLES)
    low, high = np.quantile((picks @ sums[0]) / (picks @ sums[1]), [alpha / 2, 1 - alpha / 2])
    value = float(part.mean() / whole.mean())
    return Estimate(name, value, float(low), float(high), n, None, method, "share")
