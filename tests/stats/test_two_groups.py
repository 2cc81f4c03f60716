"""The difference of two means with clusters in both, against the formula written out."""

import math

import numpy as np
import pytest
from scipy import stats

from probe.stats.two_groups import group_difference

VALUES = [1.0, 4.0, 2.0, 7.0, 5.0, 3.0, 8.0, 6.0, 2.0]
FIRST = [1, 1, 0, 1, 0, 0, 1, 0, 0]
CLUSTERS = [0, 0, 0, 1, 1, 2, 3, 3, 4]


@pytest.mark.parametrize(("clusters", "alpha"), [(None, 0.05), (CLUSTERS, 0.05), (CLUSTERS, 0.2)])
def test_the_estimate_by_hand(clusters, alpha):
    found = group_difference(VALUES, FIRST, clusters, name="d", units="x", alpha=alpha)
    yes, no = ([v for v, f in zip(VALUES, FIRST, strict=True) if f == side] for side in (1, 0))
    difference = sum(yes) / 4 - sum(no) / 5
    places = list(range(9)) if clusters is None else clusters
    count = len(set(places))
    without = []
    for place in set(places):
        rest = [(v, f) for v, f, p in zip(VALUES, FIRST, places, strict=True) if p != place]
        one, other = ([v for v, f in rest if f == side] for side in (1, 0))
        without.append(sum(one) / len(one) - sum(other) / len(other))
    se = math.sqrt((count - 1) / count * sum((d - difference) ** 2 for d in without))
    t = stats.t(min(len({p for p, f in zip(places, FIRST, strict=True) if f == side}) for side in (1, 0)) - 1)
    assert (found.value, found.n, found.units) == (pytest.approx(difference), 9, "x")
    assert found.low == pytest.approx(difference - t.ppf(1 - alpha / 2) * se)
    assert found.high == pytest.approx(difference + t.ppf(1 - alpha / 2) * se)
    assert found.p == pytest.approx(2 * t.sf(abs(difference) / se))
    assert f"{count} clusters" in found.method


def test_single_values_are_tested_as_welch_would_but_for_the_factor():
    """Large groups: Welch's standard error, to the factors (n − 1)/n of each group."""
    rng = np.random.default_rng(0)
    values, first = rng.normal(size=4000), rng.random(4000) < 0.3
    values[first] += 0.1
    found = group_difference(values, first, name="d", units="x")
    assert found.p == pytest.approx(
        stats.ttest_ind(values[first], values[~first], equal_var=False).pvalue, rel=0.02
    )


def test_the_level_is_five_in_a_hundred_unless_told():
    one, other = (
        group_difference(VALUES, FIRST, name="d", units="x", **more) for more in ({}, {"alpha": 0.05})
    )
    assert one == other


@pytest.mark.parametrize("first", [[0] * 9, [1] * 9])
def test_an_empty_group_has_no_difference(first):
    assert group_difference(VALUES, first, name="d", units="x").value is None


@pytest.mark.parametrize(
    ("values", "clusters"), [(VALUES, [0] * 9), ([2.0 + f for f in FIRST], None), ([0.0] * 9, None)]
)
def test_without_variation_or_a_second_cluster_there_is_no_interval(values, clusters):
    found = group_difference(values, FIRST, clusters, name="d", units="x")
    assert found.value is not None and (found.low, found.high, found.p) == (None, None, None)


@pytest.mark.parametrize("few", [1, 2, 3, 5, 30])
def test_a_small_group_differs_by_chance_no_more_often_than_alpha(few):
    """Of two values against 58 the sandwich with C - 1 saw a difference in a third of cases without one."""
    rng = np.random.default_rng(few)
    first = np.arange(60) < few
    ps = [group_difference(rng.normal(size=60), first, name="d", units="x").p for _ in range(800)]
    assert (
        set(ps) == {None}
        if few == 1
        else np.mean([p <= 0.05 for p in ps]) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)
    )
