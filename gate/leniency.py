"""That a configuration which accepts or leaves out something never makes a verdict worse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from ..errors import ProbeError
from ..records import ConditionResult, Finding, Run
from .accept import Accepted, lapsed, tolerates
from .judge import JudgeSettings, verdict_of

JudgedBy = Callable[[JudgeSettings], Run]


def no_harsher(run: Run, settings: JudgeSettings, judged: JudgedBy) -> Run:
    """`run` with its decision's condition at most as grave as what was accepted or left out would have been.

    A decision against training fails a file that nothing else explains. Where a condition is accepted or
    off that would have been open, it does explain it, and the decision is open as that was. `judged` judges
    the same run under other settings.
    """
    own = next((c for c in run.verdict.conditions if c.name == "decision"), None)
    if own is None or not (_is_lenient(settings) and own.result == "fail"):
        return run
    if not (result := _instead(run, settings, judged)):
        return run
    conditions = [dataclasses.replace(c, result=result) if c is own else c for c in run.verdict.conditions]
    return dataclasses.replace(run, verdict=verdict_of(conditions, settings.inconclusive))


def _is_lenient(settings: JudgeSettings) -> bool:
    """Whether anything is accepted, or left out."""
    tables = (settings.limits, *settings.groups.values())
    return bool(settings.accepted) or any(limit is False for table in tables for limit in table.values())


def _instead(run: Run, settings: JudgeSettings, judged: JudgedBy) -> ConditionResult | None:
    """What the decision's condition comes to beside what is accepted or left out; None where it stands."""
    try:
        plain = judged(strict(settings)).verdict
    except ProbeError:  # it can be judged only as it is configured
        return "inconclusive"
    kept = {(c.name, c.group) for c in run.verdict.conditions if c.result != "accepted"}
    excused = [c for c in plain.conditions if c.gates and (c.name, c.group) not in kept]
    if plain.status == "pass":
        return "accepted"
    return "inconclusive" if any(c.result == "inconclusive" for c in excused) else None


def strict(settings: JudgeSettings) -> JudgeSettings:
    """The settings with nothing accepted and nothing left out."""
    groups = {name: _held(table) for name, table in settings.groups.items()}
    return dataclasses.replace(settings, accepted=(), limits=_held(settings.limits), groups=groups)


def _held(table: Any) -> dict[str, float | bool]:
    return {name: limit for name, limit in table.items() if limit is not False}


def past_their_limits(run: Run, active: Sequence[Accepted]) -> list[dict[str, str]]:
    """The findings that entries name and none accepts, since they are past the entry's limit or have none."""
    named = [f for f in run.findings if any(entry.covers(f.code, f.group) for entry in active)]
    excused = {(c.code, c.group) for c in run.verdict.conditions if c.result == "accepted"}
    return [
        {"code": f.code, "group": f.group, "message": f.message}
        for f in named
        if not _accepted(f, active) and (f.code, f.group) not in excused
    ]


def _accepted(finding: Finding, active: Sequence[Accepted]) -> bool:
    return any(tolerates(entry, finding) for entry in active)


def marked(run: Run, entries: Sequence[Accepted], today: date) -> Run:
    """An unjudged run whose accepted findings are marked as such; entries for others are left unsaid, since
    they may be the gate's."""
    used = [e for e in entries if not e.lapsed(today) and any(tolerates(e, f) for f in run.findings)]
    details = {**run.details, "accepted": [entry.row() for entry in used]}
    run = dataclasses.replace(run, findings=(*run.findings, *lapsed(entries, today)), details=details)
    return with_past(run, entries, today)


def with_past(run: Run, entries: Sequence[Accepted], today: date) -> Run:
    """The run with a note of what is named in an entry and not accepted by it."""
    active = [entry for entry in entries if not entry.lapsed(today)]
    rows = past_their_limits(run, active)
    details = {key: value for key, value in run.details.items() if key != "past_limit"}
    return dataclasses.replace(run, details={**details, "past_limit": rows} if rows else details)
