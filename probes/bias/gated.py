"""Which side the model prefers, as a part of the gate, with the flip budget from the same scores."""

from __future__ import annotations

from ...records import Measured, together
from ..gated import Cost, Effort, Work, part_of
from .sizes import sizes

TEMPLATE_PAIRS, TEMPLATES = 256, 3  # scored again: two other templates and an empty prompt


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """The pairs of the first look once, some of them again in other templates."""
    first = sizes(n, effort.looks)[0] if n else 0
    again, last = min(n, TEMPLATE_PAIRS), sizes(n, effort.looks)[-1]
    more = f"{first:,} pairs scored, up to {last:,} where that settles nothing"
    what = f"every pair scored; {again} in {TEMPLATES} more templates" if first == n else more
    return Cost("bias", first + TEMPLATES * again, 0, what)


def measure(work: Work) -> Measured:
    """Both sides scored in several templates, and the flip budget from the same scores."""
    from ..clusters import prompt_clusters
    from ..half import half_finding
    from ..negatives.flip_budget import flip_budget
    from .run import BiasOptions, measure_bias_in

    request = work.request
    limit = request.limits.get("gap")
    options = BiasOptions(
        request.alpha, request.bound, seed=request.seed, looks=request.effort.looks,
        limit=None if limit is None or isinstance(limit, bool) else float(limit),
    )  # fmt: skip
    measured = measure_bias_in(work.scoring, options)
    work.bias, work.scores, work.rows = measured.run.bias, measured.scores, measured.rows
    lines = set(measured.scores.lines)
    clusters = prompt_clusters(pair for pair in request.source.pairs() if pair.line in lines)
    budget = flip_budget(
        measured.scores, beta=request.beta, alpha=measured.alpha, clusters=clusters, seed=request.seed
    )
    looks = request.effort.looks
    # Of a larger file: that this one has no more pairs says nothing of how many would be read.
    reads = [{"probe": "bias", "most": max(looks[-1], sizes(work.pairs, looks)[-1])}] if looks else []
    told = Measured(findings=half_finding(work.session), details={"reads": reads})
    return together([part_of(measured.run), Measured(budget.estimates, budget.findings), told])
