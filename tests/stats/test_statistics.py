"""Estimates against SciPy, statsmodels, hand-worked numbers and invariances."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from probe.errors import CannotMeasure
from probe.stats import statistics as s
from probe.stats.several import holm

VALUES = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=3, max_size=40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_share_of_five_in_five():
    """Two-sided p = 2·(1/2)⁵ = .0625; the lower limit solves p⁵ = .025: p = .4782."""
    found = s.share(5, 5, name="win_rate")
    assert found.p == pytest.approx(0.0625)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025**0.2)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(("wins", "n", "null"), [(0, 7, 0.5), (3, 11, 0.2), (21, 26, 0.8), (999, 1000, 0.99)])
def test_share_agrees_with_scipy(alternative, wins, n, null):
    found = s.share(wins, n, name="x", null=null, alternative=alternative)
    test = stats.binomtest(wins, n, null, alternative=alternative)
    interval = stats.binomtest(wins, n, null).proportion_ci(0.95, "exact")
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_a_share_of_nothing_cannot_say():
    found = s.share(0, 0, name="x")
    assert (found.value, found.low, found.high, found.p) == (None, None, None, None)


def test_cluster_error_by_hand():
    """Values 1, 2 | 3, 6 | 3: mean 3, residual sums −3, 3, 0 over 3, 3, 4 others, so se² = 2/3 · (1 + 1)."""
    mean = s.summarise([1, 2, 3, 6, 3], ["a", "a", "b", "b", "c"])
    assert (mean.value, mean.clusters, mean.n) == (3, 3, 5)
    assert mean.se == pytest.approx(math.sqrt(4 / 3))
    assert mean.skew == pytest.approx(0, abs=1e-12)


def test_cluster_error_is_the_jackknife_over_clusters():
    """Its definition: leave each cluster out, and take (C−1)/C of the squared moves of the mean."""
    x, codes = rng(1).normal(size=40), rng(2).integers(0, 9, 40)
    moves = np.array([x[codes != c].mean() - x.mean() for c in range(9)])
    assert s.summarise(x, codes).se == pytest.approx(math.sqrt(8 / 9 * np.square(moves).sum()))


def test_single_pairs_have_the_usual_error_and_skewness():
    x = rng().gamma(2.0, size=30)
    mean = s.summarise(x)
    assert mean.se == pytest.approx(stats.sem(x))
    assert mean.skew == pytest.approx(stats.skew(x, bias=False))


def test_cluster_error_of_equal_clusters_agrees_with_statsmodels():
    """There it is √(C/(C−1) · Σ r_c²)/n, the cluster covariance of a regression on a constant."""
    sm = pytest.importorskip("statsmodels.api")
    x, codes = rng(1).normal(size=40), np.arange(40) % 8
    fit = sm.OLS(x, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": codes})
    assert s.summarise(x, codes).se == pytest.approx(fit.bse[0])


def test_without_skew_and_caution_the_limits_are_those_of_t():
    x = [-3.0, -1.0, 0.0, 1.0, 3.0]
    interval = stats.ttest_1samp(x, 0).confidence_interval()
    found = s.interval_limits(s.summarise(x), 0.05, s.Guard(0.0, 0.9))
    assert found == pytest.approx((interval.low, interval.high))


@given(VALUES)
def test_the_interval_is_never_narrower_than_student_t(values):
    found = s.summarise(values)
    low, high = s.interval_limits(found)
    if found.se is None:
        assert (low, high) == (None, None)
    else:
        reach = stats.t.ppf(0.975, found.clusters - 1) * found.se
        assert low <= found.value - reach + 1e-9
        assert high >= found.value + reach - 1e-9


@given(VALUES, st.floats(0.01, 0.4))
def test_the_interval_inverts_the_tests(values, alpha):
    """The tail p at either limit is alpha/2, which is what a 1 − alpha interval means."""
    mean = s.summarise(values)
    low, high = s.interval_limits(mean, alpha)
    if mean.se is not None:
        assert s.tail_ps(mean, low)[0] == pytest.approx(alpha / 2, rel=1e-4)
        assert s.tail_ps(mean, high)[1] == pytest.approx(alpha / 2, rel=1e-4)


@given(VALUES, st.floats(-20, 20))
def test_swapping_sides_negates_and_shifting_shifts(values, shift):
    x = np.asarray(values)
    low, high = s.interval_limits(s.summarise(x))
    swapped, moved = s.interval_limits(s.summarise(-x)), s.interval_limits(s.summarise(x + shift))
    if low is None:
        assert swapped == (None, None)
    elif moved[0] is not None:  # a shift can hide a spread of 1e-12 of the values
        assert swapped == pytest.approx((-high, -low), rel=1e-6, abs=1e-9)
        assert moved == pytest.approx((low + shift, high + shift), rel=1e-6, abs=1e-6)


def test_copies_in_one_cluster_count_once():
    x = rng(3).normal(size=12)
    once = s.mean_estimate(x, name="g", units="u")
    thrice = s.mean_estimate(np.repeat(x, 3), name="g", units="u", clusters=np.repeat(np.arange(12), 3))
    assert (thrice.low, thrice.high, thrice.p) == pytest.approx((once.low, once.high, once.p))
    assert thrice.n == 36


@pytest.mark.parametrize("values", [[], [2.0], [0.1] * 7])
def test_no_interval_where_nothing_varies(values):
    found = s.mean_estimate(values, name="g", units="u")
    assert (found.low, found.high, found.p) == (None, None, None)
    assert s.equivalence(values, bound=1.0).p is None


def test_one_cluster_cannot_say():
    found = s.mean_estimate([1.0, 2.0, 3.0], name="g", units="u", clusters=["same"] * 3)
    assert found.value == 2.0
    assert (found.low, found.high, found.p) == (None, None, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_raise(bad):
    for call in (s.summarise, lambda x: s.share_clustered(x, None, name="x"), holm):
        with pytest.raises(CannotMeasure, match=r"1 of 3 .* index 1"):
            call([1.0, bad, 0.5])


def test_labels_must_match_the_values():
    with pytest.raises(ValueError, match="2 cluster labels for 3 values"):
        s.summarise([1.0, 2.0, 3.0], ["a", "b"])


def test_equivalence_agrees_with_statsmodels_without_skew(monkeypatch):
    weight = pytest.importorskip("statsmodels.stats.weightstats")
    monkeypatch.setattr(s, "EQUIVALENCE_GUARD", s.Guard(0.0, 0.9))
    half = rng(4).normal(size=20)
    x = np.concatenate([half, -half]) + 0.0  # symmetric: no skewness to guard against
    p, *_ = weight.DescrStatsW(x).ttost_mean(-0.3, 0.3)
    assert s.equivalence(x, bound=0.3).p == pytest.approx(p)


@given(VALUES, st.floats(0.01, 30))
def test_equivalence_is_its_interval_inside_the_bound(values, bound):
    found = s.equivalence(values, bound=bound)
    if found.p is not None and abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (-bound < found.low and found.high < bound)


def test_korn_graubard_is_clopper_pearson_for_single_pairs():
    """p(1 − p)/se² = n − 1 = 39 by the unbiased variance, so the limits are those of 39 trials."""
    hits = np.repeat([1.0, 0.0], [30, 10])
    found = s.share_clustered(hits, None, name="win_rate")
    assert (found.low, found.high) == pytest.approx(s.clopper_pearson(0.75 * 39, 39))


def test_clusters_that_all_agree_vote_once_each():
    found = s.share_clustered(np.ones(20), np.arange(20) // 4, name="win_rate")
    assert (found.low, found.high) == pytest.approx((0.025**0.2, 1.0))


def test_holm_by_hand_and_against_statsmodels():
    """.01·4, then max(.04, .03·3), max(.09, .04·2) and max(.09, .2·1)."""
    assert holm([0.03, 0.01, 0.2, 0.04]) == pytest.approx([0.09, 0.04, 0.2, 0.09])
    assert list(holm([0.6, 0.9, 0.2])) == pytest.approx([1.0, 1.0, 0.6])  # a probability is 1 at most
    multi = pytest.importorskip("statsmodels.stats.multitest")
    ps = rng(5).uniform(size=50) ** 3
    assert holm(ps) == pytest.approx(multi.multipletests(ps, method="holm")[1])


def test_a_million_clustered_pairs_take_seconds():
    x = rng(6).normal(size=1_000_000)
    labels = [f"prompt {i // 3}" for i in range(x.size)]
    start = time.perf_counter()
    assert s.mean_estimate(x, name="g", units="u", clusters=labels).p is not None
    assert time.perf_counter() - start < 10


def test_nothing_to_be_neutral_has_no_value():
    assert s.equivalence([], bound=0.1, name="gap").value is None
    assert s.equivalence([0.01, 0.02, -0.01], bound=0.1, name="gap").value == pytest.approx(0.02 / 3)


def test_sums_of_clusters_are_floats_whatever_the_values_are():
    found = s.cluster_sums(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 0]))
    assert found.tolist() == [4.0, 2.0] and found.dtype == np.float64
