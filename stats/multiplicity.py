"""Holm's correction for several tests, without scipy: judging a saved run must not load it."""

from __future__ import annotations

from collections.abc import Sequence


def holm_adjusted(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject those ≤ alpha and the family error is ≤ alpha.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    adjusted, highest = list(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, ps[index] * (len(ps) - rank))
        adjusted[index] = min(highest, 1.0)
    return adjusted
