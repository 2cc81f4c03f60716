"""The paired classifier against scikit-learn, and its test against its own promise under the null."""

import numpy as np
import pytest
from scipy import stats

from probe.errors import CannotMeasure
from probe.probes.negatives import classify
from probe.probes.negatives.classify import Separation, gram, separate
from probe.probes.negatives.intervals import accuracy, information, ratio_of_means


def differences(n=40, features=60, shift=0.0, seed=0):
    d = np.random.default_rng(seed).normal(size=(n, features))
    d[:, 0] += shift
    return d


@pytest.mark.parametrize("penalty", classify.PENALTIES)
def test_fit_equals_scikit_learn(penalty):
    """Σ log(1 + e^(−y w·d)) + λ/2‖w‖² is scikit-learn's objective on {d, 1} and {−d, 0} with C = 1/2λ."""
    from sklearn.linear_model import LogisticRegression

    d = differences(shift=0.5) / 8
    labels = np.where(np.arange(len(d)) % 3 == 0, -1.0, 1.0)[:, None]
    ours = d.T @ classify._fit(np.linalg.eigh(d @ d.T), labels, penalty)[:, 0]
    rows = np.concatenate([d, -d]) * np.concatenate([labels, labels])
    truth = LogisticRegression(C=1 / (2 * penalty), fit_intercept=False, tol=1e-12, max_iter=10_000)
    truth.fit(rows, np.repeat([1, 0], len(d)))
    assert np.allclose(ours, truth.coef_[0], atol=5e-3 * np.abs(truth.coef_).max())


def test_leave_one_out_error_equals_refitting():
    """`_choose` rates penalties by closed-form leave-one-out residuals of ridge; here they are refitted."""
    d = differences(n=15, features=4, shift=0.4)
    labels = np.ones((15, 1))
    errors = []
    for penalty in classify.PENALTIES:
        residuals = []
        for out in range(15):
            rest = np.delete(d, out, axis=0)
            w = np.linalg.solve(rest.T @ rest + 4 * penalty * np.eye(4), rest.T @ np.ones(14))
            residuals.append(1 - d[out] @ w)
        errors.append(np.mean(np.square(residuals)))
    chosen = classify._choose([np.linalg.eigh(d @ d.T)], labels)
    assert chosen[0] == np.argmin(errors)


def test_shuffled_labels_stay_within_alpha():
    """200 label shuffles of one set: p ≤ α in no more of them than a binomial of rate α allows (99.9%).

    Exchanging the sides of a pair negates its row and column of the Gram matrix.
    """
    base = gram(differences(n=48, features=30))
    rng = np.random.default_rng(7)
    ps = []
    for _ in range(200):
        signs = rng.choice([-1.0, 1.0], size=48)
        relabelled = base * np.outer(signs, signs)
        ps.append(separate([relabelled], np.arange(48), permutations=99, seed=int(rng.integers(1 << 30))).p)
    for alpha in (0.05, 0.2):
        assert np.count_nonzero(np.array(ps) <= alpha) <= stats.binom.ppf(0.999, 200, alpha)
    assert np.mean(ps) > 0.4  # and it is not merely never small


def test_binomial_test_on_the_same_predictions_would_be_too_sure():
    """Why the null is refitted: out-of-fold hits of different folds depend on each other, so the accuracy
    varies more than a binomial's √(¼/n)."""
    null = separate([gram(differences(n=60, features=400))], np.arange(60), permutations=999).null
    assert null.std() > 1.1 * np.sqrt(0.25 / 60)
    assert abs(null.mean() - 0.5) < 0.01


def test_signal_is_found_and_the_better_features_are_chosen():
    noise, signal = gram(differences(seed=1)), gram(differences(features=3, shift=2.0))
    found = separate([noise, signal], np.arange(40))
    assert found.hits.mean() >= 0.9
    assert found.p == 1 / 200
    assert 0.5 < found.bits.mean() < 1


def test_folds_never_split_a_prompt():
    """Each prompt has two pairs with one difference and random sides: only its own twin could predict it."""
    d = np.repeat(np.eye(30), 2, axis=0) * np.random.default_rng(0).choice([-1, 1], 30).repeat(2)[:, None]
    clusters = np.arange(60) // 2
    assert np.all(separate([d @ d.T], clusters).hits == 0.5)
    assert separate([d @ d.T], np.arange(60)).hits.mean() > 0.5


def test_identical_sides_are_ties():
    found = separate([np.zeros((6, 6))], np.arange(6))
    assert np.all(found.hits == 0.5)
    assert np.all(found.bits == 0)
    assert found.p == 1


def test_one_prompt_cannot_be_cross_validated():
    with pytest.raises(CannotMeasure, match="one prompt"):
        separate([np.eye(3)], np.zeros(3, dtype=np.int64))


def test_bits_by_hand():
    """P = ½ leaves the label open, 0 bits; P = ¾ gives 1 + log₂ ¾ = .585; P = ¼ gives 1 + log₂ ¼ = −1."""
    margins = np.log([1.0, 3.0, 1 / 3])
    bits = Separation(margins, np.arange(3), np.zeros(1)).bits
    assert np.allclose(bits, [0, 1 + np.log2(0.75), -1])


def test_estimates_of_a_separation():
    found = separate([gram(differences(features=3, shift=2.0))], np.arange(40))
    estimate = accuracy("surface_accuracy", found)
    assert estimate.low < estimate.value <= estimate.high <= 1
    assert estimate.p == found.p
    bits = information("surface_information", found)
    assert bits.low < bits.value < bits.high
    half = ratio_of_means("ratio", found.bits / 2, found.bits, found.clusters)
    assert half.value == pytest.approx(0.5)
    assert half.low == pytest.approx(0.5)
    nothing = ratio_of_means("ratio", found.bits, -found.bits, found.clusters)
    assert nothing.value is None
