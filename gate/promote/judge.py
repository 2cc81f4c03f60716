"""From two measured sides to a judged run: changes, conditions, the word. Pure, and torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import ProbeError
from ...number_format import group_told
from ...pairs.grades import Grades
from ...records import Condition, Estimate, Finding, JsonRow, Run, Verdict
from ...stats.answers import distinct, distinct_change, repeated_share
from ...stats.comparable import measured_by, shared_groups
from ...stats.statistics import Floats, mean_estimate
from ..baseline import why_incomparable
from ..judge import verdict_of
from .changes import QUANTITIES, Paired, QuantityChange, change_rows, quantity_changes
from .claims import RESULT_WORDS, Allowances, claims_of, judge_claims
from .findings import promotion_findings
from .sides import SideMeasurement

NGRAMS = (1, 2)  # the distinct-n that are shown
MOST_LEFT_OUT = 0.1  # of the items, with a grade of one model only


@dataclass(frozen=True, slots=True)
class PromotionSettings:
    """How a comparison is judged. `inconclusive` decides the exit code only, never the word."""

    allowed: Allowances
    alpha: float = 0.05
    inconclusive: Literal["fail", "warn"] = "fail"


def with_comparison(
    run: Run,
    sides: tuple[SideMeasurement, SideMeasurement] | None,
    grades: Grades | None,
    prompts: Mapping[str, int],
    settings: PromotionSettings,
) -> Run:
    """`run` with what `sides` and `grades` show. `prompts` labels pairs by id; equal: they share a prompt.

    Raises `ProbeError` where the sides did not measure the same thing, or there is nothing to judge.
    """
    pairs = [*_of_scores(*sides, prompts), *_of_texts(*sides), *_of_answers(*sides)] if sides else []
    paired = [*([_of_grades(grades, settings)] if grades else []), *pairs]
    changed = [change for one in paired for change in quantity_changes(one, settings.alpha)]
    claims = judge_claims(claims_of(changed, settings.allowed), settings.alpha)
    conditions = [*claims, *(_ungraded(grades) if grades else [])]
    verdict = verdict_of(conditions, settings.inconclusive)
    variety = _variety(*sides, settings.alpha) if sides else []
    perplexities = _perplexities(*sides, changed, settings.alpha) if sides else []
    return Run(
        command=run.command,
        created=run.created,
        verdict=verdict,
        estimates=(*(c.estimate for c in changed), *(e for e, _ in variety), *perplexities),
        findings=(*promotion_findings(claims, changed), *filter(None, [graded_once(grades)])),
        inputs=run.inputs,
        config=run.config,
        environment=run.environment,
        details={
            **run.details,
            "promotion": {"decision": RESULT_WORDS[verdict.status], "because": because(verdict)},
            "before_after": [*change_rows(changed), *(row for _, row in variety)],
        },
    )


def because(verdict: Verdict) -> str:
    """The groups that decided a verdict, in words."""
    decisive = [c for c in verdict.conditions if c.result == verdict.status]
    if verdict.status == "pass":
        return f"all {n} conditions hold" if (n := len(decisive)) != 1 else "its one condition holds"
    groups = ", ".join(dict.fromkeys(group_told(c.group) for c in decisive))
    return f"{'worse' if verdict.status == 'fail' else 'open'}: {groups}"


def check_comparable(base: Run, tuned: Run) -> None:
    """Raises `ProbeError` naming the first fact that forbids comparing two runs pair by pair."""
    fact = why_incomparable(tuned, base)
    told = [measured_by(run)["tokenizer_sha256"] is not None for run in (base, tuned)]
    if not fact and told[0] != told[1]:
        fact = "one of the runs does not tell its tokenizer"
    if fact:
        raise ProbeError(f"the two sides cannot be compared: {fact}. Measure both in the same way.")


def _of_scores(base: SideMeasurement, tuned: SideMeasurement, prompts: Mapping[str, int]) -> list[Paired]:
    """The quantities of the pairs' own scores; the log-probs of a side only where both sides have them."""
    check_comparable(base.run, tuned.run)
    ids = [i for i in base.rows if i in tuned.rows]
    both = [[side.rows[i] for i in ids] for side in (base, tuned)]
    groups, regrouped = shared_groups([*zip(*both, strict=True)])
    if regrouped:
        raise ProbeError(
            f"the two sides cannot be compared group by group: {regrouped}. Measure both on one file."
        )
    clusters = [_cluster(tuned.rows[i], prompts.get(i)) for i in ids]
    gaps = [np.array([gap_of(row) for row in part]) for part in both]
    columns = {"gap": gaps, "accuracy": [(gap > 0).astype(float) for gap in gaps]}
    for name in ("chosen", "rejected"):
        if all(isinstance(row.get(name), Mapping) for part in both for row in part):
            columns[name] = [np.array([row[name]["mean_logps"] for row in part]) for part in both]
    return [
        Paired(QUANTITIES[name], first, second, groups, clusters) for name, (first, second) in columns.items()
    ]


def _cluster(row: JsonRow, prompt: int | None) -> int:
    """The label of a pair's prompt: as it was saved, else of the pair file that is still what it was."""
    label = row.get("cluster", prompt)
    if label is None:
        raise ProbeError(
            "the tuned side's run does not say which pairs share a prompt, and its pair file has changed. "
            "Measure it again with this version."
        )
    return int(label)


def gap_of(row: JsonRow) -> float:
    """The gap of one pair, nats/token, from a row of `scores.jsonl` or of a run."""
    if "gap" in row:
        return float(row["gap"])
    return float(row["chosen"]["mean_logps"]) - float(row["rejected"]["mean_logps"])


