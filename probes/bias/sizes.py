"""How many pairs each look at a file takes. No torch: the plan asks before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

FEW_MORE = 1.25  # up to so many times a look's size a file is read to its end instead


def sizes(n: int, looks: Sequence[int]) -> tuple[int, ...]:
    """Pairs after each look at a file of `n`: none beyond the file's end or for a few pairs more."""
    kept = tuple(size for size in looks if FEW_MORE * size < n)
    return kept if kept and kept[-1] == looks[-1] else (*kept, n)
