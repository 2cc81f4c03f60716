"""Tests and intervals by flipping signs and by resampling clusters. Every seed is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..records import Estimate
from .statistics import (
    Alternative,
    Floats,
    Ints,
    Labels,
    cluster_codes,
    cluster_sums,
    finite,
    share,
    share_clustered,
)

EXACT_CLUSTERS = 32  # two halves of 2**16 signed sums
MOST_BLOCKS = 2048
EXACT_RANKS = 50


@dataclass(frozen=True, slots=True)
class PValue:
    """A two-sided p-value and the name of the test; `units` counts what could be flipped."""

    p: float
    method: str
    units: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A 1 − alpha interval, or None twice when none can be given, and its method."""

    low: float | None
    high: float | None
    method: str


def sign_flip(
    values: npt.ArrayLike, clusters: Labels | None = None, *, draws: int = 9_999, seed: int = 0
) -> PValue:
    """Two-sided p of H0 "each cluster's sum is as likely to have the other sign", by the mean.

    Exchanging chosen and rejected within a pair flips its sign, so under H0 all flips are equally likely.
    All are counted up to 32 clusters; beyond, `draws` random ones with the (k + 1)/(draws + 1) correction,
    which keeps the level exact. More than 2,048 clusters are pooled at random into as many blocks that flip
    together: flips of blocks are a subgroup of all flips, so the level stays exact, at no cost in power that
    could be seen. Sources: Fisher 1935; Phipson and Smyth 2010; Hemerik and Goeman 2018 (subgroups).
    """
    array = finite(values)
    sums = cluster_sums(array, cluster_codes(clusters, array.size))
    reach = abs(float(sums.sum())) - 1e-12 * float(
        np.abs(sums).sum()
    )  # sums that differ by rounding are ties
    moving = sums[sums != 0]
    if reach <= 0:
        return PValue(1.0, "sign-flip, exact", moving.size)
    if moving.size <= EXACT_CLUSTERS:
        return PValue(_exact_flip_p(moving, reach), "sign-flip, exact", moving.size)
    rng = np.random.default_rng(seed)
    hits = _count_flips(_pooled(moving, rng), reach, draws, rng)
    return PValue((hits + 1) / (draws + 1), f"sign-flip, {draws} random flips", moving.size)


def _exact_flip_p(sums: Floats, reach: float) -> float:
    """Share of the 2^n signed totals with |total| ≥ reach > 0: each half enumerated, then matched."""
    half = sums.size // 2
    left, right = _signed_totals(sums[:half]), np.sort(_signed_totals(sums[half:]))
    above = right.size - np.searchsorted(right, reach - left, side="left")
    return float(2 * above.sum() / 2**sums.size)  # totals come in pairs ± total


def _signed_totals(sums: Floats) -> Floats:
    totals = np.zeros(1)
    for value in sums:
        totals = np.concatenate([totals + value, totals - value])
    return totals


