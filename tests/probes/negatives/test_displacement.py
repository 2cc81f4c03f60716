"""CHES and entanglement: hand-worked tensors, then the definitions on a tiny model at batch 1."""

import numpy as np
import pytest

from probe.pairs.record import Pair
from probe.probes.negatives.displacement import Gradients, ches, judge_ches, judge_gradients


def pairs_of(n):
    return [Pair(str(i), f"q{i}", "a", "b", line=i + 1) for i in range(n)]


def test_ches_by_hand():
    """One pair, two dimensions. y⁺ has states (1,0), (1,2): S⁺ = (2,2); y⁻ has (3,−1): S⁻ = (3,−1).

    ⟨S⁺,S⁻⟩ = 6 − 2 = 4, ‖S⁺‖² = 8: raw −4. Normalised: ⟨(1,1),(3,−1)⟩ − ‖(1,1)‖² = 2 − 2 = 0. Gap 1 − 2.
    """
    found = ches([[2.0, 2.0]], [[3.0, -1.0]], [2], [1])
    assert found.raw.tolist() == [-4.0]
    assert found.normalised.tolist() == [0.0]
    assert found.length_gap.tolist() == [-1.0]


def test_equal_sides_have_ches_zero_and_raw_ches_follows_length():
    """With one state everywhere, S = n·h: raw CHES is n⁺(n⁻ − n⁺)‖h‖², the length gap and nothing else."""
    h, n_plus, n_minus = np.array([0.5, 2.0]), np.array([4, 4, 4, 4]), np.array([2, 4, 6, 9])
    found = ches(np.outer(n_plus, h), np.outer(n_minus, h), n_plus, n_minus)
    assert np.allclose(found.raw, 4 * found.length_gap * (h @ h))
    assert np.allclose(found.normalised, 0)
    measured = judge_ches(pairs_of(4), found, np.arange(4))
    null = next(e for e in measured.estimates if e.name == "ches_length_correlation")
    assert null.value == pytest.approx(1)


def test_a_pair_far_out_is_named():
    sums = np.tile([[1.0, 0.0]], (20, 1))
    others = np.stack([np.linspace(0.1, 0.3, 20), np.ones(20)], axis=1)
    others[7] = [9, 0]
    measured = judge_ches(pairs_of(20), ches(sums, others, np.ones(20), np.ones(20)), np.arange(20))
    assert [f.code for f in measured.findings] == ["PB410"]
    assert measured.findings[0].lines[0] == 8
    assert measured.findings[0].message.startswith("1 of 20 pairs")


def test_entanglement_by_hand():
    """g⁺ = (1,0): a step along g⁺ − g⁻ changes log π(chosen) by ‖g⁺‖² − ⟨g⁺,g⁻⟩.

    g⁻ = (2,0): 1 − 2 < 0, chosen sinks. g⁻ = (0,1): 1, healthy. g⁻ = (.5,0): chosen rises by .5, but rejected
    changes by ⟨g⁺,g⁻⟩ − ‖g⁻‖² = .5 − .25 > 0: it rises too, which is not healthy.
    """
    plus, minus = np.array([[1.0, 0]] * 3), np.array([[2.0, 0], [0, 1], [0.5, 0]])
    found = Gradients((plus**2).sum(1), (minus**2).sum(1), (plus * minus).sum(1))
    assert found.sinks.tolist() == [True, False, False]
    assert found.healthy.tolist() == [False, True, False]
    assert np.allclose(found.cosine, [1, 0, 1])


def test_entangled_sets_are_warned_of():
    n = 12
    found = Gradients(np.ones(n), 4 * np.ones(n), np.full(n, 1.9))
    measured = judge_gradients(pairs_of(n), found, np.arange(n))
    assert [f.code for f in measured.findings] == ["PB420"]
    assert next(e for e in measured.estimates if e.name == "entanglement").value == 1
    calm = judge_gradients(pairs_of(n), Gradients(np.ones(n), np.ones(n), np.zeros(n)), np.arange(n))
    assert not calm.findings
