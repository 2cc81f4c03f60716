"""What the gate says of unpaired answers: conditions, a verdict, and sft, kto, fix-data or do-not-train.

A smaller table than that of pairs: labels that are sound, not told apart by the surface, told apart by the
frozen model's states under the prompt, and a short KTO run that parts the two kinds on unseen prompts. The
limits are those of pairs, and were not validated for unpaired data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..number_format import limit_text
from ..number_format import measured as shown
from ..records import Condition, ConditionResult, Decision, Estimate, Reason, Run, Verdict
from ..shared_limits import LEARNABLE, TRIVIAL
from . import restated
from .judge import verdict_of

ANSWER_LIMITS = ("surface_accuracy", "signal_accuracy")  # those of `[gate.limits]` that are taken
SOURCE = "docs/commands/unpaired.md"


def judged_unpaired(
    run: Run,
    inconclusive: str = "fail",
    limits: Mapping[str, float | bool] | None = None,
    minimum_n: int = 20,
) -> Run:
    """A run of `probe unpaired` with its decision and verdict.

    `limits`: those of `[gate.limits]`, of which the first two conditions take theirs (False: not judged).
    Inconclusive where something was not measured, or its interval holds the limit: nothing passes unmeasured.
    """
    own, unwanted = limits or {}, run.details["unpaired"]["unwanted"]
    asked = [
        ("surface_accuracy", own.get("surface_accuracy", TRIVIAL), "PB362", True),
        ("signal_accuracy", own.get("signal_accuracy", LEARNABLE), "PB363", False),
        ("trial_gap_change", 0.0 if unwanted else False, "PB364", False),  # SFT has no such trial
    ]
    held = {
        name: _held(name, run.estimate(name), float(limit), code, minimum_n, below=below)
        for name, limit, code, below in asked
        if limit is not False
    }
    run = _followed(run, held.get("surface_accuracy"))
    labels = _labels(run)
    decision = _decided(run, labels, held)
    verdict = verdict_of([labels, *held.values()], "warn" if inconclusive == "warn" else "fail")
    if verdict.status == "pass" and decision is None:
        verdict = Verdict("inconclusive", 1, verdict.conditions)
    return replace(run, decision=decision, verdict=verdict)


def _followed(run: Run, surface: Condition | None) -> Run:
    """One measurement has one result: the error that restates the surface is one where that fails."""
    findings, rows = [], []
    for finding in restated.measured_findings(run):
        changed: dict[str, Any] = {}
        if finding.estimate is not None and (surface is None or surface.result != "fail"):
            why = f"not past the limit of {surface.limit:g}" if surface else "its condition is switched off"
            changed = {"severity": "info", "message": f"{finding.message} ({why})"}
            rows.append({key: getattr(finding, key) for key in ("code", "group", "severity", "message")})
        findings.append(replace(finding, **changed))
    details = {k: v for k, v in run.details.items() if k != "followed"} | ({"followed": rows} if rows else {})
    return replace(run, findings=tuple(findings), details=details)


def _labels(run: Run) -> Condition:
    """Whether the labels are sound: no error finding but the one that restates the surface."""
    error = next((f for f in run.findings if f.severity == "error" and f.estimate is None), None)
    code, message = (error.code, error.message) if error else ("PB36", "")
    return Condition("labels", "all", None, None, "fail" if error else "pass", code, message, sense="clean")


def _held(
    name: str, measured: Estimate | None, limit: float, code: str, minimum_n: int, *, below: bool
) -> Condition:
    """Shown to lie on its side of the limit, or on the other; else inconclusive."""
    result: ConditionResult = "inconclusive"
    message = "not measured; what was not run never passes"
    if measured is not None and measured.value is not None and measured.n < minimum_n:
        message = f"{measured.n} of the {minimum_n} answers that a verdict needs"
    elif measured is not None and measured.low is not None and measured.high is not None:
        good = measured.high <= limit if below else measured.low >= limit
        bad = measured.low > limit if below else measured.high < limit
        result = "pass" if good else "fail" if bad else "inconclusive"
        message = (
            "" if result != "inconclusive" else "the interval holds the limit; more answers would settle it"
        )
    return Condition(name, "all", measured, limit, result, code, message, sense="<=" if below else ">=")


def _decided(run: Run, labels: Condition, held: Mapping[str, Condition]) -> Decision | None:
    """The method with its reason; None where what it rests on could not be measured."""
    if labels.result == "fail":
        return _decision("fix-data", labels.code, labels.message)
    failed = {name: c for name, c in held.items() if c.result == "fail"}
    if found := failed.get("surface_accuracy"):
        return _decision("fix-data", found.code, f"the labels can be told without the prompt, {_told(found)}")
    if not run.details["unpaired"]["unwanted"]:
        return _decision("sft", "PB360", "there are wanted answers alone")
    if found := failed.get("signal_accuracy"):
        return labels_not_in_states(found)
    if found := failed.get("trial_gap_change"):
        return moved_the_wrong_way(found)
    surface = run.estimate("surface_accuracy")
    if surface is None or surface.value is None:
        return None
    return _decision("kto", "PB362", f"both labels, not told apart by the surface ({surface.value:.0%})")


def labels_not_in_states(failed: Condition) -> Decision:
    """PB363 labels not in the states: the frozen model's states do not tell wanted from unwanted answers.

    Means: the balanced accuracy of a linear classifier of the states over the answer, prompt included, is
    shown to stay below {LEARNABLE:.0%} in folds that share no prompt.
    Why: what KTO is to learn has to be there to be read; of pairs, below it preference training memorises.
    Do: do not train on these answers. Collect clearer ones; SFT if the wanted answers alone are to be learnt.
    Source: the limit is that of pairs (PB240, docs/validity-appendix.md); for unpaired data it was not
    validated.
    """
    return _decision("do-not-train", "PB363", f"the model's states tell the labels, {_told(failed)}")


def moved_the_wrong_way(failed: Condition) -> Decision:
    """PB364 trial on answers: a short KTO run does not widen the gap of wanted over unwanted answers.

    Means: half of the prompts was trained on and the other half scored before and after; the condition fails
    where the whole interval of the gap's change lies below 0, and is open where it holds 0.
    Why: a full run goes on in the direction of its first steps.
    Do: check the labels, or collect more and clearer answers. If only the wanted ones are to be learnt, SFT.
    Source: the sign of an interval by prompt; how it forecasts full runs was not measured.
    """
    assert failed.measured is not None
    text = f"a short KTO run moves unseen answers the wrong way ({failed.measured.value:+.3f} nats/token)"
    return _decision("do-not-train", "PB364", text)


def _told(failed: Condition) -> str:
    """The measured share beside its limit."""
    assert failed.measured is not None and failed.limit is not None
    side = "over" if failed.sense == "<=" else "below"
    return f"in {shown(failed.measured, failed.limit)}, {side} {limit_text(failed.limit, 'share')}"


def _decision(method: str, code: str, text: str) -> Decision:
    stages: Sequence[str] = () if method in ("fix-data", "do-not-train") else (method,)
    return Decision(method, tuple(stages), {}, (Reason(code, text, SOURCE),))
