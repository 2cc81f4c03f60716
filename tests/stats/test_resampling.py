"""Flips and resamples against enumeration, SciPy and hand-worked numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from probe.errors import CannotMeasure
from probe.stats import resampling
from probe.stats.resampling import MOST_BLOCKS, bootstrap_mean, sign_flip, signed_rank
from probe.stats.statistics import share

INTEGERS = st.lists(st.integers(-6, 6), min_size=1, max_size=11)


def enumerated(values) -> float:
    """The definition: the share of all sign vectors whose |total| is at least the one seen."""
    x = np.abs(np.asarray(values, dtype=float))
    totals = np.array([np.dot(signs, x) for signs in itertools.product([-1, 1], repeat=len(x))])
    return float((np.abs(totals) >= abs(sum(values)) - 1e-9).mean())


def test_five_wins_in_five_are_not_enough():
    """Only the two unanimous vectors of 2⁵ reach the total: p = 2/32; a sixth pair gives 2/64."""
    assert sign_flip([0.4, 0.9, 0.1, 0.7, 0.2]).p == 0.0625
    assert sign_flip([0.4, 0.9, 0.1, 0.7, 0.2, 0.3]).p == 0.03125


@given(INTEGERS)
def test_flips_agree_with_enumeration(values):
    assert sign_flip(values).p == pytest.approx(enumerated(values))
    assert sign_flip(np.negative(values)).p == sign_flip(values).p


@given(INTEGERS)
def test_flips_of_clusters_flip_their_sums(values):
    labels = [i // 2 for i in range(len(values))]
    sums = [sum(values[i : i + 2]) for i in range(0, len(values), 2)]
    assert sign_flip(values, labels).p == pytest.approx(enumerated(sums))


def test_rounding_does_not_break_ties():
    """0.1 + 0.2 is not 0.3 in floats; the totals of 0.1, 0.2, −0.3 are still ties at zero."""
    assert sign_flip([0.1, 0.2, -0.3]).p == 1.0
    assert sign_flip([0.1] * 10 + [-0.1] * 2).p == pytest.approx(stats.binomtest(10, 12).pvalue)


def test_random_flips_agree_with_the_exact_count():
    """Thirty values are counted in full; with two hundred specks beside them they are flipped at random."""
    x = np.random.default_rng(0).normal(0.3, 1, 30)
    exact = sign_flip(x).p
    scipys = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=9_999, rng=1
    ).pvalue
    assert exact == pytest.approx(scipys, abs=4 * np.sqrt(exact * (1 - exact) / 9_999))
    many = np.concatenate([x, np.full(200, 1e-9)])  # beyond enumeration, the same total
    random = sign_flip(many, draws=9_999, seed=3).p
    assert random == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9_999))
    assert random == sign_flip(many, draws=9_999, seed=3).p


def test_random_flips_never_give_zero():
    assert sign_flip(np.ones(100), draws=999).p == 1 / 1000


def test_pooled_blocks_agree_with_the_normal_limit():
    """Beyond 2,048 clusters: p of a mean two standard errors out is 2·Φ(−2) = .0455 in the limit."""
    x = np.random.default_rng(1).normal(size=20 * MOST_BLOCKS)
    x += 2 * np.sqrt(np.square(x).sum()) / x.size - x.mean()
    assert sign_flip(x).p == pytest.approx(2 * stats.norm.sf(2), abs=0.008)


@pytest.mark.parametrize("n", [1, 5, 20, 50])
def test_signed_rank_agrees_with_scipy_without_ties(n):
    x = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank(x).p == pytest.approx(stats.wilcoxon(x, method="exact").pvalue)


@given(INTEGERS)
def test_signed_rank_is_exact_with_ties(values):
    """With ties the reference is again the enumeration, of the signed mean ranks."""
    moving = np.array([v for v in values if v])
    ranks = np.sign(moving) * stats.rankdata(np.abs(moving)) if moving.size else moving
    assert signed_rank(values).p == pytest.approx(enumerated(ranks) if moving.size else 1.0)


def test_signed_rank_of_many_is_normal():
    x = np.random.default_rng(2).normal(0.1, 1, 400)
    assert signed_rank(x).p == pytest.approx(stats.wilcoxon(x, method="exact").pvalue, rel=0.02)


def test_bootstrap_agrees_with_scipy_for_single_pairs():
    x = np.random.default_rng(3).gamma(2, size=60)
    ours = bootstrap_mean(x, seed=1)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=9_999, rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * x.std())


def test_bootstrap_resamples_clusters():
    """Each value three times in a cluster: as wide as with each value once."""
    x = np.random.default_rng(4).normal(size=40)
    once = bootstrap_mean(x, seed=5)
    thrice = bootstrap_mean(np.repeat(x, 3), np.repeat(np.arange(40), 3), seed=5)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize(
    ("values", "clusters"), [([], None), ([1.0], None), ([2.0] * 9, None), ([1, 2], [0, 0])]
)
def test_bootstrap_never_gives_zero_width(values, clusters):
    found = bootstrap_mean(values, clusters)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize("call", [sign_flip, signed_rank, bootstrap_mean])
def test_nan_raises(call):
    with pytest.raises(CannotMeasure):
        call([1.0, float("nan")])


@pytest.mark.parametrize(("side", "share"), [("greater", 0.75), ("less", 0.25)])
def test_one_side_of_a_clustered_share_has_half_of_its_p(side, share):
    """Eight clusters of three, of which a share hit throughout: p of both sides is 2·37/256."""
    hits = np.repeat(np.arange(8) < 8 * share, 3)
    clusters = np.repeat(np.arange(8), 3)
    other = "less" if side == "greater" else "greater"
    both, one, wrong = (
        resampling.tested_share(hits, clusters, name="s", alternative=a) for a in ("two-sided", side, other)
    )
    assert both.p == pytest.approx(2 * (1 + 8 + 28) / 2**8)
    assert (one.p, wrong.p) == (pytest.approx(both.p / 2), pytest.approx(1 - both.p / 2))
    assert one.method == f"{both.method}, {side}"
    assert (one.value, one.low, one.high) == (both.value, both.low, both.high)


@pytest.mark.parametrize("draws", [999, 1024, 1025])
def test_as_many_flips_are_drawn_as_are_asked_for(draws):
    """Forty equal sums: only all signs alike reach the total, so no random flip does."""
    assert sign_flip(np.ones(40), draws=draws).p == 1 / (draws + 1)


def test_random_flips_agree_with_all_of_them():
    """Thirty-two values are counted out; a thirty-third that is tiny changes p by no more than chance."""
    values = np.random.default_rng(3).normal(0.3, 1, 32)
    exact, drawn = sign_flip(values).p, sign_flip([*values, 1e-9], draws=9_999).p
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 9_999) ** 0.5)


def test_the_limits_are_those_that_are_documented():
    assert f"up to {resampling.EXACT_CLUSTERS} clusters" in sign_flip.__doc__
    for function in (sign_flip, bootstrap_mean):
        assert f"More than {resampling.MOST_BLOCKS:,} clusters" in function.__doc__
    assert f"Exact to {resampling.EXACT_RANKS} non-zero values" in signed_rank.__doc__


def test_the_chances_of_rank_sums_are_one_for_each_sum():
    """Of the weights 2 and 4: none, the first, the second, both."""
    assert resampling._subset_sums(np.array([2, 4])).tolist() == [0.25, 0, 0.25, 0, 0.25, 0, 0.25]


def test_a_share_of_one_pair_or_none_is_exact():
    for hits in ([True], [False], []):
        found = resampling.tested_share(np.array(hits, dtype=bool), name="s")
        assert found == share(sum(hits), len(hits), name="s")
