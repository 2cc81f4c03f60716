"""A run beside an earlier one: the pairs whose ids and texts are the same, compared pair by pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..records import (
    NATS_PER_TOKEN,
    Condition,
    ConditionResult,
    Estimate,
    Finding,
    JsonRow,
    Run,
    same_pairs,
    to_json,
)
from ..stats.comparable import shared_groups, unlike
from .accept import Accepted

PairKey = tuple[str, str, int]  # id, digest of the text, how many of the same came before
CHANGED_FILE = "the pair file has changed since the baseline"
UNCHANGED = "every pair scored as before"


@dataclass(frozen=True, slots=True)
class Compared:
    """What a baseline adds to a judgement; `rows` are the report's table of paired differences."""

    conditions: tuple[Condition, ...] = ()
    findings: tuple[Finding, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


def compare_with_baseline(run: Run, baseline: Run, *, bound: float, alpha: float) -> Compared:
    """The paired differences of `run` to `baseline`, and the condition that no group got worse.

    The difference is gap now − gap then, nats/token, on the pairs whose ids and texts are the same; what a
    changed file has besides is told (PB707). A group passes when its interval lies above −`bound`, fails
    below it, and is inconclusive else; Bonferroni over the groups. Runs that cannot be compared give PB703,
    which fails the gate.
    """
    fact = _why_unlike(run, baseline) or _why_unmatched(run, baseline)
    found = Match() if fact else match(_listed(run), _listed(baseline))
    fact = fact or ("" if found.same else "no pair has the same id and text in both runs")
    if fact := fact or shared_groups(found.then_now)[1]:
        return Compared(findings=(incomparable(fact),))
    estimates = _changes(found, alpha)
    conditions = tuple(_condition(e, bound) for e in estimates)
    findings = tuple(worse(c) for c in conditions if c.result == "fail")
    told = () if found.whole else (other_pairs(found, run, same_pairs(run, baseline)),)
    rows = tuple({**to_json(e), "name": "gap change"} for e in estimates)
    return Compared(conditions, (*findings, *told), rows)


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of two runs put together: those that are the same pair, now and then, and those that are not.

    `changed` rows have the id of a row of the other run and another text; `added` and `changed` are rows of
    the later run, `dropped` of the earlier one.
    """

    same: tuple[tuple[JsonRow, JsonRow], ...] = ()
    added: tuple[JsonRow, ...] = ()
    dropped: tuple[JsonRow, ...] = ()
    changed: tuple[JsonRow, ...] = ()

    @property
    def then_now(self) -> list[tuple[JsonRow, JsonRow]]:
        """The rows of the same pairs, the earlier run's first."""
        return [(then, now) for now, then in self.same]

    @property
    def whole(self) -> bool:
        """Whether both runs have the same pairs and no others."""
        return not (self.added or self.dropped or self.changed)


def match(now: Sequence[JsonRow], then: Sequence[JsonRow]) -> Match:
    """The rows of two runs by id and text; a pair without an id of its own is known by its text alone."""
    mine, others = _keyed(now), _keyed(then)
    new = [key for key in mine if key not in others]
    old = [key for key in others if key not in mine]
    # As many rows of an id changed as both runs have left; what one has beyond that was added or dropped.
    left = Counter(key[0] for key in new if key[0]) & Counter(key[0] for key in old if key[0])
    changed, added = _parted(new, left)
    return Match(
        tuple((mine[key], others[key]) for key in mine if key in others),
        tuple(mine[key] for key in added),
        tuple(others[key] for key in _parted(old, left)[1]),
        tuple(mine[key] for key in changed),
    )


def _parted(keys: Sequence[PairKey], most: Mapping[str, int]) -> tuple[list[PairKey], list[PairKey]]:
    """The first keys of each id, at most as many as `most` says, and the others."""
    seen: Counter[str] = Counter()
    first: list[PairKey] = []
    others: list[PairKey] = []
    for key in keys:
        seen[key[0]] += 1
        (first if seen[key[0]] <= most.get(key[0], 0) else others).append(key)
    return first, others


def _keyed(rows: Sequence[JsonRow]) -> dict[PairKey, JsonRow]:
    """The rows by id, digest of the text, and how many of the same came before."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = {}
    for row in rows:
        name = "" if row.get("text") and row["id"] == str(row.get("line")) else str(row["id"])
        key = (name, str(row.get("text") or ""))
        keyed[*key, seen[key]] = row
        seen[key] += 1
    return keyed


def incomparable(fact: str) -> Finding:
    """PB703 baseline not comparable: the two runs did not measure the same thing.

    Means: The tokenizer, the template or a length limit that cut something differ from this run's, no pair is
    the same in both, pairs have another group in each, or one of the runs holds no gaps by pair, or does not
    say which pairs share a prompt.
    Why: A difference between them would mix the change that is asked about with the change in how it was
    measured.
    Do: Measure the baseline again with the settings of this run.
    Source: Paired designs compare like with like (Miller 2024, section 4).
    """
    return Finding(
        "PB703",
        "error",
        f"the baseline cannot be compared: {fact}",
        "Measure the baseline again with the settings of this run.",
    )


def other_pairs(found: Match, run: Run, same_file: bool) -> Finding:
    """PB707 other pairs: the pairs measured are not all those of the baseline.

    Means: Pairs were added, dropped, or have another text under the same id, since the file has changed; or
    one of the runs read more of the same file. The comparison is on those that
    are the same in both runs; a pair without an id of its own counts as the same where its text is.
    Why: What holds of the pairs that stayed says nothing about those that are new.
    Do: Nothing, where the change was meant; the lines are those of the added and the changed pairs.
    Source: Paired designs compare like with like (Miller 2024, section 4).
    """
    kinds = (("added", found.added), ("dropped", found.dropped), ("changed", found.changed))
    counts = ", ".join(f"{len(rows):,} {kind}" for kind, rows in kinds)
    read = "" if len(_listed(run)) == (run.inputs.get("pairs") or {}).get("n") else "of those that were read "
    why = "the two runs measured different pairs of one file" if same_file else CHANGED_FILE
    return Finding(
        "PB707",
        "info",
        f"{why}: {read}{counts}; the {len(found.same):,} that are the same are compared",
        "Nothing, where the change was meant.",
        lines=tuple(sorted(row["line"] for row in (*found.added, *found.changed) if row.get("line"))),
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
    if not same_pairs(run, baseline):
        then, now = ((one.inputs.get("pairs") or {}).get("sha256") or "not told" for one in (baseline, run))
        return f"the pair file's sha256 was {then}, is {now}"
    return _why_unlike(run, baseline) or _why_others(run, baseline) or _why_reread(run, baseline)


def _why_reread(run: Run, baseline: Run) -> str:
    """Whether pairs of an id have other texts, as two readings of one file give them, or ""."""
    before = _rows(baseline)
    texts = [(row.get("text"), before[i].get("text")) for i, row in _rows(run).items() if i in before]
    other = sum(None not in both and both[0] != both[1] for both in texts)
    return f"{other} pairs have another text (the file was read by other --fields)" if other else ""


def _why_unlike(run: Run, baseline: Run) -> str:
    """The first fact about how the two were measured that forbids comparing any pair of theirs, or ""."""
    if fact := next(iter(unlike(baseline, run).values()), ""):
        return fact
    for label, rows in (("the baseline", _rows(baseline)), ("this run", _rows(run))):
        if not rows:
            return f"{label} holds no gaps by pair"
    if any(row.get("cluster") is None for row in _rows(run).values()):
        return "this run does not say which pairs share a prompt; an older probe saved it"
    return ""


def _why_unmatched(run: Run, baseline: Run) -> str:
    """Why pairs cannot be told to be the same: older runs do not hold the digests of their texts."""
    if all(row.get("text") for one in (run, baseline) for row in _listed(one)):
        return ""
    if not same_pairs(run, baseline):
        return "it was measured on another file, by an older probe that did not save which text each pair had"
    return _why_others(run, baseline)


def _why_others(run: Run, baseline: Run) -> str:
    ids, before = set(_rows(run)), set(_rows(baseline))
    return "" if ids == before else f"{len(ids ^ before)} pairs are in one of the runs only"


def _listed(run: Run) -> list[JsonRow]:
    return [row for row in run.details.get("pairs") or () if row.get("gap") is not None]


def _rows(run: Run) -> dict[str, Mapping[str, Any]]:
    return {row["id"]: row for row in _listed(run)}


def _changes(found: Match, alpha: float) -> list[Estimate]:
    """The mean change of the whole and of each group, clusters being the pairs of one prompt."""
    from ..stats.mean_change import mean_changes

    gaps = [[row["gap"] for row in rows] for rows in zip(*found.same, strict=True)]
    groups, _ = shared_groups(found.then_now)
    labels = [str(row.get("cluster")) for row, _ in found.same]
    every = mean_changes(
        gaps[1], gaps[0], groups, labels, name="gap_change", units=NATS_PER_TOKEN, alpha=alpha, shared=True
    )
    return [change.estimate if change.differences.any() else _unchanged(change.estimate) for change in every]


def _unchanged(e: Estimate) -> Estimate:
    return Estimate(e.name, 0.0, 0.0, 0.0, e.n, None, UNCHANGED, NATS_PER_TOKEN, e.group)


def _condition(change: Estimate, bound: float) -> Condition:
    low, high = change.low, change.high
    result: ConditionResult = "inconclusive"
    if low is not None and high is not None:
        result = "pass" if low >= -bound else "fail" if high < -bound else "inconclusive"
    message = "" if result != "inconclusive" else "the interval of the change spans the limit"
    return Condition("gap_change", change.group, change, -bound, result, "PB704", message, sense=">=")


def excused(
    changes: Sequence[Condition], active: Sequence[Accepted]
) -> tuple[list[Condition], list[Accepted]]:
    """The conditions of a baseline as accepted, and the entries that accepted them.

    An entry's limit, if it has one, is the lowest change that it lets through, in nats/token: the whole
    interval has to lie above it.
    """
    entries = [next((e for e in active if _excuses(e, change)), None) for change in changes]
    told = [
        replace(change, result="accepted", message=f"accepted: {entry.reason}") if entry else change
        for change, entry in zip(changes, entries, strict=True)
    ]
    return told, [entry for entry in entries if entry]


def _excuses(entry: Accepted, change: Condition) -> bool:
    if change.result == "pass" or not entry.covers(change.code, change.group):
        return False
    low = change.measured.low if change.measured else None
    return entry.limit is None or (low is not None and low >= entry.limit)
