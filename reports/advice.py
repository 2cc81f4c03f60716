"""Findings as a report gives them: advice follows from the decision, and a fact of the design is no fault."""

from __future__ import annotations

import dataclasses
import re

from ..records import Decision, Finding, Run
from . import view

METHOD_WORDS = {
    "do-not-train": "do not train on these pairs",
    "fix-data": "correct the pair file before any training",
    "sft": "train by SFT on the chosen side",
    "dpo": "train by DPO",
    "dpop": "train by DPOP, which holds the chosen side up",
    "dpo+nll": "train by DPO+NLL, which holds the chosen side up",
    "orpo": "train by ORPO, in one stage",
    "sft+dpo": "train in two stages, SFT and then DPO",
}
# Of answers with a label each, where that is another sentence.
ANSWER_WORDS = {
    "do-not-train": "do not train on these answers",
    "fix-data": "correct the file of answers before any training",
    "sft": "train by SFT on the wanted answers",
}
SET_UP = "do not train with this set-up"  # where the arithmetic fails, whatever the pairs are
METHOD_NAMES = re.compile(r"\b(?:sft|dpop?|cdpo|orpo|ipo|kto|simpo|nll|ppo|grpo)\b", re.IGNORECASE)
TRAINS = re.compile(r"\b(?:train|tuning|epoch|loss|lora)\b", re.IGNORECASE)
# Sides that state two beliefs differ in their words, and so in the states that read them.
DESIGN = ("PB202", "PB204", "PB206", "PB241")
DESIGNED = "a fact of the design, where each side states a belief in its own words"
PREFERS_REJECTED = "PB120"  # what a decision not to train rests on where a belief does not turn


def in_words(decision: Decision, of: str = "pair") -> str:
    """A decision as an instruction: `do not train on these pairs`, or answers, as `of` says."""
    if not decision.stages and decision.reasons and decision.reasons[0].code.startswith("PB0"):
        return SET_UP
    words = {**METHOD_WORDS, **(ANSWER_WORDS if of == "answer" else {})}
    return words.get(decision.method, f"train by {decision.method}")


def lowered(text: str) -> str:
    """`text` to stand inside a sentence: its first letter small, unless its first word is a name."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def methods(text: str) -> set[str]:
    """The training methods that a text names."""
    return {word.lower() for word in METHOD_NAMES.findall(text)}


def own(run: Run) -> set[str]:
    """The training methods that the decision names."""
    return methods(run.decision.method.replace("+", " ")) if run.decision else set()


def beliefs(run: Run) -> bool:
    """Whether the pairs set one belief against another: the user says so, or the decision rests on it."""
    decided = run.decision is not None and not run.decision.stages and leads(run.decision, PREFERS_REJECTED)
    return run.config.get("goal") == "fact" or decided


def leads(decision: Decision, code: str) -> bool:
    """Whether the decision rests on that finding first."""
    return bool(decision.reasons) and decision.reasons[0].code == code


def advised_findings(run: Run) -> list[Finding]:
    """Every finding, the gravest first, with advice that does not contradict the decision.

    Of those as grave, what the decision rests on comes first.
    """
    told = [_accepted(_fitting(_designed(f, run), run), run) for f in run.findings]
    reasons = [reason.code for reason in run.decision.reasons] if run.decision else []
    found = view.sorted_findings(dataclasses.replace(run, findings=tuple(told)))
    return sorted(found, key=lambda f: (view.SEVERITY[f.severity], f.code not in reasons))


def standing(finding: Finding, run: Run) -> str:
    """The finding's severity as a report shows it, or `accepted`."""
    return "accepted" if view.reason_accepted(finding, run) else finding.severity


def _accepted(finding: Finding, run: Run) -> Finding:
    """What the configuration accepts is told with the reason given, in place of advice."""
    reason = view.reason_accepted(finding, run)
    if not reason:
        return finding
    return dataclasses.replace(finding, message=f"{finding.message} (accepted: {reason})", remedy="")


def _designed(finding: Finding, run: Run) -> Finding:
    if finding.code not in DESIGN or not beliefs(run):
        return finding
    return dataclasses.replace(finding, severity="info", message=f"{finding.message}; {DESIGNED}", remedy="")


def _fitting(finding: Finding, run: Run) -> Finding:
    """Advice that fits another decision says so."""
    if run.decision is None or not finding.remedy:
        return finding
    if not run.decision.stages and finding.remedy.startswith("Do not train"):
        return finding
    strange = methods(finding.remedy) - own(run)
    if run.decision.stages and not strange:
        return finding
    if not run.decision.stages and not strange and not TRAINS.search(finding.remedy):
        return finding
    lead = "If you train by another method: " if run.decision.stages else "If you train anyway: "
    return dataclasses.replace(finding, remedy=lead + lowered(finding.remedy))