def _of_grades(grades: Grades, settings: PromotionSettings) -> Paired:
    base, tuned = (np.array([getattr(item, side) for item in grades.items]) for side in ("base", "tuned"))
    span = float(np.ptp([base, tuned]))
    allowance = settings.allowed.general["grade"]
    if not grades.letters and allowance is not None and 0 < span <= allowance:
        raise ProbeError(
            f"the grades span {span:g}, so that an allowance of {allowance:g} would allow everything. "
            "Give one on their scale, such as --allowance grade=0.05."
        )
    groups = [item.group for item in grades.items]
    return Paired(QUANTITIES["grade"], base, tuned, groups)


def _ungraded(grades: Grades) -> list[Condition]:
    """Open where too many items have a grade of one model only: those that are left may be the good ones."""
    return [
        Condition("both grades", group, None, None, "inconclusive", "PB908", _lone(left, n), sense="clean")
        for group, (left, n) in _left_out(grades).items()
        if left > MOST_LEFT_OUT * n
    ]


def _left_out(grades: Grades) -> dict[str, tuple[int, int]]:
    """Of all items and of each group: how many have a grade of one model only, of how many."""
    both = Counter(item.group or "" for item in grades.items)
    whole = sum(grades.ungraded.values())
    groups = {g: (left, left + both[g]) for g, left in sorted(grades.ungraded.items()) if g}
    return {"all": (whole, whole + len(grades.items)), **groups} if whole else {}


def _lone(left: int, n: int) -> str:
    return f"{left:,} of {n:,} items have a grade of one model only, and are left out"


def graded_once(grades: Grades | None) -> Finding | None:
    """PB908 graded once: items have a grade of one model and none of the other.

    Means: such items are left out, since a change needs both grades. Where they are more than
    {MOST_LEFT_OUT:.0%} of all, or of a group, nothing is promoted.
    Why: what was left ungraded is seldom left so by chance: a model looks better on the answers that somebody
    chose to grade.
    Do: grade the other model's answers to the same questions.
    Source: limit by convention.
    """
    if grades is None or not (found := _left_out(grades)):
        return None
    grave = [group for group, (left, n) in found.items() if left > MOST_LEFT_OUT * n]
    where = f" ({', '.join(f'{g}: {found[g][0]} of {found[g][1]}' for g in grave if g != 'all')})"
    return Finding(
        "PB908", "warning" if grave else "info",
        _lone(*found["all"]) + (where if set(grave) - {"all"} else ""),
        "Grade the other model's answers to the same questions.",
    )  # fmt: skip


def _of_texts(base: SideMeasurement, tuned: SideMeasurement) -> list[Paired]:
    """Watched texts token by token, each text a cluster."""
    if not base.watched:
        return []
    clusters = [i for i, text in enumerate(base.watched) for _ in text]
    first, second = (np.concatenate(side.watched) for side in (base, tuned))
    return [Paired(QUANTITIES["watched"], first, second, [None] * len(clusters), clusters)]


def _of_answers(base: SideMeasurement, tuned: SideMeasurement) -> list[Paired]:
    if not base.answers:
        return []
    nobody = [None] * len(base.answers)
    return [
        Paired(QUANTITIES[name], _column(base.answers, of), _column(tuned.answers, of), nobody)
        for name, of in RESPONSE_MEASURES.items()
    ]


def _repetition(text: Sequence[int]) -> float:
    return repeated_share([text])


def _tokens(text: Sequence[int]) -> float:
    return len(text)


RESPONSE_MEASURES: Mapping[str, Callable[[Sequence[int]], float]] = {
    "repetition": _repetition,
    "length": _tokens,
}


def _column(texts: Sequence[Sequence[int]], of: Callable[[Sequence[int]], float]) -> Floats:
    return np.array([of(text) for text in texts], dtype=np.float64)


def _variety(
    base: SideMeasurement, tuned: SideMeasurement, alpha: float
) -> list[tuple[Estimate, Mapping[str, Any]]]:
    """distinct-n of the sampled answers: its change, and the row of the report."""
    found: list[tuple[Estimate, Mapping[str, Any]]] = []
    for n in NGRAMS:
        change = distinct_change(base.answers, tuned.answers, n, alpha=alpha) if base.answers else None
        if change is not None:
            row = {
                "name": f"distinct {n}", "group": "all", "before": distinct(base.answers, n),
                "after": distinct(tuned.answers, n), "change": change.value, "low": change.low,
                "high": change.high, "p": None, "units": "share",
            }  # fmt: skip
            found.append((change, row))
    return found


def _perplexities(
    base: SideMeasurement, tuned: SideMeasurement, changed: Sequence[QuantityChange], alpha: float
) -> list[Estimate]:
    """Perplexity of the watched texts under each model, and their ratio: exp of −log-probs and its ends."""
    if not base.watched:
        return []
    clusters = [i for i, text in enumerate(base.watched) for _ in text]
    means = {
        f"perplexity_{name}": mean_estimate(
            np.concatenate(side.watched), name=name, units="nats/token", clusters=clusters, alpha=alpha
        )
        for name, side in (("base", base), ("tuned", tuned))
    }
    ratio = next(c.estimate for c in changed if c.quantity.name == "watched")
    return [_exponential(e, name) for name, e in {**means, "perplexity_ratio": ratio}.items()]


def _exponential(e: Estimate, name: str) -> Estimate:
    """exp(−e): the mean log-prob a token as a perplexity, the ends of the interval changing places."""
    value, low, high = (None if x is None else float(np.exp(-x)) for x in (e.value, e.high, e.low))
    return Estimate(name, value, low, high, e.n, e.p, e.method, "", e.group)
