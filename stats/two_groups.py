"""The difference of two groups' means where values of one cluster may stand in both."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from ..records import Estimate
from .statistics import Labels, cluster_codes, cluster_sums, finite


def group_difference(
    values: npt.ArrayLike,
    first: npt.ArrayLike,
    clusters: Labels | None = None,
    *,
    name: str,
    units: str,
    alpha: float = 0.05,
) -> Estimate:
    """Mean of the values where `first` holds, minus the mean of the others; n counts values.

    The standard error is the cluster jackknife's: with D₋c the difference without cluster c,
    se² = (C − 1)/C · Σ_c(D₋c − D)². t has one degree of freedom less than the smaller group has clusters;
    with C − 1 and a regression's sandwich a group of two values differs by chance in a third of cases.
    A group of fewer than two clusters gives no interval. Source: MacKinnon, Nielsen, Webb 2023, CV3.
    """
    array, marked = finite(values), np.asarray(first, dtype=bool)
    sizes = int(marked.sum()), int((~marked).sum())
    if not all(sizes):
        return Estimate(name, None, None, None, array.size, None, "one of the groups is empty", units)
    means = float(array[marked].mean()), float(array[~marked].mean())
    difference = means[0] - means[1]
    codes = cluster_codes(clusters, array.size)
    counts = [cluster_sums(group.astype(float), codes) for group in (marked, ~marked)]
    fewest = min(int((count > 0).sum()) for count in counts)
    if fewest < 2:
        why = "a group has fewer than two clusters"
        return Estimate(name, difference, None, None, array.size, None, why, units)
    count = counts[0].size
    left = [
        (mean * n - cluster_sums(np.where(group, array, 0.0), codes)) / (n - of)
        for mean, n, group, of in zip(means, sizes, (marked, ~marked), counts, strict=True)
    ]
    se = math.sqrt((count - 1) / count * float(np.square(left[0] - left[1] - difference).sum()))
    if se <= 1e-12 * float(np.abs(array).mean()):
        return Estimate(name, difference, None, None, array.size, None, "no variation to judge by", units)
    reach = float(student.ppf(1 - alpha / 2, fewest - 1)) * se
    p = float(2 * student.sf(abs(difference) / se, fewest - 1))
    method = f"difference of means, {count} clusters, cluster jackknife, t with {fewest - 1} df"
    return Estimate(name, difference, difference - reach, difference + reach, array.size, p, method, units)
