"""The negatives as a part of the gate: what gives the rejected side away, and what can be learnt from it."""

from __future__ import annotations

from ...records import Measured, together
from ..gated import Cost, Effort, Work


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """The texts alone, and the model's states."""
    read = min(n, effort.states)
    return Cost("negatives", 2 * read, 0, f"text alone; {read} pairs' states with and without the prompt")


def measure(work: Work) -> Measured:
    """What the rejected side gives away, what can be learnt from it, who wrote it."""
    from ..half import half_finding
    from .run import measure_negatives_in
    from .work import NegativesOptions

    request = work.request
    options = NegativesOptions(
        alpha=request.alpha, seed=request.seed, plan=None, ches=False, most=request.effort.states
    )
    parts = measure_negatives_in(work.scoring, options).parts
    return together([*parts, Measured(findings=half_finding(work.session))])


def measure_text(work: Work) -> Measured:
    """What the texts alone show: the part for a model of which there are no states."""
    from .run import measure_texts
    from .work import NegativesOptions

    request = work.request
    options = NegativesOptions(alpha=request.alpha, seed=request.seed)
    return together(measure_texts(request.source, options).parts)
