"""Stopping early: the error stays at alpha however often one looks, and nothing fixed-sample is claimed."""

import numpy as np
import pytest

from probe.probes.bias.early import cluster_gaps, early_result, early_verdict
from probe.probes.bias.judge import judge_bias
from probe.scoring.scores import PairScore, SideScore
from probe.scoring.table import ScoreTable
from probe.stats.sequential import sign_sequence


def scores(gaps):
    def side(mean):
        return SideScore(np.full(10, mean, np.float32), 40)

    return ScoreTable(PairScore(str(i + 1), side(g - 2), side(-2.0), None, i + 1) for i, g in enumerate(gaps))


def test_looking_after_every_batch_rejects_a_true_null_at_most_at_alpha():
    """2,000 fair coins, each watched every 32 flips up to 640: with p < .05 at each look, 25% would cross."""
    rng = np.random.default_rng(5)
    crossed = 0
    for _ in range(2000):
        gaps = rng.choice([-1.0, 1.0], size=640)
        wins = np.cumsum(gaps > 0)[31::32]
        looks = np.arange(32, 641, 32)
        crossed += any(
            early_verdict(sign_sequence(gaps[:n], 0.05), 0.05) in ("favours chosen", "favours rejected")
            for n, won in zip(looks, wins, strict=True)
            if abs(won - n / 2) > 0.5 * n**0.5  # cannot cross nearer than that
        )
    assert crossed / 2000 <= 0.05


@pytest.mark.parametrize(("gap", "verdict"), [(0.4, "favours chosen"), (-0.4, "favours rejected")])
def test_a_clear_side_is_settled_and_fixed_sample_intervals_go(gap, verdict):
    table = scores([gap] * 20)
    whole = judge_bias(table)
    result = early_result(whole, cluster_gaps(table, range(20), 0.0), 20, 1000, ("A", "B"), 0.05)
    assert result.rows[0].verdict == verdict
    assert "after 20 of 1,000 pairs" in result.findings[0].message
    gaps = [e for e in result.estimates if e.name.startswith("gap")]
    assert gaps
    assert all(e.low is e.high is e.p is None for e in gaps)
    assert next(e for e in result.estimates if e.name == "win_rate").p < 0.05


def test_an_even_model_is_settled_as_neutral_and_few_pairs_as_nothing():
    even = [1.0, -1.0] * 800
    assert early_verdict(sign_sequence(even, 0.05), 0.05) == "neutral"
    assert early_verdict(sign_sequence(even[:40], 0.05), 0.05) is None


def test_clusters_give_one_sign_each():
    table = scores([0.5, -0.1, -0.3, 1e-9])
    assert cluster_gaps(table, [0, 0, 1, 2], 1e-6) == pytest.approx([0.4, -0.3, 0.0])
