"""Whether a trial makes the products with frozen weights in bfloat16, and what that does to its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...records import Finding
from ...scoring.processes import world
from ...scoring.session import Session
from ...training.adapted import has_bfloat16_units
from ...training.data import Example

WIDENED = 0.01  # share by which an interval may grow: less than the resampling that makes it differs by


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Gaps of the starting model, in nats/token, by bfloat16 products beside those by float32's.

    `noise`: standard deviation of the difference; `largest`: the largest; `widened`: how much wider the
    difference makes the interval of a mean gap, as a share; `turned`: pairs that are ranked otherwise.
    `taken`: whether the trial went on with bfloat16.
    """

    pairs: int
    noise: float
    largest: float
    widened: float
    turned: int

    @property
    def taken(self) -> bool:
        """Whether the difference is small enough."""
        return self.widened <= WIDENED

    def facts(self) -> dict[str, Any]:
        """For `inputs["trial"]` of `run.json`."""
        return {"products": "bfloat16" if self.taken else "float32", **asdict(self)}


def allowed(session: Session) -> bool:
    """Whether bfloat16 may be tried: no --dtype was given, one process, and a processor with units for it."""
    return not session.exact and world() == 1 and has_bfloat16_units()


def compared(exact: Sequence[Example], half: Sequence[Example]) -> Arithmetic:
    """The same pairs, scored both ways."""
    gaps, others = np.array([_gap(item) for item in exact]), np.array([_gap(item) for item in half])
    apart = others - gaps
    spread = float(gaps.var())
    ratio = float(apart.var()) / spread if spread > 0 else math.inf
    return Arithmetic(
        len(gaps), float(apart.std()), float(np.abs(apart).max(initial=0.0)), math.sqrt(1 + ratio) - 1,
        int(np.sum(np.sign(gaps) != np.sign(others))),
    )  # fmt: skip


def _gap(item: Example) -> float:
    """Mean log p per token of chosen less rejected under the starting model."""
    assert item.reference is not None
    return item.reference[0] / item.tokens[0] - item.reference[1] / item.tokens[1]


def stated(found: Arithmetic | None) -> Finding | None:
    """PB506 trial in bfloat16: products with weights that are not trained were made in bfloat16.

    Means: The short runs, their scores and their samples take the faster arithmetic that this processor has
    for the frozen weights alone; activations, the adapter, its gradients and the head are float32. The pairs
    of the training half were scored both ways, and the difference widens the interval of their mean gap by
    {WIDENED:.0%} at most; where it would widen it more, the trial stays in float32.
    Why: The short runs are most of what a gate costs. Scores of `probe bias`, and all that a gate
    scores outside its trial, are float32 always, so that they can be stored and compared.
    Do: Nothing. `--dtype float32` makes everything in float32.
    Source: `bench/gate.py`; the difference is measured in every run.
    """
    if found is None or not found.taken:
        return None
    turned = f", {found.turned} of {found.pairs} pairs are ranked otherwise" if found.turned else ""
    return Finding(
        "PB506", "info",
        f"the trial multiplied by frozen weights in bfloat16: gaps differ by {found.noise:.2g} nats/token "
        f"from float32's (standard deviation of {found.pairs} pairs; {found.largest:.2g} at most){turned}",
        "Nothing to do; --dtype float32 makes everything in float32.",
    )  # fmt: skip
