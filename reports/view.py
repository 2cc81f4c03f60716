"""What a report says, before any format: the subject, the headline, the findings in order of weight."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from ..number_format import change, change_interval, count, interval, measured, number, p_value
from ..records import BiasRow, Condition, Finding, Run

Tone = Literal["good", "bad", "unsure", "plain"]
SEVERITY = {"error": 0, "warning": 1, "info": 2}
TONES: dict[str, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "unsure",
    "accepted": "plain",
    "error": "bad",
    "warning": "unsure",
    "info": "plain",
    "measured": "plain",
}
DIAGNOSES: dict[str, Tone] = {"healthy": "good", "numerics": "bad", "diverged": "bad"}  # else: unsure


MARKS = {
    "error": "✗",
    "warning": "!",
    "info": "·",
    "pass": "✓",
    "fail": "✗",
    "inconclusive": "?",
    "accepted": "~",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A table cell that is drawn: a point with its interval, on the table's common axis."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column. A terminal shows a `note` below its row.

    Where width is short, the column with the highest `drop` goes first (0: never).
    """

    name: str
    align: Literal["left", "right", "plot", "note"] = "left"
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to show in any format. `total` marks a last row that sums the others up.

    `limit` rows are shown where space is short. `axis` holds the plots' ends, `marks` the values to
    draw a line at.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Interval, ...], ...]
    note: str = ""
    total: bool = False
    limit: int = 12
    axis: tuple[float, float] = (0.0, 1.0)
    marks: tuple[float, ...] = ()


def notes(table: Table, row: Sequence[str | Interval]) -> list[str]:
    """What is to be said about a row beside its cells."""
    return [
        str(cell) for column, cell in zip(table.columns, row, strict=True) if column.align == "note" and cell
    ]


@dataclass(frozen=True, slots=True)
class Headline:
    """The one sentence of the report. `status` is the verdict's word."""

    status: str
    tone: Tone
    text: str


def sides(run: Run) -> tuple[str, str]:
    """The names of the two sides, `chosen` and `rejected` unless the user gave others."""
    first, second = run.inputs.get("sides") or ("chosen", "rejected")
    return str(first), str(second)


def named(text: str, run: Run) -> str:
    """A bias verdict in the user's names: `favours chosen` becomes `favours CICO`."""
    first, second = sides(run)
    return {"favours chosen": f"favours {first}", "favours rejected": f"favours {second}"}.get(text, text)


def model_name(run: Run) -> str:
    """The model's short name, or "" when no model was used."""
    name = str((run.inputs.get("model") or {}).get("name") or "")
    return PurePath(name).name if name.startswith(("/", ".")) else name


def subject(run: Run) -> list[str]:
    """What was measured with: program, model (or the two that were compared), format and device, template."""
    model = run.inputs.get("model") or {}
    compared = " → ".join(PurePath(str(name)).name for name in run.inputs.get("compared") or ())
    template = model.get("template") or run.inputs.get("template") or run.config.get("template")
    machine = " ".join(
        str(model[key]).removeprefix("torch.") for key in ("dtype", "device") if model.get(key)
    )
    parts = [f"probe {run.environment.get('probe', '')}".strip(), compared or model_name(run), machine]
    return [part for part in parts if part] + ([f"template: {template}"] if template and model else [])


def files(run: Run) -> list[str]:
    """What was measured on: the file, its pairs, where the scores came from."""
    pairs = run.inputs.get("pairs") or {}
    scores = run.inputs.get("scores") or {}
    read = pairs or run.inputs.get("log") or {}
    parts = [PurePath(str(read.get("path") or "")).name]
    if pairs.get("n") is not None:
        parts.append(f"{count(pairs['n'], 'pair')}, {pairs.get('dropped') or 0} dropped")
    parts += [f"{n:,} left out: {why}" for why, n in (scores.get("excluded_why") or {}).items()]
    if scores.get("new") or scores.get("stored"):
        parts.append(f"{scores.get('new', 0):,} new, {scores.get('stored', 0):,} cached")
    return [part for part in parts if part]


def headline(run: Run) -> Headline:
    """The verdict in a sentence; the decision, where there is one, stands beside it."""
    status = run.verdict.status
    autopsy = run.details.get("autopsy") or {}
    tone = DIAGNOSES.get(str(autopsy.get("main")), "unsure") if run.command == "autopsy" else TONES[status]
    return Headline(status, tone, next(filter(None, (told(run) for told in TOLD))))


def limit(condition: Condition) -> str:
    """What the condition asks for: `≤ 90%`, `± 0.10`, `no error`."""
    units = condition.measured.units if condition.measured else ""
    value = number(condition.limit, units).removeprefix("+")
    return {"clean": "no error", "within": f"± {value}", ">=": f"≥ {value}"}.get(
        condition.sense, f"≤ {value}"
    )


def fails(condition: Condition, run: Run) -> bool:
    """Whether this condition is a reason for the run's exit code."""
    judged = condition.result == "fail" or (condition.result == "inconclusive" and run.verdict.exit_code != 0)
    return judged and condition.gates


def fact(condition: Condition) -> str:
    """What was measured against what was asked."""
    against = f"{measured(condition.measured)}, limit {limit(condition)}"
    return f"{condition.message}: {against}" if condition.message else against


def findings(run: Run) -> list[Finding]:
    """Errors first, then warnings, then facts; in each the order in which they were found."""
    return sorted(run.findings, key=lambda finding: SEVERITY[finding.severity])


