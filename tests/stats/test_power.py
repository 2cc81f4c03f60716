"""Pair counts against the published ones, statsmodels, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from probe.stats import power


def test_sign_test_power_by_hand():
    """Six pairs reject at 6:0 only: .9⁶ + .1⁶."""
    assert power.sign_test_power(6, 0.9) == pytest.approx(0.9**6 + 0.1**6)
    assert power.sign_test_power(5, 1.0) == 0


def test_no_difference_needs_no_number():
    assert power.t_pairs(0.0) is None
    assert power.tost_pairs(0.1, offset=0.1) is None
    assert power.tost_pairs(1e-5) is None


@pytest.mark.parametrize(("alpha", "n"), [(0.05, 6), (0.0625, 5), (0.05 / 4, 8), (0.5, 2)])
def test_least_clusters(alpha, n):
    assert power.least_clusters(alpha) == n
    assert 2 * 0.5**n <= alpha < 2 * 0.5 ** (n - 1)


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.2])
def test_t_pairs_agree_with_statsmodels(effect):
    solver = pytest.importorskip("statsmodels.stats.power").TTestPower()
    assert power.t_pairs(effect) == int(np.ceil(solver.solve_power(effect, alpha=0.05, power=0.8)))


def test_tost_power_agrees_with_simulation():
    x = np.random.default_rng(0).normal(0.1, 1, (40_000, 60))
    half = 1.6711 * x.std(1, ddof=1) / np.sqrt(60)  # t(.95, 59)
    inside = (np.abs(x.mean(1)) + half < 0.4).mean()
    assert power.tost_power(60, 0.4, offset=0.1) == pytest.approx(inside, abs=0.01)


@pytest.mark.parametrize(
    ("guess", "start"), [(0.4, 1), (3.0, 1), (100.0, 50), (399.9, 199), (400.0, 372), (1000.0, 930)]
)
def test_a_scan_starts_well_below_the_normal_guess(guess, start):
    assert power._scan(lambda n: 1.0, 0.8, guess, 10_000) == start


def test_a_scan_looks_at_the_most_that_is_allowed_and_no_further():
    for most, found in ((60, 60), (59, None)):
        assert power._scan(lambda n: float(n >= 60), 0.8, 59.0, most) == found
    assert power._scan(lambda n: 1.0, 0.8, 60.0, 60) == 30
    assert power._scan(lambda n: 1.0, 0.8, 60.1, 60) is None


def test_needed_pairs_are_whole_numbers():
    needed = power.t_pairs(0.3), power.tost_pairs(0.3), power.share_above_trials(0.9, 0.8)
    assert [type(n) for n in needed] == [int] * 3


def test_a_power_that_is_just_reached_is_enough():
    assert power._least(lambda n: n / 100, 0.5) == 50
    assert power._least(lambda n: float(n >= 2), 1.0) == 2
