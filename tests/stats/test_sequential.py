"""The anytime-valid sign test against its formula, its martingale and a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from probe.stats.sequential import SignSequence, log_e, sign_sequence, win_rate_limits

COUNTS = st.integers(0, 60)


def test_first_steps_by_hand():
    """E after one win: 2·B(3/2, 1/2)/B(1/2, 1/2) = 2·½ = 1; after two: 4·B(5/2, 1/2)/π = 4·3/8 = 1.5."""
    assert np.exp(log_e([1, 2, 1], [0, 0, 1])) == pytest.approx([1.0, 1.5, 0.5])


@given(COUNTS, COUNTS)
def test_e_is_the_jeffreys_mixture(wins, losses):
    def integrand(angle: float) -> float:  # rate = sin² angle makes Jeffreys' prior uniform in the angle
        rate = math.sin(angle) ** 2
        return (2 * rate) ** wins * (2 * (1 - rate)) ** losses * 2 / math.pi

    mixture = integrate.quad(integrand, 0, math.pi / 2, epsabs=0, epsrel=1e-9, limit=200)[0]
    assert float(log_e(wins, losses)) == pytest.approx(math.log(mixture), abs=1e-6)


@given(COUNTS, COUNTS, st.floats(0.05, 0.95))
def test_e_is_a_martingale_under_its_own_rate(wins, losses, rate):
    """rate·E(win) + (1 − rate)·E(loss) = E, which is why stopping cannot raise its mean."""
    now = float(np.exp(log_e(wins, losses, rate)))
    then = np.exp(log_e([wins + 1, wins], [losses, losses + 1], rate))
    assert rate * then[0] + (1 - rate) * then[1] == pytest.approx(now, rel=1e-9)


@given(COUNTS, COUNTS)
def test_the_interval_holds_exactly_the_rates_not_rejected(wins, losses):
    low, high = win_rate_limits(wins, losses)
    rates = np.linspace(0.001, 0.999, 333)
    kept = np.array([float(log_e(wins, losses, rate)) < math.log(20) for rate in rates])
    assert (kept == ((rates > low) & (rates < high))).all()


def test_unanimous_wins_stop_at_seven():
    """E₇ = 2⁷·B(7½, ½)/π = 26.8 is the first above 20; E₆ = 14.4 is not."""
    state = sign_sequence(np.ones(7))
    assert state.preferred()
    assert not sign_sequence(np.ones(6)).preferred()


def test_ties_are_looked_at_but_carry_no_sign():
    gaps = np.array([1, 0, 1, 0, 1, 1, 1, 1, 1.0])
    assert (sign_sequence(gaps).wins, sign_sequence(gaps).losses) == (7, 0)


def test_neutrality_can_be_settled():
    gaps = np.tile([1.0, -1.0], 600)
    assert sign_sequence(gaps).neutral(0.1)
    assert not sign_sequence(gaps[:100]).neutral(0.1)
    assert not sign_sequence([]).neutral(0.1)


def test_swapping_sides_mirrors_the_state():
    gaps = np.random.default_rng(0).normal(0.2, 1, 200)
    one, other = sign_sequence(gaps), sign_sequence(-gaps)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))
    assert other.p == pytest.approx(one.p)


def test_an_early_crossing_is_kept_in_p():
    """Forty wins cross; two hundred losses later the state has moved, the evidence against ½ then has not."""
    state = sign_sequence(np.concatenate([np.ones(40), -np.ones(40)]))
    assert not state.preferred()
    assert state.p < 0.001


@pytest.mark.parametrize("rate", [0.0001, 0.9999])
def test_extreme_counts_keep_their_limits(rate):
    wins = int(1_000_000 * rate)
    low, high = win_rate_limits(wins, 1_000_000 - wins)
    assert low < rate < high
    assert high - low < 1e-3


def test_nothing_seen_is_no_evidence_and_leaves_every_rate():
    assert sign_sequence([0.0, 0.0]) == SignSequence(0, 0, 0.0, 1.0, 0.0, 1.0)


def test_neutral_to_the_end_of_the_room_and_preferred_from_one_over_alpha():
    """Both ends of the interval may lie on the end of the room; E may equal 1/alpha."""
    assert SignSequence(4, 4, 0.0, 1.0, 0.25, 0.75).neutral(0.25)
    assert not SignSequence(4, 4, 0.0, 1.0, 0.25, 0.75).neutral(0.2)
    assert not SignSequence(4, 4, 0.0, 1.0, 0.3, 0.75).neutral(0.24)
    assert not SignSequence(4, 4, 0.0, 1.0, 0.25, 0.7).neutral(0.24)
    assert SignSequence(9, 0, -math.log(0.05), 0.05, 0.5, 1.0).preferred()
    assert not SignSequence(9, 0, -math.log(0.05), 0.05, 0.5, 1.0).preferred(0.04)


def test_the_level_is_five_in_a_hundred_unless_told():
    state = sign_sequence([1.0, 1.0, -1.0])
    assert (state.low, state.high) == win_rate_limits(2, 1) == win_rate_limits(2, 1, 0.05)
    assert win_rate_limits(2, 1, 0.01)[0] < state.low
