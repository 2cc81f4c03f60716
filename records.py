"""The values that travel from a measurement to a report, and their JSON form (schema 1).

Nothing here computes. A `Run` is the one saved object; every renderer is a function of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Severity = Literal["info", "warning", "error"]
JsonRow = Mapping[str, Any]  # a row of a table, as it is read or saved
NATS_PER_TOKEN = "nats/token"
ConditionResult = Literal["pass", "fail", "inconclusive", "accepted"]
Status = Literal["measured", "pass", "fail", "inconclusive"]
BiasVerdict = Literal["favours chosen", "favours rejected", "neutral", "undetermined", "unstable"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty and the test behind it.

    `low` and `high` bound the stated interval (None: no interval can be given), `n` counts pairs, `p` is
    two-sided unless `method` says otherwise (None: no test was made), `units` is "nats/token", "share", …
    The interval of a share, or of a change of one, is cut at ±1: nothing beyond can be so.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None
    method: str
    units: str
    group: str = "all"

    def __post_init__(self) -> None:
        if self.units == "share" and self.low is not None and self.high is not None:
            object.__setattr__(self, "low", max(-1.0, self.low))
            object.__setattr__(self, "high", min(1.0, self.high))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found. `lines` are lines of the pair file, `worst_pairs` ids, worst first.

    `error` means that training on this input should not start; `warning` that it may go wrong; `info` that
    it was measured and matters to the decision.
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    group: str = "all"
    lines: tuple[int, ...] = ()
    estimate: Estimate | None = None
    worst_pairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One judged statement of the gate, e.g. `triviality <= 0.9` in group `advice`.

    `gates` False: shown, but the verdict does not rest on it. `sense` is <=, >=, within (±) or clean.
    """

    name: str
    group: str
    measured: Estimate | None
    limit: float | None
    result: ConditionResult
    code: str
    message: str = ""
    gates: bool = True
    sense: str = "<="


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the terminal's last line, the JSON and the exit code all read."""

    status: Status
    exit_code: int
    conditions: tuple[Condition, ...] = ()


MEASURED = Verdict("measured", 0)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision was made: the finding it rests on, the sentence, the source of the rule."""

    code: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A recommended method with its stages and hyper-parameters, the runner-up and what would change it."""

    method: str
    stages: tuple[str, ...]
    hyperparameters: Mapping[str, Any]
    reasons: tuple[Reason, ...]
    runner_up: Mapping[str, Any] | None = None


def stage_values(decision: Decision, stage: str) -> dict[str, Any]:
    """The hyper-parameters of one stage of a decision: flat for one stage, `stage.key` for several."""
    if len(decision.stages) == 1:
        return dict(decision.hyperparameters)
    mark = f"{stage}."
    return {k.removeprefix(mark): v for k, v in decision.hyperparameters.items() if k.startswith(mark)}


@dataclass(frozen=True, slots=True)
class BiasRow:
    """The bias verdict of one group; `pairs_to_settle` is how many pairs in all an open case needs.

    `p` is what the verdict rests on: of no preference beyond the bound, by Holm over the groups.
    `prompts_to_settle` is on how many prompts those pairs must be, where pairs share prompts; else None.
    """

    group: str
    verdict: BiasVerdict
    pairs_to_settle: int | None = None
    p: float | None = None
    prompts_to_settle: int | None = None

    @property
    def to_settle(self) -> str:
        """What would settle an open case: `135 pairs`, `48 pairs on 6 prompts`; "" where nothing would."""
        if self.pairs_to_settle is None:
            return ""
        on = "" if self.prompts_to_settle is None else f" on {self.prompts_to_settle:,} prompts"
        return f"{self.pairs_to_settle:,} pairs{on}"


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement, saved. `details` holds what only some commands have, by section name.

    `summary` answers in two to four sentences, `next` is the one command to run now; see `reports.answer`.
    """

    command: str
    created: str
    verdict: Verdict = MEASURED
    decision: Decision | None = None
    bias: tuple[BiasRow, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    findings: tuple[Finding, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    next: str | None = None

    def estimate(self, name: str, group: str = "all") -> Estimate | None:
        """The estimate of that name and group, or None."""
        return next((e for e in self.estimates if e.name == name and e.group == group), None)


def same_pairs(first: Run, second: Run) -> bool:
    """Whether both runs read the same content. One that does not tell the hash of its pairs is like none."""
    one, other = ((run.inputs.get("pairs") or {}).get("sha256") for run in (first, second))
    return one is not None and one == other


@dataclass(frozen=True, slots=True)
class Measured:
    """The part of a `Run` that one probe contributes; `details` are sections as the renderers read them."""

    estimates: tuple[Estimate, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def together(parts: Iterable[Measured]) -> Measured:
    """All parts as one, in order; sections that are lists are joined, others are taken from the last."""
    parts = list(parts)
    details: dict[str, Any] = {}
    for part in parts:
        for name, section in part.details.items():
            joined = isinstance(section, list) and name in details
            details[name] = [*details[name], *section] if joined else section
    return Measured(
        tuple(e for part in parts for e in part.estimates),
        tuple(f for part in parts for f in part.findings),
        details,
    )


def to_json(value: Any) -> Any:
    """A record as plain JSON values; NaN and infinities become None, since JSON has no word for them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "item"):  # NumPy scalars
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def run_to_json(run: Run) -> dict[str, Any]:
    """The content of `run.json`, opening with its schema version."""
    return {"schema_version": SCHEMA_VERSION, **to_json(run)}


def run_from_json(data: Mapping[str, Any]) -> Run:
    """The inverse of `run_to_json`. Keys this version does not know are ignored, absent ones take defaults.

    Raises `KeyError` or `TypeError` on a structure that is no run; `runs.load_run` turns that into a line.
    """
    return Run(
        command=data["command"],
        created=data["created"],
        verdict=_verdict(data.get("verdict") or {"status": "measured", "exit_code": 0}),
        decision=_decision(data.get("decision")),
        bias=tuple(_record(BiasRow, row) for row in data.get("bias", ())),
        estimates=tuple(_record(Estimate, row) for row in data.get("estimates", ())),
        findings=tuple(_finding(row) for row in data.get("findings", ())),
        **{key: data.get(key) or {} for key in ("inputs", "config", "environment", "details")},
        summary=tuple(data.get("summary") or ()),
        next=data.get("next"),
    )


def _record(kind: Any, row: Mapping[str, Any], **replaced: Any) -> Any:
    names = {f.name for f in dataclasses.fields(kind)}
    return kind(**{k: v for k, v in row.items() if k in names} | replaced)


def _finding(row: Mapping[str, Any]) -> Finding:
    estimate = row.get("estimate")
    return _record(  # type: ignore[no-any-return]
        Finding,
        row,
        lines=tuple(row.get("lines") or ()),
        worst_pairs=tuple(row.get("worst_pairs") or ()),
        estimate=_record(Estimate, estimate) if estimate else None,
    )


def _condition(row: Mapping[str, Any]) -> Condition:
    measured = row.get("measured")
    return _record(Condition, row, measured=_record(Estimate, measured) if measured else None)  # type: ignore[no-any-return]


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(row["status"], row["exit_code"], tuple(_condition(c) for c in row.get("conditions", ())))


def _decision(row: Mapping[str, Any] | None) -> Decision | None:
    if row is None:
        return None
    reasons = tuple(_record(Reason, r) for r in row.get("reasons", ()))
    return _record(Decision, row, stages=tuple(row.get("stages", ())), reasons=reasons)  # type: ignore[no-any-return]
