"""What the gate says of unpaired answers: conditions, a verdict, and sft, kto, fix-data or do-not-train.

A smaller table than that of pairs: labels that are sound, not told apart by the surface, told apart by the
frozen model's states under the prompt, and a short KTO run that parts the two kinds on unseen prompts. The
limits are those of pairs, and were not validated for unpaired data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..records import Condition, Decision, Estimate, Reason, Result, Run, Verdict
from ..shared_limits import TRIVIAL
from .conditions import RULES
from .judge import verdict_of

SIGNAL = RULES["signal_accuracy"].limit or 0.6
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
    decision = decided(run)
    surface, signal = run.estimate("surface_accuracy"), run.estimate("signal_accuracy")
    errors = [f for f in run.findings if f.severity == "error" and f.estimate is None]
    labels = Condition(
        "labels", "all", None, None, "fail" if errors else "pass",
        errors[0].code if errors else "PB36", errors[0].message if errors else "", sense="clean",
    )  # fmt: skip
    own = limits or {}
    conditions = [labels]
    if (limit := own.get("surface_accuracy", TRIVIAL)) is not False:
        conditions.append(_held("surface_accuracy", surface, float(limit), "PB362", minimum_n, below=True))
    if (limit := own.get("signal_accuracy", SIGNAL)) is not False:
        conditions.append(_held("signal_accuracy", signal, float(limit), "PB240", minimum_n, below=False))
    if decision is None or "kto" in (decision.stages or ("kto",)):
        trial = run.estimate("trial_gap_change")
        conditions.append(_held("trial_gap_change", trial, 0.0, "PB501", minimum_n, below=False))
    verdict = verdict_of(conditions, "warn" if inconclusive == "warn" else "fail")
    if verdict.status == "pass" and not (decision and decision.stages):
        verdict = Verdict("inconclusive", 1, verdict.conditions)
    return replace(run, decision=decision, verdict=verdict)


def _held(
    name: str, measured: Estimate | None, limit: float, code: str, minimum_n: int, *, below: bool
) -> Condition:
    """Shown to lie on its side of the limit, or on the other; else inconclusive."""
    result: Result = "inconclusive"
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


def decided(run: Run) -> Decision | None:
    """The method with its reason; None where what it rests on could not be measured."""
    errors = [f for f in run.findings if f.severity == "error"]
    surface, signal = run.estimate("surface_accuracy"), run.estimate("signal_accuracy")
    if errors:
        return _decision("fix-data", errors[0].code, errors[0].message)
    if not run.details["unpaired"]["unwanted"]:
        return _decision("sft", "PB360", "there are wanted answers alone")
    if signal is not None and signal.high is not None and signal.high < SIGNAL:
        text = f"the model's states tell the labels in {signal.value:.0%}, below {SIGNAL:.0%}"
        return _decision("do-not-train", "PB240", text)
    trial = run.estimate("trial_gap_change")
    if trial is not None and trial.high is not None and trial.high < 0:
        text = f"a short KTO run moves unseen answers the wrong way ({trial.value:+.3f} nats/token)"
        return _decision("do-not-train", "PB501", text)
    if surface is None or surface.value is None:
        return None
    return _decision("kto", "PB362", f"both labels, not told apart by the surface ({surface.value:.0%})")


def _decision(method: str, code: str, text: str) -> Decision:
    stages: Sequence[str] = () if method in ("fix-data", "do-not-train") else (method,)
    return Decision(method, tuple(stages), {}, (Reason(code, text, SOURCE),))
