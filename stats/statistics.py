"""Means, shares and tests for paired measurements that may come in clusters.

Pure functions of NumPy arrays. Pairs that share a prompt are not independent, so every function takes
`clusters`, one label per value (None: each value is its own cluster), and lets whole clusters vary. A value
that is not finite raises `CannotMeasure`: dropping it would change the question. Where the data cannot carry
an interval or a test, `low`, `high` and `p` are None, which reads "cannot say".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from ..errors import CannotMeasure
from ..records import Estimate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Labels = Sequence[Hashable] | npt.NDArray[np.int64]
Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True, slots=True)
class Guard:
    """How far the sample's skewness is mistrusted: `caution` standard errors further out.

    Its size is cut so that a 95% limit is bent by `reach` of the way to where the transformation turns over.
    """

    caution: float
    reach: float


# Set by bench/calibration, the least that hold the level under exponential skew (validity-appendix.md). The
# cut keeps intervals of few clusters usable; TOST's claim, which one rare large gap can refute, has none.
INTERVAL_GUARD = Guard(0.25, 0.9)
EQUIVALENCE_GUARD = Guard(0.75, math.inf)


def finite(values: npt.ArrayLike) -> Floats:
    """The values as a float64 vector. Raises `CannotMeasure` naming the first that is not finite."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if (bad := np.flatnonzero(~np.isfinite(array))).size:
        raise CannotMeasure(
            f"{bad.size} of {array.size} values are not finite, the first at index {bad[0]}. "
            "Find out why the model gave none; leaving them out would change the result."
        )
    return array


def cluster_codes(clusters: Labels | None, n: int) -> Ints:
    """Labels as integers 0 … C − 1, shape [n]. Raises `ValueError` when there is not one label per value."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} cluster labels for {n} values")
    if isinstance(clusters, np.ndarray):
        return np.unique(clusters, return_inverse=True)[1]
    seen: dict[Hashable, int] = {}
    return np.fromiter((seen.setdefault(c, len(seen)) for c in clusters), dtype=np.int64, count=n)


def cluster_sums(values: Floats, codes: Ints) -> Floats:
    """Σ of the values in each cluster, shape [C]."""
    return np.bincount(codes, weights=values).astype(np.float64, copy=False)


# --- the mean -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of `n` values in `clusters` clusters, its cluster-robust standard error and their skewness.

    `se` is None with fewer than two clusters, or when the clusters do not vary at all: no interval then.
    """

    value: float
    se: float | None
    skew: float
    clusters: int
    n: int


def summarise(values: npt.ArrayLike, clusters: Labels | None = None) -> Mean:
    """The mean with its cluster-jackknife standard error, which for single pairs is s/√n.

    With r_c = Σ_{i∈c}(d_i − d̄) and n_c values in cluster c, se² = (C−1)/C · Σ_c(r_c/(n − n_c))². For clusters
    of one size this is √(C/(C−1) · Σ r_c²)/n of Miller 2024, "Adding error bars to evals", which is too small
    when sizes differ: a large cluster draws the mean to itself. Source: MacKinnon, Nielsen, Webb 2023, CV3.
    """
    array = finite(values)
    if not array.size:
        return Mean(math.nan, None, 0.0, 0, 0)
    codes, mean = cluster_codes(clusters, array.size), float(array.mean())
    sums, sizes = cluster_sums(array - mean, codes), np.bincount(codes)
    count = sums.size
    if count < 2:
        return Mean(mean, None, 0.0, count, array.size)
    shifts = sums / (array.size - sizes)
    spread = float(np.sqrt(np.square(shifts).sum()))
    if spread <= 1e-12 * np.abs(array).mean():  # equal values leave rounding only
        return Mean(mean, None, 0.0, count, array.size)
    return Mean(mean, math.sqrt((count - 1) / count) * spread, _skewness(shifts, spread), count, array.size)


def _skewness(shifts: Floats, spread: float) -> float:
    count = shifts.size
    if count < 3:
        return 0.0
    raw = float((shifts**3).sum() / spread**3 * math.sqrt(count))
    return raw * math.sqrt(count * (count - 1)) / (count - 2)


