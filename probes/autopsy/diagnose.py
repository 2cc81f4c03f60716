"""Autopsy: what happened in a finished training run, read from its log."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from ...number_format import place_text
from ...records import Finding, Run, Severity
from ...runs import environment, now
from .case import Case, Diagnosis, Main, Sign
from .causes import with_cause
from .curve import LogRow
from .diverged import diverged
from .drift import entropy_collapse, kl_high
from .gaps import empty_sides_sign, no_tokens, skipped_step
from .healthy import SHORT_OF, broke_off, healthy, short_of_plan
from .log import Log
from .method import RecognisedMethod, recognise
from .nonfinite import impossible_sign, lasting, numerics_sign
from .online import clipped, no_signal
from .overfit import overfit_sign
from .reference import ref_mismatch
from .rules import displaced_sign, saturated_sign
from .settings import lr_high, lr_zero, smoothing_floor, summed_loss, warmup
from .stuck import stuck
from .tags import below_chance, flat, frozen_sign, not_logged, too_short, transient, zero_loss
from .unread import UNKNOWN_HELD_OUT
from .zeros import vanished

SignRule = Callable[[Case], Sign | None]

# In the order of gravity: the first that applies is the main label.
CURVES: tuple[SignRule, ...] = (diverged, stuck, overfit_sign, saturated_sign, displaced_sign)
ALWAYS: tuple[SignRule, ...] = (frozen_sign, lr_zero, lr_high, too_short)
TAGS: tuple[SignRule, ...] = (
    frozen_sign, no_tokens, no_signal, kl_high, clipped, entropy_collapse, ref_mismatch, summed_loss,
    transient, below_chance, lr_zero, lr_high, warmup, empty_sides_sign, zero_loss, smoothing_floor,
    skipped_step, too_short,
)  # fmt: skip
INFORMATION = {"too_short", "below_chance", "transient", "skipped_step", "smoothing_floor", "empty_side"}
CANNOT_TELL = (
    "To find out, log more: logging_steps=1 for the first ten steps, a hundred entries per run, three "
    "evaluations "
    "or more on held-out data."
)


GRAVITY = ("healthy", "displaced", "saturated", "overfit", "stuck", "diverged", "numerics")


def gravest(log: Log) -> Log:
    """Of several runs in one file the one whose diagnosis is the gravest, of equals the last; else `log`."""
    if not log.separate or not log.earlier:
        return log
    runs = [*log.earlier, replace(log, earlier=(), separate=False)]
    found = [_gravity(diagnose(run)) for run in runs]
    at = max(range(len(runs)), key=lambda i: (found[i], i))
    return replace(runs[at], earlier=tuple(runs[:at] + runs[at + 1 :]), separate=False, count=len(runs))


def _gravity(found: Diagnosis) -> tuple[int, int]:
    # What a run of few entries seems to be is no reason to judge it in place of a whole one.
    main = found.main if found.sign.confidence != "cannot tell" else "healthy"
    return GRAVITY.index(main), sum(tag.label not in INFORMATION for tag in found.tags)


def diagnose(log: Log) -> Diagnosis:
    """What `log` shows: a main label, other labels that apply too, and tags. Never raises on a `Log`.

    Of several runs in one file the gravest is judged; the others get a line each.
    """
    log = gravest(log)
    method = recognise(log)
    case = Case(averaged(log, method) if method.accumulated_batches > 1 else log, method)
    broken = numerics_sign(case) or impossible_sign(case) or vanished(case)
    # After a lasting failure the filter's zeros are no curve: no other rule may read them.
    wrecked = broken is not None and (broken.code != "PB850" or lasting(case))
    found = [broken] if broken else []
    found += _signs(case, () if wrecked else CURVES)
    tags = _tags(case, wrecked, bool(found))
    short = any(tag.label == "too_short" for tag in tags)  # further labels would be noise
    sign = _weighed(with_cause(found[0] if found else healthy(case), tags), short)
    also = () if short else tuple(found[1:])
    return Diagnosis(cast(Main, sign.label), method, sign, also, tuple(tags), _notes(log), log.unit)


def averaged(log: Log, method: RecognisedMethod) -> Log:
    """A log whose summed losses are divided by their micro-batches: all, or fewer in a partial one."""
    return replace(log, train=tuple(_averaged(row, method.accumulated_batches) for row in log.train))


def _averaged(row: LogRow, times: int) -> LogRow:
    if not math.isfinite(row.get("loss", math.nan)):
        return row
    margin = row.get("rewards/margins", 0.0)
    one = math.log1p(math.exp(-max(-30.0, min(30.0, margin)))) if math.isfinite(margin) else math.log(2.0)
    parts = next((k for k in range(1, times) if abs(row["loss"] / (k * one) - 1.0) < 0.03), times)
    return {**row, "loss": row["loss"] / parts, "loss_sum": row["loss"], "loss_parts": float(parts)}


def _tags(case: Case, wrecked: bool, failed: bool) -> list[Sign]:
    tags = _signs(case, ALWAYS if wrecked else TAGS if failed else (*TAGS, flat))
    if wrecked and not lasting(case):
        tags += _signs(case, (zero_loss,)) if case.method.family == "supervised" else []
    known = {tag.label for tag in tags}
    # What follows from a graver tag is no news: masked tokens give no gradient, ties no accuracy.
    if known & {"frozen", "no_tokens"}:
        tags = [tag for tag in tags if tag.label != "flat"]
    if "no_tokens" in known:
        tags = [tag for tag in tags if tag.label not in ("frozen", "below_chance")]
    return tags


def _weighed(sign: Sign, short: bool) -> Sign:
    """Under five entries nothing but arithmetic is known: the sign says so, and what to log next time."""
    if not short or sign.code in ("PB850", "PB851"):
        return sign
    return replace(sign, confidence="cannot tell", next=f"{sign.next} {CANNOT_TELL}")


def _notes(log: Log) -> tuple[str, ...]:
    """What reading the log decided, and a line for every stage before the one that is judged."""
    which = f"the most serious of {log.count} runs" if log.count else f"the last of {len(log.earlier) + 1}"
    last = (f"{_called(log)}, {which}",) if log.earlier else ()
    return (*last, *(_in_short(stage) for stage in log.earlier), *log.notes, *_unseen(log))


def _unseen(log: Log) -> tuple[str, ...]:
    """What a log cannot show, whatever its curves look like."""
    told = [log.unread] if log.unread else []
    told += filter(None, [short_of_plan(log, SHORT_OF), broke_off(log), not_logged(log)])
    unseen = not log.evals and UNKNOWN_HELD_OUT not in log.unread
    if log.train and unseen and recognise(log).family == "supervised":
        told.append("no held-out loss in this log: over-fitting cannot be seen in it")
    return tuple(told)


def _in_short(stage: Log) -> str:
    found = diagnose(stage)
    since = f" since {stage.at(found.sign.since_step)}" if found.sign.since_step is not None else ""
    tags = "".join(f", {tag.label}" for tag in found.tags)
    return f"{_called(stage)}: {found.main}{since}{tags}: {found.sign.evidence}"


def _called(log: Log) -> str:
    """`stage dpo`, or what a run or the cell of a notebook is called already."""
    named = re.match(r"(run|cell) ", log.stage)
    return log.stage if named else f"{'run' if log.run else 'stage'} {log.stage or 'without a name'}"


def _signs(case: Case, rules: tuple[SignRule, ...]) -> list[Sign]:
    return [sign for rule in rules if (sign := rule(case))]


def to_run(log: Log, diagnosis: Diagnosis) -> Run:
    """The `Run` of an autopsy: the diagnosis in `details["autopsy"]`, the log in `details["training"]`."""
    log = gravest(log)
    return Run(
        command="autopsy",
        created=now(),
        findings=tuple(_finding(s) for s in (diagnosis.sign, *diagnosis.also, *diagnosis.tags) if s.code),
        inputs={"log": _log_facts(log)},
        environment=environment(),
        details={"autopsy": diagnosis_json(diagnosis), "training": {"log_history": history(log)}},
    )


def _log_facts(log: Log) -> dict[str, Any]:
    steps = [row["step"] for row in log.rows]
    return {
        "path": log.source,
        "entries": len(log.train),
        "evaluations": sum(len(rows) for rows in log.evals.values()),
        "first_step": min(steps),
        "last_step": max(steps),
        "unit": log.unit,
        "form": log.form,
    }


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain JSON: `main`, `tags`, `since_step`, `evidence`, `next`, then all signs."""
    sign = diagnosis.sign
    return {
        "main": diagnosis.main,
        "code": sign.code,
        "tags": [tag.label for tag in diagnosis.tags],
        "since_step": _step(sign, diagnosis.unit),
        "since": _since(sign, diagnosis.unit),
        "confidence": sign.confidence,
        "evidence": sign.evidence,
        "next": sign.next,
        "method": {"name": diagnosis.method.name, "why": diagnosis.method.why},
        "also": [_plain(s, diagnosis.unit) for s in diagnosis.also],
        "tag_evidence": [_plain(s, diagnosis.unit) for s in diagnosis.tags],
        "notes": list(diagnosis.notes),
    }


def _plain(sign: Sign, unit: str) -> dict[str, Any]:
    return {
        "label": sign.label,
        "code": sign.code,
        "since_step": _step(sign, unit),
        "since": _since(sign, unit),
        "confidence": sign.confidence,
        "evidence": sign.evidence,
        "next": sign.next,
    }


def _step(sign: Sign, unit: str) -> int | float | None:
    """The step, or None where the log counts something else: an entry is never called a step."""
    step = sign.since_step if unit == "step" else None
    return int(step) if step is not None and step.is_integer() else step


def _since(sign: Sign, unit: str) -> str | None:
    """`step 20` or `entry 3`, in words."""
    return None if sign.since_step is None else f"{unit} {place_text(sign.since_step)}"


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
