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
