"""The flip budget against the theorem's formula and hand-made scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from probe.errors import CannotMeasure, ProbeError
from probe.probes.negatives.flip_budget import budget_beta, flip_budget, needed_loss, reference_excess
from probe.scoring.scores import PairScore, SideScore


def pairs(excesses, ends=(None, None)):
    """One-token sides whose summed log-probs differ by the given excess of the rejected side, in nats."""
    return [
        PairScore(
            f"p{i}",
            SideScore(np.array([-60.0 - c], np.float32), 4, ends[0]),
            SideScore(np.array([-60.0], np.float32), 4, ends[1]),
            line=i + 1,
        )
        for i, c in enumerate(excesses)
    ]


def test_a_pair_is_ranked_right_exactly_at_the_needed_loss():
    """DPO's loss is −log σ(β(ratio + c)), ratio = log π(chosen)/π(rejected) of the policy: right when > 0."""
    beta, c = 0.3, 4.0
    for ratio in (-0.01, 0.01):
        loss = -math.log(1 / (1 + math.exp(-beta * (ratio + c))))
        assert (loss <= needed_loss(beta, c)) == (ratio > 0)


def test_shares_and_finding():
    """βc > 1 from c > 10 at β .1: nine of ten, one-sided p = 11/2¹⁰ = .0107."""
    found = flip_budget(pairs([20, 11, 12, 13, 14, 15, 16, 17, 18, 3]), beta=0.1)
    budget, wrong = found.estimates
    assert (budget.name, budget.value, budget.n) == ("flip_budget_share", 0.9, 10)
    assert budget.p == pytest.approx(11 / 1024)
    assert (wrong.name, wrong.value) == ("misranked_share", 1.0)
    (finding,) = found.findings
    assert finding.code == "PB120"
    assert finding.worst_pairs == ("p0", "p8", "p7", "p6", "p5")
    assert "loss is under 0.31 at beta 0.1; the worst needs 0.13" in finding.message


def test_beta_sets_the_budget():
    scores = pairs([5.0] * 12)
    assert flip_budget(scores, beta=0.1).estimates[0].value == 0
    assert flip_budget(scores, beta=0.5).estimates[0].value == 1


def test_half_of_the_pairs_is_no_finding():
    found = flip_budget(pairs([20] * 10 + [-20] * 10))
    assert not found.findings
    assert found.estimates[0].p > 0.5


def test_pairs_on_one_prompt_count_once():
    found = flip_budget(pairs([20] * 20), clusters=[i // 4 for i in range(20)])
    assert found.estimates[0].p == pytest.approx(1 / 32)
    assert found.estimates[0].low == pytest.approx(0.025**0.2)
    low = flip_budget(pairs([-20] * 20), clusters=[i // 4 for i in range(20)])
    assert low.estimates[0].p == pytest.approx(31 / 32)


def test_end_tokens_count_where_both_sides_have_one():
    assert reference_excess(pairs([2.0], ends=(-1.0, -4.0))) == pytest.approx([2.0 - 3.0])
    assert reference_excess(pairs([2.0], ends=(-1.0, None))) == pytest.approx([2.0])


def test_what_cannot_be_measured():
    with pytest.raises(CannotMeasure, match=r"p1 \(line 2\)"):
        flip_budget(pairs([1.0, math.nan]))
    with pytest.raises(ProbeError):
        flip_budget([])
    with pytest.raises(ProbeError):
        flip_budget(pairs([1.0]), beta=0.0)


def test_beta_of_a_loss_without_reference_is_none():
    assert budget_beta("dpo", 0.1) == 0.1
    assert [
        budget_beta(*case) for case in (("orpo", 0.1), ("sft", 0.1), ("dpo", 0.0), ("dpo", math.nan))
    ] == [None] * 4
