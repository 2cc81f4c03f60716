"""The negatives as two parts of the gate: what gives the rejected side away, and what a step displaces."""

from __future__ import annotations

from typing import Any

from ...records import Measured, together
from ..gated import Cost, Work

STATES_PAIRS = 300
GRADIENT_PAIRS = 32


def cost(n: int, trial_pairs: int) -> Cost:
    """The texts alone, and the model's states."""
    read = min(n, STATES_PAIRS)
    return Cost("negatives", 2 * read, 0, f"text alone; {read} pairs' states with and without the prompt")


def displacement_cost(n: int, trial_pairs: int) -> Cost:
    """The gradients of some pairs."""
    return Cost("displacement", 0, min(n, GRADIENT_PAIRS), "the gradient of each side")


def measure(work: Work) -> Measured:
    """What the rejected side gives away, what can be learnt from it, who wrote it."""
    return _measured(work, gradients=0)


def measure_displacement(work: Work) -> Measured:
    """Whether a DPO step on a pair would lower its own chosen response."""
    return _measured(work, gradients=GRADIENT_PAIRS, surface=False, states=False)


def _measured(work: Work, **chosen: Any) -> Measured:
    from .run import measure_in
    from .work import NegativesOptions

    request = work.request
    options = NegativesOptions(alpha=request.alpha, seed=request.seed, plan=None, **chosen)
    return together(measure_in(work.session, options).parts)
