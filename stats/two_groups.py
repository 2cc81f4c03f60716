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

    The standard error is cluster-robust: with the influence u_i = ±(v_i − mean of its group)/(its group's
    size), se² = C/(C − 1) · Σ_c(Σ_{i∈c} u_i)², and t has C − 1 degrees of freedom: the sandwich of a
    regression on a dummy (Liang and Zeger 1986), with the factor C/(C − 1) alone.
    A group without values, or fewer than two clusters, gives no interval.
    """
    array, marked = finite(values), np.asarray(first, dtype=bool)
    sizes = int(marked.sum()), int((~marked).sum())
    if not all(sizes):
        return Estimate(name, None, None, None, array.size, None, "one of the groups is empty", units)
    means = float(array[marked].mean()), float(array[~marked].mean())
    difference = means[0] - means[1]
    influence = np.where(marked, (array - means[0]) / sizes[0], -(array - means[1]) / sizes[1])
    sums = cluster_sums(influence, cluster_codes(clusters, array.size))
    count = sums.size
    se = math.sqrt(count / (count - 1) * float(np.square(sums).sum())) if count > 1 else 0.0
    if se <= 1e-12 * float(np.abs(array).mean()):
        return Estimate(name, difference, None, None, array.size, None, "no variation to judge by", units)
    reach = float(student.ppf(1 - alpha / 2, count - 1)) * se
    p = float(2 * student.sf(abs(difference) / se, count - 1))
    method = f"difference of means, {count} clusters, cluster-robust t"
    return Estimate(name, difference, difference - reach, difference + reach, array.size, p, method, units)