def tail_ps(mean: Mean, null: float = 0.0, guard: Guard = INTERVAL_GUARD) -> tuple[float, float] | None:
    """One-sided p-values of H0: mean ≤ null and of H0: mean ≥ null; None when nothing can be said.

    Each is the larger of Student's t (df = C − 1) and of t after Hall's cubic transformation, which removes
    the statistic's skewness. The plain t rejects one side far too often when gaps are skewed.
    Source: Hall 1992, "On the removal of skewness by transformation", JRSS B 54.
    """
    if mean.se is None:
        return None
    t = (mean.value - null) / mean.se
    lower, upper = _skew_range(mean, guard)
    df = mean.clusters - 1
    above = float(special.stdtr(df, -min(t, _straightened(t, lower))))
    below = float(special.stdtr(df, max(t, _straightened(t, upper))))
    return above, below


def interval_limits(
    mean: Mean, alpha: float = 0.05, guard: Guard = INTERVAL_GUARD
) -> tuple[float, float] | tuple[None, None]:
    """The 1 − alpha interval of the mean: all nulls that neither of `tail_ps` rejects at alpha/2."""
    if mean.se is None:
        return None, None
    t = float(special.stdtrit(mean.clusters - 1, 1 - alpha / 2))
    lower, upper = _skew_range(mean, guard)
    low = mean.value - max(t, _bent(t, lower)) * mean.se
    high = mean.value - min(-t, _bent(-t, upper)) * mean.se
    return low, high


def _skew_range(mean: Mean, guard: Guard) -> tuple[float, float]:
    """Skewness / √C, at its least and at its most: small samples understate it."""
    c = mean.clusters
    if c < 3:
        return 0.0, 0.0
    error = guard.caution * math.sqrt(6 * c * (c - 1) / ((c - 2) * (c + 1) * (c + 3)))
    ends = ((mean.skew + sign * error) / math.sqrt(c) for sign in (-1, 1))
    most = guard.reach / float(special.stdtrit(c - 1, 0.975))
    lower, upper = (min(max(end, -most), most) for end in ends)
    return lower, upper


def _straightened(t: float, q: float) -> float:
    return t + q * t**2 / 3 + q**2 * t**3 / 27 + q / 6


def _bent(t: float, q: float) -> float:
    """The inverse of `_straightened`, which rises everywhere: (1 + qt/3)³ = 1 + q(t' − q/6)."""
    return t if abs(q) < 1e-9 else 3 / q * (math.cbrt(1 + q * (t - q / 6)) - 1)


def mean_estimate(
    values: npt.ArrayLike,
    *,
    name: str,
    units: str,
    clusters: Labels | None = None,
    null: float = 0.0,
    alpha: float = 0.05,
    group: str = "all",
) -> Estimate:
    """The mean with its cluster-robust, skewness-guarded t interval, and the two-sided p of mean = null."""
    mean = summarise(values, clusters)
    low, high = interval_limits(mean, alpha)
    tails = tail_ps(mean, null)
    p = None if tails is None else min(1.0, 2 * min(tails))
    value = mean.value if mean.n else None
    return Estimate(name, value, low, high, mean.n, p, _t_name(mean), units, group)


def equivalence(
    values: npt.ArrayLike,
    *,
    bound: float,
    name: str = "equivalence",
    units: str = "nats/token",
    clusters: Labels | None = None,
    alpha: float = 0.05,
    group: str = "all",
) -> Estimate:
    """TOST: `p` ≤ alpha exactly when the 1 − 2·alpha interval given here lies inside ± bound.

    H0 is that the mean lies outside; rejecting it is the only way to call a model neutral.
    Source: Schuirmann 1987.
    """
    mean = summarise(values, clusters)
    low, high = interval_limits(mean, 2 * alpha, EQUIVALENCE_GUARD)
    left, right = (tail_ps(mean, null, EQUIVALENCE_GUARD) for null in (-bound, bound))
    p = None if left is None or right is None else max(left[0], right[1])
    value = mean.value if mean.n else None
    return Estimate(name, value, low, high, mean.n, p, f"TOST ±{bound:g}, {_t_name(mean)}", units, group)


