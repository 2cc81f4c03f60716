"""What a report says, before any format: the subject, the headline, the findings in order of weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from ..number_format import NONE, count, limit_text, measured
from ..records import Condition, Finding, Run
from ..shared_limits import SHIPPED_LEVEL
from ..shell import shell_word

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
DIAGNOSIS_TONES: dict[str, Tone] = {"healthy": "good", "numerics": "bad", "diverged": "bad"}  # else: unsure


SEVERITY_MARKS = {
    "error": "✗",
    "warning": "!",
    "info": "·",
    "pass": "✓",
    "fail": "✗",
    "inconclusive": "?",
    "accepted": "~",
}


UNTOLD = "cannot tell"


def called(autopsy: Mapping[str, Any]) -> tuple[str, Tone]:
    """What a report calls a diagnosis, with its tone: none is healthy of which that cannot be told."""
    main = str(autopsy.get("main"))
    if main == "healthy" and autopsy.get("confidence") == UNTOLD:
        return UNTOLD, "unsure"
    return main, DIAGNOSIS_TONES.get(main, "unsure")


def confidence_heading(alpha: object) -> str:
    """`95% CI` at an alpha of .05, which is also that of a run that names none."""
    level = float(alpha) if isinstance(alpha, int | float) and 0 < alpha < 1 else SHIPPED_LEVEL
    return f"{100 * (1 - level):.10g}% CI"


@dataclass(frozen=True, slots=True)
class IntervalCell:
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


def interval_column(run: Run, drop: int = 0) -> Column:
    """A column of intervals, whose level follows from the alpha that the run was made with."""
    return Column(confidence_heading(run.config.get("alpha")), drop=drop)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to show in any format. `total` marks a last row that sums the others up.

    `limit` rows are shown where space is short. `axis` holds the plots' ends, `marks` the values to
    draw a line at.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | IntervalCell, ...], ...]
    note: str = ""
    total: bool = False
    limit: int = 12
    axis: tuple[float, float] = (0.0, 1.0)
    marks: tuple[float, ...] = ()


def notes(table: Table, row: Sequence[str | IntervalCell]) -> list[str]:
    """What is to be said about a row beside its cells."""
    return [
        str(cell) for column, cell in zip(table.columns, row, strict=True) if column.align == "note" and cell
    ]


def sides(run: Run) -> tuple[str, str]:
    """The names of the two sides, `chosen` and `rejected` unless the user gave others.

    Of answers with a label each: the two labels.
    """
    own = ("wanted", "unwanted") if unit(run) == "answer" else ("chosen", "rejected")
    first, second = run.inputs.get("sides") or own
    return str(first), str(second)


def unit(run: Run) -> str:
    """What a row of the measured file is called: `pair`, or `answer` where each has a label of its own."""
    told = (run.inputs.get("pairs") or {}).get("unit")
    return str(told or ("answer" if run.command == "unpaired" else "pair"))


def named(text: str, run: Run, own: Sequence[Any] = ()) -> str:
    """A bias verdict in the user's names, or in `own`: `favours chosen` becomes `favours CICO`."""
    first, second = own or sides(run)
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
        str(model[key]).removeprefix("torch.")
        for key in ("quantization", "dtype", "device")
        if model.get(key)
    )
    far = (model.get("from_bfloat16") or {}).get("token_difference")
    machine += "" if far is None else f" ({far:.2g} nats/token from bfloat16)"
    copied = (run.inputs.get("arithmetic") or {}).get("products") == "bfloat16"
    machine += ", scored in bfloat16" if copied else ""
    adapter = PurePath(str(model.get("adapter") or "")).name
    named = compared or model_name(run) + (f" with adapter {adapter}" if adapter else "")
    parts = [f"probe {run.environment.get('probe', '')}".strip(), named, machine]
    return [part for part in parts if part] + ([f"template: {template}"] if template and model else [])


def measured_on(run: Run) -> list[str]:
    """What was measured on: the file, how many pairs or answers, where the scores came from."""
    pairs = run.inputs.get("pairs") or {}
    scores = run.inputs.get("scores") or {}
    read = pairs or run.inputs.get("log") or {}
    parts = [PurePath(str(read.get("path") or "")).name]
    if pairs.get("n") is not None:
        parts.append(f"{count(pairs['n'], unit(run))}, {pairs.get('dropped') or 0} dropped")
    of = " of the pairs that the model read" if run.command == "gate" and not run.bias else ""
    parts += [f"{n:,} left out{of}: {why}" for why, n in (scores.get("excluded_why") or {}).items()]
    if scores.get("new") or scores.get("stored"):
        parts.append(f"scores: {scores.get('new', 0):,} new, {scores.get('stored', 0):,} cached")
    return [part for part in parts if part]


