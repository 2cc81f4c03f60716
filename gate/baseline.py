"""A run beside an earlier one: the same pairs, compared pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Condition, Estimate, Finding, Result, Run, to_json

UNITS = "nats/token"
UNCHANGED = "every pair scored as before"


@dataclass(frozen=True, slots=True)
class Compared:
    """What a baseline adds to a judgement; `rows` are the report's table of paired differences."""

    conditions: tuple[Condition, ...] = ()
    findings: tuple[Finding, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


def compare(run: Run, baseline: Run, *, bound: float, alpha: float) -> Compared:
    """The paired differences of `run` to `baseline`, and the condition that no group got worse.

    The difference is gap now − gap then, nats/token, on the same pair ids. A group passes when its interval
    lies above −`bound`, fails below it, and is inconclusive else; Bonferroni over the groups. Runs that
    cannot be compared give PB703, which fails the gate.
    """
    if fact := why_incomparable(run, baseline):
        return Compared(findings=(incomparable(fact),))
    estimates = _changes(_rows(run), _rows(baseline), alpha)
    conditions = tuple(_condition(e, bound) for e in estimates)
    findings = tuple(worse(c) for c in conditions if c.result == "fail")
    return Compared(conditions, findings, tuple({**to_json(e), "name": "gap change"} for e in estimates))


def incomparable(fact: str) -> Finding:
    """PB703 baseline not comparable: the two runs did not measure the same thing.

    Means: The pairs, the template or the length limit of the baseline differ from this run's, or one of the
    runs holds no gaps by pair, or does not say which pairs share a prompt.
    Why: A difference between them would mix the change that is asked about with the change in how it was
    measured.
    Do: Measure the baseline again with the settings of this run, on the same file.
    Source: Paired designs compare like with like (Miller 2024, section 4).
    """
    return Finding(
        "PB703",
        "error",
        f"the baseline cannot be compared: {fact}",
        "Measure the baseline again on the same file with the same settings.",
    )


def worse(condition: Condition) -> Finding:
    """PB704 worse than the baseline: the gap fell by more than the bound since the baseline was measured.

    Means: On the same pairs, gap now − gap then has an interval that lies wholly below −bound nats/token.
    Why: The model, or its adapter, has moved towards the rejected side of these pairs.
    Do: Look at the worst pairs of the group, and keep the earlier model until they are understood.
    Source: Paired differences with cluster-robust intervals, as for every gap (Miller 2024).
    """
    return Finding(
        "PB704",
        "warning",
        f"the gap fell by more than {abs(condition.limit or 0):g} nats/token since the baseline",
        "Keep the earlier model until the worst pairs of the group are understood.",
        group=condition.group,
        estimate=condition.measured,
    )


def why_incomparable(run: Run, baseline: Run) -> str:
    """The first fact that forbids comparing the two pair by pair, or ""."""
    for name, of in FACTS.items():
        then, now = of(baseline), of(run)
        if then != now:
            return f"{name} was {then}, is {now}"
    for label, rows in (("the baseline", _rows(baseline)), ("this run", _rows(run))):
        if not rows:
            return f"{label} holds no gaps by pair"
    if any(row.get("cluster") is None for row in _rows(run).values()):
        return "this run does not say which pairs share a prompt; an older probe saved it"
    ids, before = set(_rows(run)), set(_rows(baseline))
    return "" if ids == before else f"{len(ids ^ before)} pairs are in one of the runs only"


def _model(run: Run) -> Mapping[str, Any]:
    return run.inputs.get("model") or {}


FACTS: dict[str, Callable[[Run], Any]] = {
    "the pair file's sha256": lambda run: (run.inputs.get("pairs") or {}).get("sha256"),
    "the template": lambda run: _model(run).get("template") or run.config.get("template"),
    "max-length": lambda run: run.config.get("max_length"),
}


def _rows(run: Run) -> dict[str, Mapping[str, Any]]:
    return {row["id"]: row for row in run.details.get("pairs") or () if row.get("gap") is not None}


def _changes(
    now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]], alpha: float
) -> list[Estimate]:
    """The mean change of the whole and of each group, clusters being the pairs of one prompt."""
    from ..stats.statistics import mean_estimate

    groups = sorted({str(row.get("group") or "all") for row in now.values()} - {"all"})
    members = {"all": list(now), **{g: [i for i in now if now[i].get("group") == g] for g in groups}}
    estimates = []
    for group, ids in members.items():
        changes = [now[i]["gap"] - then[i]["gap"] for i in ids]
        if not any(changes):
            estimates.append(Estimate("gap_change", 0.0, 0.0, 0.0, len(ids), None, UNCHANGED, UNITS, group))
            continue
        clusters, share = _clusters(now, ids), alpha / len(members)
        estimates.append(
            mean_estimate(
                changes, name="gap_change", units=UNITS, clusters=clusters, alpha=share, group=group
            )
        )
    return estimates


def _clusters(rows: Mapping[str, Mapping[str, Any]], ids: Iterable[str]) -> list[str]:
    return [str(rows[i]["cluster"]) for i in ids]


def _condition(change: Estimate, bound: float) -> Condition:
    low, high = change.low, change.high
    result: Result = "inconclusive"
    if low is not None and high is not None:
        result = "pass" if low >= -bound else "fail" if high < -bound else "inconclusive"
    message = "" if result != "inconclusive" else "the interval of the change spans the limit"
    return Condition("gap_change", change.group, change, -bound, result, "PB704", message, sense=">=")