def reason_accepted(finding: Finding, run: Run) -> str:
    """Why the configuration accepts a finding of this code and group, or "" where it counts."""
    rows = run.details.get("accepted") or ()
    same = (a for a in rows if a.get("code") == finding.code and a.get("group") in (None, finding.group))
    return next((str(a.get("reason") or "no reason given") for a in same), "")


def reproduce(run: Run) -> str:
    """The command line that makes this run again, quoted for a shell."""
    return shlex.join(str(word) for word in run.environment.get("argv") or ["probe", run.command])


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
    past = sum(c.result == "fail" for c in conditions if not c.gates)
    told = ", ".join([passed, *counts]) + (f"; {count(past, 'number')} to note" if past else "")
    advised = run.verdict.status != "pass" or run.decision is None or run.decision.stages
    return told if advised else f"nothing forbids training, but none is advised; {told}"


def result(condition: Condition) -> str:
    """The condition's result; one that only describes is a `note` where it does not pass."""
    return condition.result if condition.gates or condition.result == "pass" else "note"


def _biased(run: Run) -> str:
    row = next((row for row in run.bias if row.group == "all"), None)
    if row is None:
        return ""
    return ": ".join(part for part in (named(row.verdict, run), _gap(row, run)) if part) + _settle(row, run)


def _gap(row: BiasRow, run: Run) -> str:
    gap, wins = run.estimate("gap"), run.estimate("win_rate")
    parts = []
    if wins and wins.value is not None:
        parts.append(f"{sides(run)[0]} wins {round(wins.value * wins.n)} of {count(wins.n, 'pair')}")
    if gap:
        bounds = interval(gap.low, gap.high, gap.units)
        parts.append(f"gap {number(gap.value, gap.units)} {bounds} {gap.units}")
        p = gap.p if row.p is None else row.p
        parts += [f"p {'= ' if p >= 0.0001 else ''}{p_value(p)}"] if p is not None else []
    return ", ".join(parts)


def _settle(row: BiasRow, run: Run) -> str:
    return (
        f"; a file of about {count(row.pairs_to_settle, 'pair')} would settle it"
        if row.pairs_to_settle
        else ""
    )


def _diagnosed(run: Run) -> str:
    autopsy = run.details.get("autopsy") or {}
    if not autopsy:
        return ""
    since = autopsy.get("since_step")
    tags = ", ".join(str(tag) for tag in autopsy.get("tags") or ())
    told = [
        str(autopsy.get("main")),
        *([f"since step {since}"] if since is not None else []),
        *([tags] if tags else []),
    ]
    return ", ".join(told)


def _counted(run: Run) -> str:
    kinds: Sequence[tuple[str, str]] = (("error", "error"), ("warning", "warning"), ("info", "note"))
    found = [(sum(f.severity == kind for f in run.findings), noun) for kind, noun in kinds]
    # Of a clean file it is worth a word that there was nothing to find.
    return ", ".join(count(n, noun) for n, noun in found if n or noun != "note")


def _compared(run: Run) -> str:
    rows = run.details.get("runs") or ()
    changes = [r for r in run.details.get("differences") or () if r.get("group") == "all"]
    parts = [
        f"{r['name']} {change(r['value'], r['units'])} {change_interval(r['low'], r['high'], r['units'])}"
        for r in changes
    ]
    return ", ".join(parts) or (f"{len(rows)} runs" if rows else "")


def _trained(run: Run) -> str:
    rows = [r for r in details(run, "before_after") if r.get("group") == "all" and r["name"] == "gap"]
    parts = [
        f"held-out gap {number(r['before'], r['units'])} → {number(r['after'], r['units'])} {r['units']}, "
        f"{change(r['change'], r['units'])} {change_interval(r['low'], r['high'], r['units'])}"
        for r in rows
    ]
    return _with_findings(*parts, run=run)


def _tried(run: Run) -> str:
    found = run.estimate("trial_accuracy") if run.command == "trial" else None
    if found is None:
        return ""
    fell = run.estimate("trial_chosen_change")
    moved = f", chosen {measured(fell)} {fell.units}" if fell else ""
    text = f"{measured(found)} of {found.n} unseen pairs ranked right{moved}{written(run)}"
    return _with_findings(text, run=run)


def written(run: Run) -> str:
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
    rows = details(run, "effects")
    parts = []
    for verdict, verb in (("taught", "the pairs teach"), ("its contrary", "they teach the contrary of")):
        names = [str(r["trait"]) for r in rows if r["verdict"] == verdict]
        parts += [f"{verb} {', '.join(names)}"] if names else []
    if rows and not parts:
        parts = [f"none of {count(len(rows), 'trait')} is shown to be taught"]
    return "; ".join([*parts, *([_counted(run)] if run.findings or not parts else [])])


def _levered(run: Run) -> str:
    return str(run.details.get("levers_told") or "")


def _with_findings(*parts: str, run: Run) -> str:
    return "; ".join([*parts, *([_counted(run)] if run.findings else [])]) if parts else ""


TOLD = (
    _promoted,
    _sampled,
    _judged,
    _taught,
    _levered,
    _biased,
    _trained,
    _tried,
    _diagnosed,
    _compared,
    _counted,
)


def details(run: Run, key: str) -> Any:
    """A section of `run.details`, or an empty list."""
    return run.details.get(key) or []
