"""The one line that opens every report: the verdict, or what this command measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..number_format import change, change_interval, count, measured, number, p_text
from ..records import BiasRow, Run
from .effects_answer import taught
from .side_by_side import counted
from .view import TONES, Tone, called, details, named, noted, result, sides, unaccepted


@dataclass(frozen=True, slots=True)
class Headline:
    """The one sentence of the report. `status` is the verdict's word."""

    status: str
    tone: Tone
    text: str


def headline(run: Run) -> Headline:
    """The verdict in a sentence; the decision, where there is one, stands beside it."""
    status = run.verdict.status
    autopsy = run.details.get("autopsy") or {}
    tone = called(autopsy)[1] if run.command == "autopsy" else TONES[status]
    return Headline(status, tone, next(filter(None, (told(run) for told in HEADLINES))))


def _promoted(run: Run) -> str:
    promotion = run.details.get("promotion") or {}
    return f"{promotion['decision']}: {promotion['because']}" if promotion else ""


def _sampled(run: Run) -> str:
    made = run.details.get("sampled") or {}
    if not made:
        return ""
    written = f"{count(made['written'], 'sampled pair')} in {PurePath(str(made['pairs'])).name}"
    return _with_findings(written if made["pairs"] else "candidates only: no chosen answers", run=run)


def _judged(run: Run) -> str:
    conditions = run.verdict.conditions
    if not conditions:
        return ""
    results = [condition.result for condition in conditions if condition.gates]
    counts = [f"{results.count(r)} {r}" for r in ("fail", "inconclusive", "accepted") if r in results]
    passed = f"{results.count('pass')} of {count(len(results), 'condition')} pass"
    past = sum(noted(c, run) and result(c, run) == "note" for c in conditions)
    told = ", ".join([passed, *counts]) + (f"; {count(past, 'number')} to note" if past else "")
    advised = run.verdict.status != "pass" or run.decision is None or run.decision.stages
    return told if advised else f"nothing forbids training, but none is advised; {told}"


def _biased(run: Run) -> str:
    row = next((row for row in run.bias if row.group == "all"), None)
    if row is None:
        return ""
    return ": ".join(part for part in (named(row.verdict, run), _gap(row, run)) if part) + _settle(row)


def _gap(row: BiasRow, run: Run) -> str:
    gap, wins = run.estimate("gap"), run.estimate("win_rate")
    parts = []
    if wins and wins.value is not None:
        won = f"{round(wins.value * wins.n):,} of {count(wins.n, 'pair')}"
        ties = run.estimate("tie_share")  # those pairs are in no win rate
        tied = round((ties.value or 0.0) * ties.n) if ties else 0
        parts.append(f"{sides(run)[0]} wins {won}" + (f", {tied:,} tied" if tied else ""))
    if gap:
        parts.append(f"gap {measured(gap)} {gap.units}")
        p = gap.p if row.p is None else row.p
        parts += [f"p {p_text(p)}"] if p is not None else []
    return ", ".join(parts)


def _settle(row: BiasRow) -> str:
    return f"; a file of about {row.to_settle} would settle it" if row.to_settle else ""


def _diagnosed(run: Run) -> str:
    autopsy = run.details.get("autopsy") or {}
    if not autopsy:
        return ""
    since = autopsy.get("since_step")
    tags = ", ".join(str(tag) for tag in autopsy.get("tags") or ())
    told = [
        called(autopsy)[0],
        *([f"since step {since}"] if since is not None else []),
        *([tags] if tags else []),
    ]
    return ", ".join(told)


def _counted(run: Run) -> str:
    kinds: Sequence[tuple[str, str]] = (("error", "error"), ("warning", "warning"), ("info", "note"))
    left = unaccepted(run)
    found = [(len({f.code for f in left if f.severity == kind}), noun) for kind, noun in kinds]
    # Of a clean file it is worth a word that there was nothing to find.
    told = [count(n, noun) for n, noun in found if n or noun != "note"]
    accepted = len({f.code for f in run.findings} - {f.code for f in left})
    return ", ".join([*told, *([f"{accepted} accepted"] if accepted else [])])


def _trained(run: Run) -> str:
    rows = [r for r in details(run, "before_after") if r.get("group") == "all" and r["name"] == "gap"]
    parts = [
        f"held-out gap {number(r['before'], r['units'])} → {number(r['after'], r['units'])} {r['units']}, "
        f"{change(r['change'], r['units'])}{_bounds(r)}"
        for r in rows
    ]
    return _with_findings(*parts, run=run)


def _bounds(row: Mapping[str, Any]) -> str:
    """The interval of a change behind its value; nothing where there is none."""
    known = None not in (row["low"], row["high"])
    return f" {change_interval(row['low'], row['high'], row['units'])}" if known else ""


def _tried(run: Run) -> str:
    found = run.estimate("trial_accuracy") if run.command == "trial" else None
    if found is None:
        return ""
    fell = run.estimate("trial_chosen_change")
    moved = f", chosen {measured(fell)} {fell.units}" if fell else ""
    text = f"the margin rises in {measured(found)} of {found.n} unseen pairs{moved}{written_samples(run)}"
    return _with_findings(text, run=run)


def written_samples(run: Run) -> str:
    """What samples on unseen prompts did, for the method that the race prefers."""
    rows = details(run, "race")
    told = next((row for row in rows if row["won"]), rows[0] if rows else {})
    if "up" not in told:
        return ""
    if not told["judged"]:
        return "; behaviour not judged"
    return f"; {told['method']} moves {told['up']} prompts up, {told['down']} down"


def _taught(run: Run) -> str:
    if run.command != "effects":
        return ""
    told = taught(run)
    return "; ".join([*([told] if told else []), *([_counted(run)] if run.findings or not told else [])])


def _levered(run: Run) -> str:
    return str(run.details.get("levers_told") or "")


def _with_findings(*parts: str, run: Run) -> str:
    return "; ".join([*parts, *([_counted(run)] if run.findings else [])]) if parts else ""


HEADLINES = (
    _promoted,
    _sampled,
    _judged,
    _taught,
    _levered,
    _biased,
    _trained,
    _tried,
    _diagnosed,
    counted,
    _counted,
)
