"""How much a share of pairs changed between two measurements of the same pairs."""

from __future__ import annotations

import math
from statistics import NormalDist

from ..records import Estimate
from .statistics import share


def share_change(
    up: int, down: int, n: int, *, name: str, alpha: float = 0.05, group: str = "all"
) -> Estimate:
    """The change (up − down)/n of a share, where `up` of `n` independent pairs turned one way, `down` back.

    p: McNemar's exact test. The interval is the hull of two, so that it neither excludes a change of 0 that
    the test does not, nor takes the number of turned pairs for certain: that of the share among turned pairs
    (Clopper–Pearson), and Bonett and Price's with one pair more of each kind. Raises `ValueError` without a
    pair. Source: Bonett and Price 2012; compared in Fagerland, Lydersen, Laake 2014.
    """
    if n < 1:
        raise ValueError("a change of share needs at least one pair")
    turned = share(up, up + down, name="turned", alpha=alpha)
    ends = [_of_turned(theta, up + down, n) for theta in (turned.low, turned.high)]
    low, high = bonett_price(up, down, n, alpha)
    method = f"exact McNemar on {up + down} turned pairs"
    p = 1.0 if turned.p is None else turned.p
    return Estimate(
        name, (up - down) / n, min(low, ends[0]), max(high, ends[1]), n, p, method, "share", group
    )  # fmt: skip


def _of_turned(theta: float | None, turned: int, n: int) -> float:
    return 0.0 if theta is None else (2 * theta - 1) * turned / n


def bonett_price(up: int, down: int, n: int, alpha: float) -> tuple[float, float]:
    """The 1 − alpha interval of a paired difference of shares: Wald after one pair more of each kind."""
    one, other = (up + 1) / (n + 2), (down + 1) / (n + 2)
    centre = one - other
    width = -NormalDist().inv_cdf(alpha / 2) * math.sqrt((one + other - centre**2) / (n + 2))
    return max(-1.0, centre - width), min(1.0, centre + width)
