"""Numbers that only a formula written a second time holds: small samples, labels, exact tests of one side."""

import math

import numpy as np
import pytest
from scipy import special, stats

from probe.stats import power
from probe.stats import statistics as s
from probe.stats.multiplicity import holm_adjusted

VALUES = np.array([0.3, -0.2, 1.9])


def test_skewness_of_three_values_is_the_unbiased_one():
    assert s.summarise(VALUES).skew == pytest.approx(-stats.skew(-VALUES, bias=False))
    assert s.summarise(np.r_[VALUES, 0.4]).skew == pytest.approx(stats.skew(np.r_[VALUES, 0.4], bias=False))
    assert s.summarise(VALUES[:2]).skew == 0.0
    assert s.summarise(VALUES[:1]) == s.Mean(0.3, None, 0.0, 1, 1)
    empty = s.summarise([])
    assert math.isnan(empty.value) and (empty.se, empty.skew, empty.clusters, empty.n) == (None, 0.0, 0, 0)


@pytest.mark.parametrize("n", [3, 4, 9])
def test_the_guarded_interval_by_hand(n):
    """Hall's transformation at the skewness ± caution · its standard error, held to what may be bent."""
    values = np.random.default_rng(n).exponential(size=n)
    mean, guard = s.summarise(values), s.INTERVAL_GUARD
    error = guard.caution * math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    most = guard.reach / special.stdtrit(n - 1, 0.975)
    q_low, q_high = (
        float(np.clip((mean.skew + sign * error) / math.sqrt(n), -most, most)) for sign in (-1, 1)
    )
    t = special.stdtrit(n - 1, 0.975)

    def bent(t, q):
        return 3 / q * (np.cbrt(1 + q * (t - q / 6)) - 1)

    low = mean.value - max(t, bent(t, q_low)) * mean.se
    high = mean.value - min(-t, bent(-t, q_high)) * mean.se
    assert s.interval_limits(mean) == pytest.approx((low, high))


def test_two_values_have_students_interval():
    """Of two nothing is known of their skewness."""
    low, high = s.interval_limits(s.summarise([0.0, 1.0]))
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 1, 0.5, 0.5))


def test_what_a_method_says():
    one = s.mean_estimate([1.0, 2.0, 4.0], name="x", units="u", clusters=[0, 0, 1])
    assert one.method == "cluster-robust t (df 1), skewness-guarded"
    assert s.mean_estimate([1.0, 2.0], name="x", units="u").method == "t (df 1), skewness-guarded"
    assert s.mean_estimate([], name="x", units="u").method == "t (df 0), skewness-guarded"
    two = s.share(3, 4, name="x")
    assert two.method == "exact binomial, Clopper–Pearson" and two.p == stats.binomtest(3, 4).pvalue
    assert s.share(3, 4, name="x", alternative="greater").method.endswith("Clopper–Pearson, greater")


def test_defaults_are_the_null_and_the_level_that_are_documented():
    values = np.random.default_rng(1).normal(0.4, 1, 12)
    given = s.mean_estimate(values, name="x", units="u", null=0.0, alpha=0.05)
    assert s.mean_estimate(values, name="x", units="u") == given
    assert s.equivalence(values, bound=1.0) == s.equivalence(values, bound=1.0, alpha=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_clustered_share_of_none_or_all_counts_each_cluster_once(value):
    found = s.share_clustered([value] * 6, [0, 0, 1, 1, 2, 2], name="x")
    assert (found.low, found.high) == pytest.approx(s.clopper_pearson(3 * value, 3))


def test_an_effective_number_is_never_more_than_the_pairs():
    """Clusters that balance: their variance is below that of independent pairs."""
    hits = [1.0, 0.0] * 6 + [1.0, 1.0]
    found = s.share_clustered(hits, [i // 2 for i in range(14)], name="x")
    assert (found.low, found.high) == pytest.approx(s.clopper_pearson(8, 14))


@pytest.mark.parametrize(("rate", "null", "n"), [(0.9, 0.8, 82), (0.95, 0.8, 30), (0.6, 0.5, None)])
def test_trials_that_show_a_share(rate, null, n):
    found = power.share_above_trials(rate, null)
    assert n in (None, found)
    assert power.share_above_power(found, rate, null) >= 0.8
    assert max(power.share_above_power(k, rate, null) for k in range(2, found)) < 0.8


def test_trials_of_one_side_by_hand():
    """Of 5 trials at ½ only 5 successes have P ≤ .05: the power at .9 is .9⁵."""
    assert power.share_above_power(5, 0.9, 0.5) == pytest.approx(0.9**5)
    assert power.share_above_trials(0.8, 0.8) is None and power.share_above_trials(0.7, 0.8) is None
    assert power.share_above_trials(0.81, 0.8, most=100) is None


def test_two_values_can_have_power():
    assert power.t_power(1, 9.0) == 0.0 and power.tost_power(1, 9.0) == 0.0
    assert power.t_power(2, 9.0) == pytest.approx(1 - stats.nct.cdf(stats.t.ppf(0.975, 1), 1, 9 * 2**0.5))
    x = np.random.default_rng(0).normal(0, 1, (40_000, 2))
    half = stats.t.ppf(0.95, 1) * x.std(1, ddof=1) / 2**0.5
    assert power.tost_power(2, 5.0) == pytest.approx((np.abs(x.mean(1)) + half < 5).mean(), abs=0.01)
    assert power.tost_pairs(40.0) == 2 and power.t_pairs(60.0) == 2


@pytest.mark.parametrize("null", [0.2, 0.5, 0.9])
def test_the_binomial_p_is_twice_the_smaller_tail(null):
    """By scipy for whole numbers; a fractional number of trials lies between its neighbours."""
    for n in (1, 5, 12):
        tails = stats.binom(n, null)
        for k in range(n + 1):
            exact = min(1.0, 2 * min(tails.cdf(k), tails.sf(k - 1)))
            assert s.binomial_p(k, n, null) == pytest.approx(exact, rel=1e-9)
    assert s.binomial_p(9, 10, 0.5) > s.binomial_p(9.45, 10.5, 0.5) > s.binomial_p(9.9, 11, 0.5)


def test_the_p_of_a_clustered_share_is_where_its_interval_ends():
    hits, clusters = [1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1], [i // 2 for i in range(12)]
    for alpha in (0.05, 0.2):
        found = s.share_clustered(hits, clusters, name="x", alpha=alpha)
        for end in (found.low, found.high):
            assert s.share_clustered(hits, clusters, name="x", null=end).p == pytest.approx(alpha, rel=1e-6)
    assert found.p is None


def test_an_adjusted_p_is_never_above_one():
    assert holm_adjusted([0.9, 0.4, 0.01]) == pytest.approx([0.9, 0.8, 0.03])
    assert holm_adjusted([0.7, 0.6]) == [1.0, 1.0]