def _count_flips(sums: Floats, reach: float, draws: int, rng: np.random.Generator) -> int:
    hits = 0
    total = sums.sum()
    for start in range(0, draws, 1024):
        rows = min(1024, draws - start)
        random = rng.integers(0, 256, (rows, -(-sums.size // 8)), dtype=np.uint8)
        bits = np.unpackbits(random, axis=1, count=sums.size)
        hits += int((np.abs(2.0 * (bits.astype(np.float64) @ sums) - total) >= reach).sum())
    return hits


def _pooled(sums: Floats, rng: np.random.Generator) -> Floats:
    if sums.size <= MOST_BLOCKS:
        return sums
    return cluster_sums(sums, _blocks(sums.size, rng))


def _blocks(count: int, rng: np.random.Generator) -> Ints:
    """A random block, 0 … 2,047, for each of `count` clusters, the blocks of equal size but for one."""
    return rng.permutation(count) % MOST_BLOCKS


def tested_share(
    hits: npt.NDArray[np.bool_],
    clusters: Labels | None = None,
    *,
    name: str,
    alternative: Alternative = "two-sided",
    alpha: float = 0.05,
    group: str = "all",
    seed: int = 0,
) -> Estimate:
    """The share of hits against ½: exact binomial for single values, else Korn–Graubard and sign-flip."""
    codes = np.unique(cluster_codes(clusters, hits.size), return_inverse=True)[1]
    if codes.max(initial=-1) + 1 == hits.size:
        return share(int(hits.sum()), hits.size, name=name, alternative=alternative, alpha=alpha, group=group)
    estimate = share_clustered(hits, codes, name=name, alpha=alpha, group=group)
    flip = sign_flip(hits - 0.5, codes, seed=seed)
    p = flip.p
    if alternative != "two-sided":
        leans = (hits.mean() > 0.5) == (alternative == "greater")
        p = p / 2 if leans else 1 - p / 2
    method = f"{estimate.method}; {flip.method}" + ("" if alternative == "two-sided" else f", {alternative}")
    return replace(estimate, p=p, method=method)


def signed_rank(values: npt.ArrayLike) -> PValue:
    """Wilcoxon's signed-rank test, two-sided, zeros left out, ties given their mean rank.

    Exact to 50 non-zero values, ties or not, by the distribution of the positive ranks' sum; beyond, the
    normal approximation with tie correction. For single pairs: clustered values need `sign_flip`.
    """
    array = finite(values)
    array = array[array != 0]
    if not array.size:
        return PValue(1.0, "Wilcoxon, exact", 0)
    if array.size > EXACT_RANKS:
        p = stats.wilcoxon(array, method="approx", correction=True).pvalue
        return PValue(float(p), "Wilcoxon, normal", array.size)
    doubled = np.rint(2 * stats.rankdata(np.abs(array))).astype(np.int64)  # mean ranks end in .0 or .5
    tail = min(int(doubled[array > 0].sum()), int(doubled[array < 0].sum()))
    p = min(1.0, 2 * float(_subset_sums(doubled)[: tail + 1].sum()))
    return PValue(p, "Wilcoxon, exact", array.size)


def _subset_sums(weights: Ints) -> Floats:
    """Probability of each sum of a random subset of the weights, shape [Σ weights + 1]."""
    chances = np.zeros(int(weights.sum()) + 1)
    chances[0] = 1.0
    for weight in weights:
        shifted = np.zeros_like(chances)
        shifted[weight:] = chances[:-weight]
        chances = (chances + shifted) / 2
    return chances


def bootstrap_mean(
    values: npt.ArrayLike,
    clusters: Labels | None = None,
    *,
    alpha: float = 0.05,
    draws: int = 4_999,
    seed: int = 0,
) -> Interval:
    """The BCa interval of the mean, whole clusters resampled: a check of the t interval, not its equal.

    More than 2,048 clusters are resampled in random blocks, which leaves the variance right. None below two
    clusters or when they do not vary: a bootstrap would give zero width. Source: Efron 1987.
    """
    array = finite(values)
    codes = cluster_codes(clusters, array.size)
    sums, sizes = cluster_sums(array, codes), cluster_sums(np.ones(array.size), codes)
    rng = np.random.default_rng(seed)
    if sums.size > MOST_BLOCKS:
        blocks = _blocks(sums.size, rng)
        sums, sizes = cluster_sums(sums, blocks), cluster_sums(sizes, blocks)
    if sums.size < 2 or np.ptp(sums / sizes) <= 1e-12 * np.abs(sums / sizes).max():
        return Interval(None, None, "BCa")
    found = stats.bootstrap(
        (sums, sizes),
        lambda total, size, axis: total.sum(axis) / size.sum(axis),
        paired=True,
        vectorized=True,
        confidence_level=1 - alpha,
        n_resamples=draws,
        batch=256,
        rng=rng,
    ).confidence_interval
    if not np.isfinite([found.low, found.high]).all() or found.low == found.high:
        return Interval(None, None, "BCa")
    return Interval(float(found.low), float(found.high), f"BCa, {draws} resamples of clusters")
