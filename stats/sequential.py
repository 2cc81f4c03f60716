"""A sign test that may be looked at after every pair and stopped at any time.

The bet against "both sides win equally often" is the mixture of all win rates under Jeffreys' prior. Its
growth E is a likelihood ratio, so under H0 it ever reaches 1/alpha with probability at most alpha (Ville
1939), however often it is looked at. Inverting the same bet against every rate gives a confidence sequence:
one that lies within ½ ± delta settles neutrality as early as a crossing settles a preference.
Sources: Robbins 1970; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize import brentq

from .statistics import Floats, finite


@dataclass(frozen=True, slots=True)
class SignSequence:
    """The state after `wins` and `losses`; ties carry no sign and are not counted.

    `p` is anytime-valid: the chance, under H0, of ever seeing E this large is at most p. `low` and `high`
    hold the true win rate at all times at once with probability 1 − alpha.
    """

    wins: int
    losses: int
    log_e: float
    p: float
    low: float
    high: float

    def preferred(self, alpha: float = 0.05) -> bool:
        """Whether one side's preference is settled: E ≥ 1/alpha."""
        return self.log_e >= -math.log(alpha)

    def neutral(self, delta: float) -> bool:
        """Whether the win rate is settled to lie within ½ ± delta."""
        return 0.5 - delta <= self.low and self.high <= 0.5 + delta


def log_e(wins: npt.ArrayLike, losses: npt.ArrayLike, rate: float = 0.5) -> Floats:
    """log E, elementwise: E = B(½ + S, ½ + n − S) / B(½, ½) / (rate^S (1 − rate)^(n − S)).

    `wins` is S, `losses` n − S; at rate ½ this is 2ⁿ·B(½ + S, ½ + n − S)/B(½, ½).
    """
    won, lost = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    against = special.xlogy(won, rate) + special.xlog1py(lost, -rate)
    return np.asarray(special.betaln(0.5 + won, 0.5 + lost) - special.betaln(0.5, 0.5) - against)


def sign_sequence(gaps: npt.ArrayLike, alpha: float = 0.05) -> SignSequence:
    """The state after these gaps, in the order in which they were looked at: pass one sum a cluster.

    `p` is 1 over the largest E so far, at most 1; the interval is the one of now.
    """
    signs = np.sign(finite(gaps))
    signs = signs[signs != 0]
    won, lost = np.cumsum(signs > 0), np.cumsum(signs < 0)
    path = log_e(won, lost)
    peak = float(path.max(initial=0.0))
    wins, losses = (int(won[-1]), int(lost[-1])) if signs.size else (0, 0)
    low, high = win_rate_limits(wins, losses, alpha)
    now = float(path[-1]) if signs.size else 0.0
    return SignSequence(wins, losses, now, math.exp(-peak), low, high)


def win_rate_limits(wins: int, losses: int, alpha: float = 0.05) -> tuple[float, float]:
    """All rates against which E stays below 1/alpha: the confidence sequence at this moment."""
    limit = -math.log(alpha)

    def excess(rate: float) -> float:
        return float(log_e(wins, losses, rate)) - limit

    peak = wins / max(wins + losses, 1)  # E is least here, and below 1/alpha: alpha < 1
    low = 0.0 if not wins else float(brentq(excess, 1e-300, peak, xtol=1e-12))
    high = 1.0 if not losses else float(brentq(excess, peak, 1 - 1e-16, xtol=1e-12))
    return low, high
