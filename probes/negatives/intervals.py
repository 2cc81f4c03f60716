"""Estimates from out-of-fold predictions: an accuracy, and the ratio of two information contents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...records import Estimate
from ...stats.statistics import Floats, mean_estimate, share_clustered
from .classify import Clusters, Separation

RowMask = npt.NDArray[np.bool_]
RESAMPLES = 2000


def accuracy(name: str, separation: Separation, alpha: float = 0.05, group: str = "all") -> Estimate:
    """The cross-validated accuracy of a separation, with the one-sided sign-flip p of accuracy ½."""
    made = out_of_fold(name, separation, slice(None), alpha, group)
    test = f"one-sided sign-flip test, {len(separation.null)} refits"
    return replace(made, p=separation.p, method=f"grouped cross-validation, {made.method}; {test}")


def out_of_fold(
    name: str, separation: Separation, rows: slice | RowMask, alpha: float = 0.05, group: str = "all"
) -> Estimate:
    """The share of `rows` that their folds' classifiers get right, with its interval over prompts.

    Out-of-fold predictions share their training pairs, so their mean varies more than that of as many
    independent ones: by how much is read off the relabellings, and the interval is widened by it. Without
    relabellings there is no interval.
    """
    hits, clusters = separation.hits[rows], separation.clusters[rows]
    if len(separation.null) < 2:
        made = share_clustered(hits, clusters, name=name, alpha=alpha, group=group)
        return replace(made, low=None, high=None)
    return share_clustered(hits, clusters, name=name, alpha=alpha, group=group, spread=spread(separation))


def spread(separation: Separation) -> float:
    """The relabelled accuracies' variance over that of independent coins, one a cluster; at least 1."""
    sizes = np.bincount(separation.clusters)
    independent = np.square(sizes).sum() / (4 * sizes.sum() ** 2)
    return max(1.0, float(np.var(separation.null)) / float(independent))


def information(name: str, separation: Separation, alpha: float = 0.05) -> Estimate:
    """V-information in bits a pair: what a classifier of this family can use of the features.

    The label's entropy (1 bit) less the out-of-fold cross-entropy: an estimate from below, and negative where
    the classifier misleads. Source: Xu et al. 2020; Ethayarajh et al. 2022.
    """
    return mean_estimate(separation.bits, name=name, units="bits", clusters=separation.clusters, alpha=alpha)


def ratio_of_means(
    name: str, part: Floats, whole: Floats, clusters: Clusters, alpha: float = 0.05
) -> Estimate:
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