def condition_title(condition: Condition) -> str:
    """The condition's name as it is read, without its group: `length accuracy`.

    Where a trial's answers were judged, they are what its condition counts, and what it is called by.
    """
    judged = condition.measured is not None and condition.measured.name == "behaviour_up"
    if condition.name == "decision":
        return "recommended method"
    return "answer movement" if judged else condition.name.replace("_", " ")


def condition_name(condition: Condition) -> str:
    """The condition's name with its group: `length accuracy in advice`."""
    name = condition_title(condition)
    return name if condition.group == "all" else f"{name} in {condition.group}"


def condition_code(condition: Condition) -> str:
    """The finding that a failure would be, or its family where the condition is about many: `PB3xx`."""
    return condition.code if len(condition.code) > 3 else f"{condition.code}xx"


def value(condition: Condition) -> str:
    """What was measured, with its interval; of the decision, that there is no method."""
    return "none" if condition.name == "decision" else measured(condition.measured, condition.limit)


def limit(condition: Condition) -> str:
    """What the condition asks for: `≤ 90%`, `± 0.10`, `no error`."""
    if condition.name == "decision":
        return "some method"
    share = condition.name.endswith(("_accuracy", "_share"))  # in per cent where it was not measured, too
    units = condition.measured.units if condition.measured else "share" if share else ""
    value = NONE if condition.limit is None else limit_text(condition.limit, units)
    return {"clean": "no error", "within": f"± {value}", ">=": f"≥ {value}"}.get(
        condition.sense, f"≤ {value}"
    )


def fails(condition: Condition, run: Run) -> bool:
    """Whether this condition is a reason for the run's exit code."""
    judged = condition.result == "fail" or (condition.result == "inconclusive" and run.verdict.exit_code != 0)
    return judged and condition.gates


def fact(condition: Condition) -> str:
    """What was measured against what was asked."""
    against = f"{value(condition)}, limit {limit(condition)}"
    return f"{condition.message.rstrip('.')}: {against}" if condition.message else against


def sorted_findings(run: Run) -> list[Finding]:
    """Errors first, then warnings, then facts; in each the order in which they were found."""
    return sorted(run.findings, key=lambda finding: SEVERITY[finding.severity])


def unaccepted(run: Run) -> list[Finding]:
    """The findings that count: all but those that the configuration accepts."""
    return [finding for finding in run.findings if not reason_accepted(finding, run)]


def reason_accepted(finding: Finding, run: Run) -> str:
    """Why the configuration accepts a finding of this code and group, or "" where it counts."""
    rows = run.details.get("accepted") or ()
    own = {"code": finding.code, "group": finding.group, "message": finding.message}
    if own in (run.details.get("past_limit") or ()):
        return ""
    same = (a for a in rows if a.get("code") == finding.code and a.get("group") in (None, finding.group))
    return next((str(a.get("reason") or "no reason given") for a in same), "")


def reproduce(run: Run) -> str:
    """The command line that makes this run again, quoted for a shell; "" of a run that no command made."""
    argv = run.environment.get("argv", ["probe", run.command])
    return " ".join(shell_word(str(word)) for word in argv)


def result(condition: Condition, run: Run) -> str:
    """The condition's result; one that only describes is a `note` where its number lies past its limit.

    It `decides` where the decision rests on that number, and is `open` where it was not measured, or is on
    the right side without being shown to be.
    """
    if condition.gates or condition.result == "pass":
        return condition.result
    if not past(condition):
        return "open"
    reasons = run.decision.reasons if run.decision else ()
    return "decides" if condition.result == "fail" and condition.code in {r.code for r in reasons} else "note"


def noted(condition: Condition, run: Run) -> bool:
    """Whether the condition only describes, and what was measured lies past its limit."""
    return not condition.gates and past(condition) and result(condition, run) in ("note", "decides")


def past(condition: Condition) -> bool:
    """Whether a measured value lies on the wrong side of its limit, shown to or not."""
    value = condition.measured.value if condition.measured else None
    if value is None or condition.limit is None:
        return condition.result == "fail"
    if condition.sense == "within":
        return abs(value) > condition.limit
    return value < condition.limit if condition.sense == ">=" else value > condition.limit


def details(run: Run, key: str) -> Any:
    """A section of `run.details`, or an empty list."""
    return run.details.get(key) or []


def backtick_parts(text: str) -> list[str]:
    """`text` cut at its backticks: every second part is code. An odd backtick stays in the last part."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return parts
