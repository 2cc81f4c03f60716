"""Autopsy: what happened in a finished training run, read from its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ...records import Finding, Run, Severity
from ...runs import environment, now
from .case import Case, Diagnosis, Main, Sign
from .diverged import diverged
from .log import Log
from .method import recognise
from .nonfinite import impossible, lasting, numerics
from .rules import displaced, overfit, saturated, stuck
from .tags import below_chance, flat, frozen, lr_zero, ref_mismatch, too_short, transient, zero_loss

Rule = Callable[[Case], Sign | None]

# In the order of gravity: the first that applies is the main label.
CURVES: tuple[Rule, ...] = (diverged, stuck, overfit, saturated, displaced)
ALWAYS: tuple[Rule, ...] = (frozen, lr_zero, too_short)
TAGS: tuple[Rule, ...] = (frozen, ref_mismatch, transient, below_chance, lr_zero, too_short, zero_loss)
INFORMATION = {"too_short", "below_chance", "transient"}


def diagnose(log: Log) -> Diagnosis:
    """What `log` shows: a main label, other labels that apply too, and tags. Never raises on a `Log`."""
    case = Case(log, recognise(log))
    broken = numerics(case) or impossible(case)
    # After a lasting failure the filter's zeros are no curve: no other rule may read them.
    wrecked = broken is not None and (broken.code == "PB851" or lasting(case))
    found = [broken] if broken else []
    found += _signs(case, () if wrecked else CURVES)
    tags = _signs(case, ALWAYS if wrecked else TAGS if found else (*TAGS, flat))
    if any(tag.label == "frozen" for tag in tags):
        tags = [tag for tag in tags if tag.label != "flat"]
    sign = found[0] if found else _healthy(case, tags)
    short = any(tag.label == "too_short" for tag in tags)  # further labels would be noise
    also = () if short else tuple(found[1:])
    return Diagnosis(cast(Main, sign.label), case.method, sign, also, tuple(tags), _notes(log))


def _notes(log: Log) -> tuple[str, ...]:
    """What reading the log decided, and a line for every stage before the one that is judged."""
    last = (f"stage {log.stage}, the last of {len(log.earlier) + 1}",) if log.earlier else ()
    return (*last, *(_in_short(stage) for stage in log.earlier), *log.notes)


def _in_short(stage: Log) -> str:
    found = diagnose(stage)
    since = f" since step {found.sign.since_step:g}" if found.sign.since_step is not None else ""
    tags = "".join(f", {tag.label}" for tag in found.tags)
    return f"stage {stage.stage or 'without a name'}: {found.main}{since}{tags}: {found.sign.evidence}"


def _signs(case: Case, rules: tuple[Rule, ...]) -> list[Sign]:
    return [sign for rule in rules if (sign := rule(case))]


def _healthy(case: Case, tags: list[Sign]) -> Sign:
    """The sign of a curve in which no rule fired: what moved, from where to where."""
    moved = [
        f"{name.removeprefix('rewards/')} {curve.first(10):.4g} to {curve.last(10):.4g}"
        for name in ("loss", "rewards/accuracies", "rewards/margins", "reward")
        if len(curve := case.curve(name)) > 1
    ]
    advice = (
        "Nothing in the curves to mend."
        if not tags
        else "Read the tags first: the curves alone do not show it."
    )
    return Sign("healthy", "", None, "no rule fired: " + (", ".join(moved) or "too little logged"), advice)


def to_run(log: Log, diagnosis: Diagnosis) -> Run:
    """The `Run` of an autopsy: the diagnosis in `details["autopsy"]`, the log in `details["training"]`."""
    return Run(
        command="autopsy",
        created=now(),
        findings=tuple(_finding(s) for s in (diagnosis.sign, *diagnosis.also, *diagnosis.tags) if s.code),
        inputs={"log": _log_facts(log)},
        environment=environment(),
        details={"autopsy": summary(diagnosis), "training": {"log_history": history(log)}},
    )


def _log_facts(log: Log) -> dict[str, Any]:
    steps = [row["step"] for row in log.rows]
    return {
        "path": log.source,
        "entries": len(log.train),
        "evaluations": sum(len(rows) for rows in log.evals.values()),
        "first_step": min(steps),
        "last_step": max(steps),
    }


def summary(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain JSON: `main`, `tags`, `since_step`, `evidence`, `next`, then all signs."""
    sign = diagnosis.sign
    return {
        "main": diagnosis.main,
        "code": sign.code,
        "tags": [tag.label for tag in diagnosis.tags],
        "since_step": _step(sign),
        "evidence": sign.evidence,
        "next": sign.next,
        "method": {"name": diagnosis.method.name, "why": diagnosis.method.why},
        "also": [_plain(s) for s in diagnosis.also],
        "tag_evidence": [_plain(s) for s in diagnosis.tags],
        "notes": list(diagnosis.notes),
    }


def _plain(sign: Sign) -> dict[str, Any]:
    return {
        "label": sign.label,
        "code": sign.code,
        "since_step": _step(sign),
        "evidence": sign.evidence,
        "next": sign.next,
    }


def _step(sign: Sign) -> int | float | None:
    step = sign.since_step
    return int(step) if step is not None and step.is_integer() else step


def _finding(sign: Sign) -> Finding:
    severity: Severity = "info" if sign.label in INFORMATION else "warning"
    if sign.label in ("numerics", "diverged", "frozen"):
        severity = "error"
    return Finding(sign.code, severity, f"{sign.label}: {sign.evidence}", sign.next)


def history(log: Log) -> list[dict[str, float]]:
    """The rows that were judged, in `trainer_state.json` form, training and evaluations merged by step."""
    rows = [dict(row) for row in log.train]
    for name, part in log.evals.items():
        prefix = f"eval_{name}_" if name else "eval_"
        rows += [{k if k in ("step", "epoch") else prefix + k: v for k, v in row.items()} for row in part]
    return sorted(rows, key=lambda row: row["step"])
