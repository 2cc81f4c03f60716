"""The last sentence of a gate's paragraph: what to do, why, what in its place, and how sure that is.

It follows from the decision alone: a clause that names another method is left out.
"""

from __future__ import annotations

import re

from ..number_format import measured
from ..records import Decision, Run
from .advice import in_words, methods, own
from .sentences import APART, apart_told, errors_of, given_prompt

STRENGTH = re.compile(r"evidence: (\w+)$")


def decided(run: Run) -> str:
    """What to do, why, what in its place, and how sure that is."""
    decision = run.decision
    if decision is None:
        return ""
    instead = allowed(str((decision.runner_up or {}).get("instead") or ""), decision)
    sure = next((m[1] for r in decision.reasons if (m := STRENGTH.search(r.source))), "")
    because = "" if _told_before(run, decision) else _because(run, decision)
    first = in_words(decision)
    text = f"{first[:1].upper()}{first[1:]}{f', because {because}' if because else ''}"
    text += f"; instead: {instead}" if instead else ""
    return f"{text} (evidence: {WORDS.get(sure, sure)})." if sure else f"{text}."


def _told_before(run: Run, decision: Decision) -> bool:
    """Whether the sentence of the faults, which stands before, has said what the decision rests on."""
    first = next((f.code for f in errors_of(run)), "")
    return bool(first) and not given_prompt(run) and [r.code for r in decision.reasons[:1]] == [first]


def _because(run: Run, decision: Decision) -> str:
    """What the decision rests on first: told by its number where that has words, else by its finding."""
    code = decision.reasons[0].code if decision.reasons else ""
    if code in APART and apart_told(run):
        return "that is what they would teach"
    name, words = BECAUSE.get(code, ("", ""))
    found = run.estimate(name) if name else None
    if found is not None and found.value is not None:
        return words.format(measured(found))
    finding = next((f for f in run.findings if f.code == code and code != "PB705"), None)
    if finding is None or methods(finding.message) - own(run):
        return ""
    return finding.message.split(": ")[0].rstrip(".")


BECAUSE = {
    "PB120": (
        "flip_budget_share",
        "on {} of them it leans further against than preference training usually turns",
    ),
    "PB505": ("length_accuracy", "what a short training learns of them is length"),
    "PB310": ("agreement", "people agree with only {} of their labels"),
}
WORDS = {"reasoned": "reasoning, not measurement"}


def allowed(text: str, decision: Decision) -> str:
    """The clauses of `text` that name no method other than the decided one."""
    named = methods(decision.method.replace("+", " "))
    kept = [clause for clause in re.split(r"; |, or ", text) if methods(clause) <= named]
    return "; ".join(c.rstrip(".") for c in kept)
