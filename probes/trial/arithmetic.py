"""What bfloat16 products with frozen weights do to the scores that a trial starts from."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Finding
from ...scoring.rounding import WIDENED as WIDENED  # the text of PB506 names it
from ...scoring.rounding import Rounding, rounding
from ...training.data import Example

COMPARED = 24  # pairs of the training half that are scored both ways


def compared(exact: Sequence[Example], half: Sequence[Example]) -> Rounding:
    """The same pairs, scored both ways."""
    return rounding([_gap(item) for item in exact], [_gap(item) for item in half])


def _gap(item: Example) -> float:
    """Mean log p per token of chosen less rejected under the starting model."""
    assert item.reference is not None
    return item.reference[0] / item.tokens[0] - item.reference[1] / item.tokens[1]


def stated(found: Rounding | None) -> Finding | None:
    """PB506 trial in bfloat16: products with weights that are not trained were made in bfloat16.

    Means: The short runs, their scores and their samples take the faster arithmetic that this processor has
    for the frozen weights alone; activations, the adapter, its gradients and the head are float32. Some
    pairs of the training half were scored both ways, and the difference widens the interval of their mean gap
    by {WIDENED:.0%} at most; where it would widen it more, the trial stays in float32.
    Why: The short runs are most of what a gate costs.
    Do: Nothing. `--dtype float32` makes everything in float32.
    Source: `bench/gate.py`; the difference is measured in every run.
    """
    if found is None or not found.taken:
        return None
    return Finding(
        "PB506", "info", f"the trial multiplied by frozen weights in bfloat16: {found.told()}",
        "Nothing to do; --dtype float32 makes everything in float32.",
    )  # fmt: skip