def _t_name(mean: Mean) -> str:
    kind = "t" if mean.clusters == mean.n else "cluster-robust t"
    return f"{kind} (df {max(mean.clusters - 1, 0)}), skewness-guarded"


# --- shares ---------------------------------------------------------------------------------------------


def share(
    successes: int,
    trials: int,
    *,
    name: str,
    null: float = 0.5,
    alternative: Alternative = "two-sided",
    alpha: float = 0.05,
    group: str = "all",
    units: str = "share",
) -> Estimate:
    """successes / trials with the Clopper–Pearson interval and the exact binomial p of share = null.

    The trials must be independent; `share_clustered` is for those that are not. No trial: cannot say.
    """
    if not trials:
        return Estimate(name, None, None, None, 0, None, "exact binomial", units, group)
    test = stats.binomtest(int(successes), int(trials), null, alternative=alternative)
    low, high = clopper_pearson(successes, trials, alpha)
    method = "exact binomial, Clopper–Pearson" + ("" if alternative == "two-sided" else f", {alternative}")
    return Estimate(
        name, successes / trials, low, high, int(trials), float(test.pvalue), method, units, group
    )


def clopper_pearson(successes: float, trials: float, alpha: float = 0.05) -> tuple[float, float]:
    """The exact 1 − alpha interval of a binomial share; `trials` may be an effective, fractional number."""
    failures = trials - successes
    low = 0.0 if successes <= 0 else float(special.betaincinv(successes, failures + 1, alpha / 2))
    high = 1.0 if failures <= 0 else float(special.betaincinv(successes + 1, failures, 1 - alpha / 2))
    return low, high


def share_clustered(
    hits: npt.ArrayLike,
    clusters: Labels | None,
    *,
    name: str,
    alpha: float = 0.05,
    group: str = "all",
    spread: float = 1.0,
    null: float | None = None,
) -> Estimate:
    """The share of hits (0 or 1) with Korn and Graubard's interval: Clopper–Pearson on the effective number.

    That number is p(1 − p)/se², brought down to the degrees of freedom there are; where every cluster agrees,
    each counts once. `spread`: the variance of a share of ½ over that of independent clusters. `p` is the
    interval's own for a share of `null` (the level at which it ends there), None without one.
    Source: Korn and Graubard 1998.
    """
    mean = summarise(hits, clusters)
    method = f"Korn–Graubard ({mean.clusters} clusters)"
    if mean.clusters < 2:
        value = mean.value if mean.n else None
        return Estimate(name, value, None, None, mean.n, None, method, "share", group)
    effective = float(mean.clusters)
    if mean.se is not None and 0 < mean.value < 1:
        shrink = special.stdtrit(mean.n - 1, 0.975) / special.stdtrit(mean.clusters - 1, 0.975)
        effective = min(mean.n, mean.value * (1 - mean.value) / mean.se**2 * float(shrink) ** 2)
    effective /= 1 + (spread - 1) * 4 * mean.value * (1 - mean.value)
    low, high = clopper_pearson(mean.value * effective, effective, alpha)
    p = None if null is None else binomial_p(mean.value * effective, effective, null)
    return Estimate(name, mean.value, low, high, mean.n, p, method, "share", group)


def binomial_p(successes: float, trials: float, null: float = 0.5) -> float:
    """Twice the smaller tail of a binomial with that share, which is when `clopper_pearson` ends at `null`.

    `trials` may be an effective, fractional number.
    """
    failures = trials - successes
    above = 1.0 if successes <= 0 else float(special.betainc(successes, failures + 1, null))
    below = 1.0 if failures <= 0 else float(special.betainc(failures, successes + 1, 1 - null))
    return min(1.0, 2 * min(above, below))
