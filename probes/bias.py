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

from ..errors import ProbeError
from ..pairs.record import Content, text_of
from ..records import BiasRow, Estimate, Finding
from ..scoring.records import PairScore
from .bias_evidence import Case, Settings, Table, cases, make_table
from .bias_findings import findings
from .bias_verdict import judge
from .statistics import Labels, share


@dataclass(frozen=True, slots=True)
class BiasResult:
    """What `bias` found; `details["pairs"]` has a row a pair, in the order of the scores."""

    estimates: tuple[Estimate, ...]
    rows: tuple[BiasRow, ...]
    findings: tuple[Finding, ...]
    details: Mapping[str, Any]


def bias(
    scores: Sequence[PairScore],
    *,
    sides: tuple[str, str] = ("chosen", "rejected"),
    alpha: float = 0.05,
    bound: float = 0.1,
    clusters: Labels | None = None,
    by_template: Mapping[str, Sequence[PairScore]] | None = None,
    neutral: Sequence[PairScore] | None = None,
    noise_floor: float = 0.0,
    seed: int = 0,
) -> BiasResult:
    """Estimates, verdicts and findings on the preference that these scores show.

    `clusters` labels pairs that depend on each other (`prompt_clusters`; None: each stands alone).
    `by_template` and `neutral` hold the same pairs, in the same order, scored in other templates and under a
    neutral premise. `bound` and `noise_floor` are nats/token; gaps no larger than the floor count as ties.
    Raises `ProbeError` without pairs or for settings out of range, `CannotMeasure` for scores not finite.
    """
    settings = Settings(sides, alpha, bound, noise_floor, seed)
    _check(scores, settings)
    table = make_table(scores, by_template or {}, neutral, clusters)
    evidence = cases(scores, table, settings)
    rows = judge(evidence, settings)
    return BiasResult(
        tuple(estimate for case in evidence for estimate in _estimates(case)),
        tuple(rows),
        tuple(findings(evidence, rows, settings, scores)),
        {"pairs": _pair_rows(scores, table)},
    )


def prompt_clusters(prompts: Sequence[Content | None]) -> list[str | int]:
    """A label a pair: its prompt's text, or its own position where there is none (minimal pairs)."""
    return [text_of(prompt) or i for i, prompt in enumerate(prompts)]


def _check(scores: Sequence[PairScore], settings: Settings) -> None:
    alpha, bound, floor = settings.alpha, settings.bound, settings.noise_floor
    if not scores:
        raise ProbeError(
            "bias: there are no pairs to measure. Give at least one; six can settle a preference."
        )
    if not 0 < alpha < 0.5:
        raise ProbeError(f"alpha is {alpha:g}. Give a number between 0 and 0.5, such as 0.05.")
    if not (0 <= bound < math.inf and 0 <= floor < math.inf):
        raise ProbeError(f"bound is {bound:g}, noise floor {floor:g}. Give finite nats/token, at least 0.")


def _estimates(case: Case) -> list[Estimate]:
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


def _pair_rows(scores: Sequence[PairScore], table: Table) -> list[dict[str, Any]]:
    sums, bytewise = (table.other[name][0].tolist() for name in ("gap_sum", "gap_byte"))
    return [
        {
            "id": score.id,
            "line": score.line,
            "group": score.group,
            "gap": gap,
            "gap_sum": total,
            "gap_byte": per_byte,
            "chosen_tokens": score.chosen.tokens,
            "rejected_tokens": score.rejected.tokens,
        }
        for score, gap, total, per_byte in zip(scores, table.gap.tolist(), sums, bytewise, strict=True)
    ]
