"""Lines of which mutants survived: a promotion's Holm family, the degrees of freedom of clustered shares."""

import math

import numpy as np
import pytest
from scipy import special

from probe.gate.promote.changes import QUANTITIES, Paired, quantity_changes
from probe.gate.promote.claims import ChangeClaim, allowances, claims_of, judge_claims
from probe.stats.answers import distinct, distinct_change
from probe.stats.statistics import clopper_pearson, share, share_clustered, summarise


class Stub(ChangeClaim):
    """A claim whose own test has this p; worse or not as told."""

    __slots__ = ("_p", "_worse")

    def __init__(self, change, p, worse):
        object.__setattr__(self, "change", change)
        object.__setattr__(self, "allowance", 0.1)
        object.__setattr__(self, "_p", p)
        object.__setattr__(self, "_worse", worse)

    def p(self):
        return self._p

    def worse(self):
        return self._worse


def change():
    values = np.linspace(-1, 1, 12)
    return quantity_changes(
        Paired(QUANTITIES["gap"], values, values + 0.1, [None] * 12, list(range(12))), 0.05
    )[0]


def results(*claims, alpha=0.05):
    return [c.result for c in judge_claims([Stub(change(), p, worse) for p, worse in claims], alpha)]


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20])
def test_the_family_of_a_promotion_is_every_claim(k):
    """One group is worse with p just under and just over alpha / k, the other k − 1 are fine."""
    good = [(0.001, False)] * (k - 1)
    assert results((0.05 / k * 0.999, True), *good)[0] == "fail"
    assert results((0.05 / k * 1.001, True), *good)[0] == "inconclusive"


def test_the_family_steps_down_over_the_claims_that_are_worse():
    """Holm: the smallest p is held against alpha/4, the next against alpha/3, in whatever order they come."""
    steps = [(0.05 / 4 * 0.99, True), (0.05 / 3 * 0.99, True), (0.05 / 2 * 0.99, True), (0.049, True)]
    assert results(*steps) == results(*steps[::-1]) == ["fail"] * 4
    steps[1] = (0.05 / 3 * 1.01, True)
    assert results(*steps) == ["fail", "inconclusive", "inconclusive", "inconclusive"]


def test_a_good_claim_is_not_corrected_and_never_counts_as_evidence_of_worse():
    """An intersection–union test: each good claim is held against alpha itself."""
    assert results((0.0499, False), (0.0499, False), (0.0501, False)) == ["pass", "pass", "inconclusive"]
    assert results((1e-9, False), (0.02, True)) == ["pass", "fail"]  # 0.02 ≤ .05/2; the good p is no member
    assert results((1e-9, False), (0.03, True)) == ["pass", "inconclusive"]
    assert results((None, True), (None, False)) == ["inconclusive", "inconclusive"]


def test_claims_without_an_allowance_are_no_members():
    assert claims_of([change()], allowances(["gap=0.1"], 0.3))[0].allowance == 0.1
    assert len(claims_of([change()], allowances([], 0.3))) == 1


CLUSTERED = [
    (np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1], float), [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4]),
    (np.array([1, 0, 1, 1, 1, 1, 0, 1], float), [0, 0, 1, 1, 2, 2, 3, 3]),
    (np.array([0, 0, 0, 1, 1, 1, 1, 0, 1, 1], float), [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]),
]


@pytest.mark.parametrize(("hits", "clusters"), CLUSTERED)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_effective_number_of_a_clustered_share_by_hand(hits, clusters, alpha):
    """Korn and Graubard: p(1 − p)/se², times (t of n − 1 over t of C − 1)², at most n."""
    n, c = len(hits), len(set(clusters))
    p, se = hits.mean(), summarise(hits, clusters).se
    times = (special.stdtrit(n - 1, 0.975) / special.stdtrit(c - 1, 0.975)) ** 2
    assert times < 1
    effective = min(n, p * (1 - p) / se**2 * times)
    estimate = share_clustered(hits, clusters, name="s", alpha=alpha)
    low, high = clopper_pearson(p * effective, effective, alpha)
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert estimate.n == n and estimate.value == pytest.approx(p)
    wider = share_clustered(hits, clusters, name="s", alpha=alpha, spread=1.5)
    effective /= 1 + 0.5 * 4 * p * (1 - p)
    assert (wider.low, wider.high) == pytest.approx(clopper_pearson(p * effective, effective, alpha))


def test_a_share_of_agreeing_clusters_counts_each_once():
    estimate = share_clustered(np.ones(30), [i % 5 for i in range(30)], name="s")
    assert (estimate.low, estimate.high) == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    one = share_clustered(np.ones(30), [0] * 30, name="s")
    assert (one.value, one.low, one.high, one.p) == (1.0, None, None, None)
    assert share_clustered([], [], name="s").value is None
    assert math.isfinite(estimate.value)


@pytest.mark.parametrize(("base", "tuned"), [(["ab"], ["abcd"]), (["abcd"], ["ab"]), (["ab"], ["ab"])])
def test_variety_of_phrases_that_one_model_never_wrote_has_no_change(base, tuned):
    """Answers shorter than a phrase of three: one side or both have none."""
    assert distinct_change(base, tuned, 3) is None
    assert distinct_change(["abcd"], ["abcd"], 3).value == 0


def test_two_clusters_are_the_fewest_with_an_interval():
    hits = np.array([1, 0, 1, 1, 1, 0], float)
    assert share_clustered(hits, [0, 0, 0, 1, 1, 1], name="s").low is not None
    assert share_clustered(hits, [0] * 6, name="s").low is None


def test_the_jackknife_leaves_out_each_prompt_of_both_models():
    """Against the definition, on answers of different lengths."""
    base = ["abab", "ca", "ddd", "abc", "fghij"]
    tuned = ["xyz", "xx", "qqqq", "abcdabcd", "fg"]
    found = distinct_change(base, tuned, 2)
    left = []
    for i in range(5):
        kept = [[text for k, text in enumerate(side) if k != i] for side in (base, tuned)]
        left.append(distinct(kept[1], 2) - distinct(kept[0], 2))
    reach = special.stdtrit(4, 0.975) * math.sqrt(4 / 5 * np.square(np.array(left) - np.mean(left)).sum())
    assert found.value == pytest.approx(distinct(tuned, 2) - distinct(base, 2))
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))


def test_no_trial_is_no_share():
    found = share(0, 0, name="s")
    assert (found.value, found.low, found.high, found.n, found.p) == (None, None, None, 0, None)
