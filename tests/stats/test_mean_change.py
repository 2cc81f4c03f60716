"""Paired changes: the whole first, groups by name, intervals of their own or together."""

import numpy as np
import pytest

from probe.stats.mean_change import before_after_row, mean_changes, share_changes
from probe.stats.share_change import share_change
from probe.stats.statistics import mean_estimate

BEFORE = np.array([0.1, -0.4, 0.3, 0.9, -1.0, 0.2])
AFTER = np.array([0.4, -0.1, 0.2, 1.4, 0.1, -0.3])
GROUPS = ["b", "a", None, "b", "a", "b"]
CLUSTERS = ["x", "x", "y", "z", "y", "w"]


def test_each_group_is_the_mean_of_its_own_differences():
    found = mean_changes(BEFORE, AFTER, GROUPS, CLUSTERS, name="gap", units="nats/token")
    assert [change.group for change in found] == ["all", "a", "b"]
    some = [0, 3, 5]
    assert found[2].estimate == mean_estimate(
        (AFTER - BEFORE)[some],
        name="gap",
        units="nats/token",
        clusters=[CLUSTERS[i] for i in some],
        group="b",
    )
    assert (found[2].before, found[2].after) == pytest.approx((BEFORE[some].mean(), AFTER[some].mean()))


def test_shared_alpha_is_that_of_bonferroni():
    alone, shared = (
        mean_changes(BEFORE, AFTER, GROUPS, None, name="gap", units="", alpha=alpha, shared=alpha > 0.1)
        for alpha in (0.05, 0.15)
    )
    for one, two in zip(alone, shared, strict=True):
        ends = [(e.low, e.high) for e in (one.estimate, two.estimate)]
        assert ends[0] == pytest.approx(ends[1], abs=1e-12)


def test_shares_are_exact_where_no_items_depend_on_each_other():
    before, after = BEFORE > 0, AFTER > 0
    free = share_changes(before, after, GROUPS, None, name="win rate")
    assert free[0].estimate == share_change(1, 1, 6, name="win rate")
    tied = share_changes(before, after, GROUPS, CLUSTERS, name="win rate")
    assert "McNemar" not in tied[0].estimate.method and tied[0].estimate.value == 0
    assert "McNemar" in tied[2].estimate.method  # the pairs of group b are of different prompts


def test_nothing_measured_is_no_change_and_a_row_holds_the_change():
    assert mean_changes([], [], [], None, name="gap", units="") == []
    (change,) = mean_changes([1.0, 2.0], [2.0, 4.0], [None, "all"], None, name="gap", units="nats")
    row = before_after_row("gap", change.estimate, change.before, change.after)
    assert (row["before"], row["after"], row["change"], row["group"], row["units"]) == (
        1.5, 3.0, 1.5, "all", "nats",
    )  # fmt: skip
