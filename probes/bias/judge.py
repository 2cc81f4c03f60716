"""Which side does the model already prefer, by how much, and how sure is that?

H0, per group: the mean gap (nats/token, chosen − rejected) lies within ± bound. Rejecting it takes the
interval wholly beyond the bound and the exact sign-flip test; rejecting the opposite (TOST) makes "neutral";
neither makes "undetermined". The evidence is gathered in `bias_evidence`, judged in `bias_verdict`, told in
`bias_findings`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import ProbeError
from ...records import BiasRow, Estimate, Finding
from ...scoring.scores import PairScore
from ...scoring.table import ScoreTable
from ...shared_limits import BOUND
from ...stats.statistics import Labels, share
from .evidence import BiasSettings, GapArrays, GroupEvidence, cases, make_table
from .findings import bias_findings
from .verdict import judge_groups

PLOTTED_PAIRS = 10_000  # pairs that a run carries for its plots


@dataclass(frozen=True, slots=True)
class BiasResult:
    """What `judge_bias` found; `details["pairs"]` has a row per pair, in the order of the scores."""

    estimates: tuple[Estimate, ...]
    rows: tuple[BiasRow, ...]
    findings: tuple[Finding, ...]
    details: Mapping[str, Any]


def judge_bias(
    scores: Sequence[PairScore],
    *,
    sides: tuple[str, str] = ("chosen", "rejected"),
    alpha: float = 0.05,
    bound: float = BOUND,
    clusters: Labels | None = None,
    by_template: Mapping[str, Sequence[PairScore]] | None = None,
    neutral: Sequence[PairScore] | None = None,
    noise_floor: float = 0.0,
    seed: int = 0,
) -> BiasResult:
    """Estimates, verdicts and findings on the preference that these scores show.

    `clusters` labels pairs that depend on each other (`prompt_clusters`; None: each stands alone).
    `by_template` and `neutral` hold the same pairs, or a sample of them matched by line, scored in other
    templates and under a neutral premise. `bound` and `noise_floor` are nats/token; gaps no larger than the
    floor count as ties.
    Raises `ProbeError` without pairs or for settings out of range, `CannotMeasure` for scores not finite.
    """
    settings = BiasSettings(sides, alpha, bound, noise_floor, seed)
    _check(scores, settings)
    scores = scores if isinstance(scores, ScoreTable) else ScoreTable(scores)
    table = make_table(scores, by_template or {}, neutral, clusters)
    evidence = cases(scores, table, settings)
    rows = judge_groups(evidence, settings)
    return BiasResult(
        tuple(estimate for case in evidence for estimate in _estimates(case)),
        tuple(rows),
        tuple(bias_findings(evidence, rows, settings, scores)),
        {"pairs": _pair_rows(scores, table, seed)},
    )


def _check(scores: Sequence[PairScore], settings: BiasSettings) -> None:
    alpha, bound, floor = settings.alpha, settings.bound, settings.noise_floor
    if not scores:
        raise ProbeError(
            "bias: there are no pairs to measure. Give at least one; six can settle a preference."
        )
    if not 0 < alpha < 0.5:
        raise ProbeError(f"alpha is {alpha:g}. Give a number between 0 and 0.5, such as 0.05.")
    if not (0 <= bound < math.inf and 0 <= floor < math.inf):
        raise ProbeError(f"bound is {bound:g}, noise floor {floor:g}. Give finite nats/token, at least 0.")


def _estimates(case: GroupEvidence) -> list[Estimate]:
    estimates = [case.wins, case.gap, *case.others.values(), case.tost]
    if case.corrected is not None:
        estimates.append(case.corrected)
    if case.check.low is not None:
        limits = {"low": case.check.low, "high": case.check.high}
        estimates.append(
            replace(case.gap, name="gap_bootstrap", p=None, method=case.check.method, **limits)  # type: ignore[arg-type]
        )
    if case.ties:
        ties = share(case.ties, case.mean.n, name="tie_share", group=case.group)
        estimates.append(replace(ties, p=None, method="Clopper–Pearson"))
    return estimates


def _pair_rows(scores: ScoreTable, table: GapArrays, seed: int) -> list[dict[str, Any]]:
    """A row per pair for plots; of a long file a uniform sample, since all are in `scores.jsonl`."""
    n = len(scores)
    drawn = (
        np.random.default_rng(seed).choice(n, PLOTTED_PAIRS, replace=False)
        if n > PLOTTED_PAIRS
        else np.arange(n)
    )
    return [_pair_row(scores[i], table, i) for i in np.sort(drawn).tolist()]


def _pair_row(score: PairScore, table: GapArrays, i: int) -> dict[str, Any]:
    return {
        "id": score.id,
        "line": score.line,
        "group": score.group,
        "cluster": int(table.codes[i]),
        "gap": float(table.gap[i]),
        "gap_sum": float(table.other["gap_sum"][0][i]),
        "gap_byte": float(table.other["gap_byte"][0][i]),
        "chosen_tokens": score.chosen.tokens,
        "rejected_tokens": score.rejected.tokens,
    }
