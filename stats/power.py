"""How many pairs a question needs. Exact where the test is exact; None where no usable number would do.

The counts are of independent pairs (clusters). "Needed" means the least number whose power reaches `power`;
exact tests are not monotone, so one more pair can need a few more after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import special, stats

LARGEST_SAMPLE = 10_000_000


def least_clusters(alpha: float = 0.05) -> int:
    """The least number whose unanimous signs reach alpha two-sided: 2·2⁻ⁿ ≤ alpha, so 6 at .05."""
    return max(1, math.ceil(1 - math.log2(alpha) - 1e-12))


def sign_test_power(n: int, rate: float, alpha: float = 0.05) -> float:
    """Chance that the exact two-sided sign test of n pairs rejects ½ when one side's true rate is `rate`."""
    limit = _sign_limit(n, alpha)
    if limit < 0:
        return 0.0
    return float(stats.binom.cdf(limit, n, rate) + stats.binom.cdf(limit, n, 1 - rate))


@cache
def _sign_limit(n: int, alpha: float) -> int:
    """The most losses (or wins) at which 2·P(≤ k) ≤ alpha still holds; −1: never."""
    limit = int(stats.binom.ppf(alpha / 2, n, 0.5))
    while limit >= 0 and 2 * stats.binom.cdf(limit, n, 0.5) > alpha:
        limit -= 1
    return limit


def _scan(found: Callable[[int], float], power: float, guess: float, most: int) -> int | None:
    """The least n with found(n) ≥ power. Sawtooth: start at half the normal guess, go up one by one."""
    if guess > most:
        return None
    n = max(1, int(guess / 2)) if guess < 400 else int(guess * 0.93)
    while n <= most and found(n) < power:
        n += 1
    return n if n <= most else None


def t_power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Chance that a t test of n values rejects in the true direction; `effect` in standard deviations."""
    if n < 2:
        return 0.0
    limit = special.stdtrit(n - 1, 1 - alpha / 2)
    return 1.0 - float(special.nctdtr(n - 1, abs(effect) * math.sqrt(n), limit))


def t_pairs(effect: float, *, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Values that a two-sided t test needs to see a mean `effect` standard deviations from its limit."""
    return _least(lambda n: t_power(n, effect, alpha), power) if effect else None


def tost_power(n: int, slack: float, alpha: float = 0.05, *, offset: float = 0.0) -> float:
    """Chance that TOST calls a mean `offset` neutral within ± `slack`, both in standard deviations.

    Exact for normal values: given the sample's standard deviation the mean must fall in an interval, and the
    standard deviation is averaged over 400 quantiles of its chi distribution.
    """
    if n < 2:
        return 0.0
    quantiles = (np.arange(400) + 0.5) / 400
    spread = np.sqrt(2 * special.gammaincinv((n - 1) / 2, quantiles) / (n - 1))
    room = slack * math.sqrt(n) - special.stdtrit(n - 1, 1 - alpha) * spread
    shift = offset * math.sqrt(n)
    return float(np.where(room > 0, special.ndtr(room - shift) - special.ndtr(-room - shift), 0).mean())


def tost_pairs(slack: float, *, offset: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Values that TOST needs to call a mean `offset` neutral within ± `slack` (standard deviations)."""
    if slack <= abs(offset):
        return None
    return _least(lambda n: tost_power(n, slack, alpha, offset=offset), power)


def _least(found: Callable[[int], float], power: float) -> int | None:
    """The least n ≤ ten million with found(n) ≥ power, for a power that rises with n."""
    high = 2
    while found(high) < power:
        high *= 2
        if high > LARGEST_SAMPLE:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def share_above_power(n: int, rate: float, null: float, alpha: float = 0.05) -> float:
    """Chance that n trials of true `rate` reject "share ≤ null" in the exact one-sided binomial test."""
    least = int(stats.binom.isf(alpha, n, null)) + 1  # the fewest successes with P(≥ k | null) ≤ alpha
    return float(stats.binom.sf(least - 1, n, rate))


def share_above_trials(
    rate: float, null: float, *, power: float = 0.8, alpha: float = 0.05, most: int = 100_000
) -> int | None:
    """Trials that show a share above `null` when `rate` is true: .9 above .8 needs 82, .95 needs 30."""
    if rate <= null:
        return None
    reach = special.ndtri(1 - alpha) * math.sqrt(null * (1 - null))
    reach += special.ndtri(power) * math.sqrt(rate * (1 - rate))
    guess = (float(reach) / (rate - null)) ** 2
    return _scan(lambda n: share_above_power(n, rate, null, alpha), power, guess, most)
