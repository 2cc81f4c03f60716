"""How many pairs must DPO turn round, and how far below its start must the loss fall for each?

With c = log π_ref(rejected) − log π_ref(chosen), summed as the trainer sums it, DPO ranks a pair right only
once that pair's loss is at most −log σ(βc) (Chen et al. 2024, "Preference learning algorithms do not learn
preference rankings", theorem 4.1). At βc = 0 that is ln 2, where training starts; at βc = 1 it is 0.313.
H0: at most half of the pairs have βc > 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import CannotMeasure, ProbeError
from ...number_format import count, interval, number
from ...records import Estimate, Finding
from ...scoring.scores import PairScore
from ...stats.resampling import tested_share
from ...stats.statistics import Floats, Labels
from ...training.methods import method_of

UNFLIPPABLE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FlipBudget:
    """The shares `flip_budget_share` (βc > 1) and `misranked_share` (c > 0), and what follows from them."""

    estimates: tuple[Estimate, ...]
    findings: tuple[Finding, ...]


def flip_budget(
    scores: Sequence[PairScore],
    *,
    beta: float = 0.1,
    alpha: float = 0.05,
    clusters: Labels | None = None,
    seed: int = 0,
) -> FlipBudget:
    """The share of pairs whose order DPO with this `beta` must turn by more than 1/beta nats, p one-sided.

    Raises `ProbeError` without pairs or with beta ≤ 0, `CannotMeasure` for scores not finite.
    """
    if not scores or not 0 < beta < math.inf:
        raise ProbeError(f"flip budget: {len(scores)} pairs, beta {beta:g}. Needs a pair and a beta above 0.")
    excess = reference_excess(scores)
    budget = tested_share(
        beta * excess > 1, clusters, name="flip_budget_share", alternative="greater", alpha=alpha, seed=seed
    )
    wrong = tested_share(excess > 0, clusters, name="misranked_share", alpha=alpha, seed=seed)
    return FlipBudget((budget, wrong), tuple(over_budget(scores, excess, budget, beta, alpha)))


def budget_beta(method: str, beta: float) -> float | None:
    """The beta to ask for: None where the method's loss has no reference model, or beta cannot train."""
    return beta if method_of(method).reference and 0 < beta < math.inf else None


def reference_excess(scores: Sequence[PairScore]) -> Floats:
    """c of each pair in nats, shape [n], end tokens counted where both sides have one."""
    excess = np.array([_excess(score) for score in scores], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(excess))
    if bad.size:
        first = scores[bad[0]]
        raise CannotMeasure(
            f"pair {first.id} (line {first.line}): its score is not finite, and {bad.size - 1} more. "
            "Find out why the model gave none."
        )
    return excess


def _excess(score: PairScore) -> float:
    chosen, rejected = score.chosen, score.rejected
    excess = rejected.logps - chosen.logps
    if chosen.end_logp is not None and rejected.end_logp is not None:
        excess += rejected.end_logp - chosen.end_logp
    return excess


def needed_loss(beta: float, excess: float) -> float:
    """−log σ(βc): the loss under which DPO ranks the pair right."""
    return float(np.logaddexp(0.0, -beta * excess))


def over_budget(
    scores: Sequence[PairScore], excess: Floats, budget: Estimate, beta: float, alpha: float
) -> Iterator[Finding]:
    """PB120 flip budget: most pairs start so far the wrong way round that DPO will not turn them.

    Means: The reference gives the rejected response more than 1/beta nats of summed log-prob over the chosen
    one, in significantly more than half of the pairs. DPO ranks such a pair right only once its own loss is
    under −log σ(βc) < 0.313.

    Why: The theorem is exact. Most runs end at mean losses above that, so these pairs stay mis-ranked while
    the accuracy against the reference rises; the paper saw fewer than one mis-ranked pair in ten flip.

    Do: Do not expect the tuned model to write the chosen side. Train on it first (SFT), which moves the
    reference; or use negatives from the model itself, retrieval, or a system prompt.

    Source: Chen et al. 2024, theorem 4.1; half of the pairs and βc = 1 are conventions.
    """
    if budget.p is None or budget.p > alpha or budget.value is None:
        return
    order = np.argsort(-excess, kind="stable")[:UNFLIPPABLE_SHOWN]
    hits, worst = round(budget.value * budget.n), needed_loss(beta, float(excess[order[0]]))
    spread = f"{number(budget.value, 'share')} {interval(budget.low, budget.high, 'share')}"
    yield Finding(
        "PB120",
        "warning",
        f"{hits:,} of {count(budget.n, 'pair')} ({spread}) rank the chosen side first only when their DPO "
        f"loss is under {needed_loss(beta, 1 / beta):.2f} at beta {beta:g}; the worst needs {worst:.2g}",
        "Train on the chosen side first (SFT), or use negatives from the model itself.",
        lines=tuple(line for i in order if (line := scores[i].line)),
        estimate=budget,
        worst_pairs=tuple(scores[i].id for i in order),
    )
