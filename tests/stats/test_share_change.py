"""The interval of a paired change of shares, by enumeration of every outcome."""

import itertools

import pytest
from scipy import stats

from probe.records import Estimate
from probe.stats.share_change import bonett_price, share_change

N = 14
OUTCOMES = [(up, down) for up in range(N + 1) for down in range(N + 1 - up)]
FOUND = {(up, down): share_change(up, down, N, name="won") for up, down in OUTCOMES}


@pytest.mark.parametrize(("up", "down"), list(itertools.product((0.005, 0.05, 0.2, 0.45), repeat=2)))
def test_the_interval_covers_the_true_change(up, down):
    """Exact coverage: the probability of every table whose interval holds the change that made it."""
    chances = stats.multinomial.pmf([(u, d, N - u - d) for u, d in OUTCOMES], N, [up, down, 1 - up - down])
    held = [FOUND[one].low <= up - down <= FOUND[one].high for one in OUTCOMES]
    assert sum(chances * held) >= 0.95


def test_interval_and_test_agree_on_no_change():
    for one in FOUND.values():
        assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)


def test_exchanged_directions_negate_it():
    for (up, down), one in FOUND.items():
        other = FOUND[down, up]
        assert one.p == pytest.approx(other.p)
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_by_hand():
    """3 of 14 turned, all one way: (4 − 1)/16 ± 1.96·√((5/16 − (3/16)²)/16); McNemar 2/2³."""
    low, high = bonett_price(3, 0, 14, 0.05)
    assert (low, high) == pytest.approx((0.1875 - 0.25805, 0.1875 + 0.25805), abs=1e-4)
    assert FOUND[3, 0].p == 0.25 and FOUND[3, 0].high == pytest.approx(high)
    assert FOUND[0, 0].low < 0 < FOUND[0, 0].high and FOUND[0, 0].p == 1.0


def test_no_pair_is_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        share_change(0, 0, 0, name="won")


@pytest.mark.parametrize(("up", "down"), [(5, 2), (2, 5), (4, 4), (0, 3), (6, 0)])
def test_the_interval_is_the_hull_of_its_two_parents(up, down):
    turned = stats.binomtest(up, up + down).proportion_ci(method="exact")
    exact = [(2 * end - 1) * (up + down) / N for end in (turned.low, turned.high)]
    wald = bonett_price(up, down, N, 0.05)
    assert FOUND[up, down].low == pytest.approx(min(exact[0], wald[0]))
    assert FOUND[up, down].high == pytest.approx(max(exact[1], wald[1]))
    assert FOUND[up, down].p == pytest.approx(stats.binomtest(up, up + down).pvalue)


def test_one_pair_is_enough_for_a_change_and_says_little():
    found = share_change(1, 0, 1, name="won")
    assert (found.value, found.n, found.p) == (1.0, 1, 1.0) and found.low < 0 < found.high


def test_a_change_of_a_share_is_at_most_all_of_it():
    assert bonett_price(5, 0, 5, 0.05)[1] == 1.0 and bonett_price(0, 5, 5, 0.05)[0] == -1.0
    assert all(-1 <= one.low <= one.high <= 1 for one in FOUND.values())


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(-0.14, 1.33, (-0.14, 1.0)), (-1.33, 0.1, (-1.0, 0.1)), (None, None, (None, None))],
)
def test_no_interval_of_a_share_passes_one(low, high, told):
    made = Estimate("ranking_change", 0.15, low, high, 26, None, "", "share")
    assert (made.low, made.high) == told
    gap = Estimate("trial_chosen_change", 1.5, low, high, 26, None, "", "nats/token")
    assert (gap.low, gap.high) == (low, high)
