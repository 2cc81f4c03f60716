"""Which side the model prefers, as a part of the gate, with the flip budget from the same scores."""

from __future__ import annotations

from ...records import Measured, together
from ..gated import Cost, Work, part_of

TEMPLATE_PAIRS, TEMPLATES = 256, 3  # scored again: two other templates and an empty prompt


def cost(n: int, trial_pairs: int) -> Cost:
    """Every pair once, some of them again in other templates."""
    scored = min(n, TEMPLATE_PAIRS)
    what = f"every pair scored; {scored} in {TEMPLATES} more templates"
    return Cost("bias", n + TEMPLATES * scored, 0, what)


def measure(work: Work) -> Measured:
    """Both sides scored in several templates, and the flip budget from the same scores."""
    from ..clusters import prompt_clusters
    from ..negatives.flip_budget import flip_budget
    from .run import BiasOptions, measure_in

    request = work.request
    measured = measure_in(work.session, BiasOptions(request.alpha, request.bound, seed=request.seed))
    work.bias, work.scores, work.rows = measured.run.bias, measured.scores, measured.rows
    lines = set(measured.scores.lines)
    clusters = prompt_clusters(pair.prompt for pair in request.source.pairs() if pair.line in lines)
    budget = flip_budget(
        measured.scores, beta=request.beta, alpha=request.alpha, clusters=clusters, seed=request.seed
    )
    return together([part_of(measured.run), Measured(budget.estimates, budget.findings)])
