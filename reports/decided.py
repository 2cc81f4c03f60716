"""The first sentence of a gate's paragraph: what to do, why, what in its place, and how sure that is.

It follows from the decision and the verdict alone: a clause that names another method is left out, and where
the two seem to say different things it says how they go together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..number_format import measured
from ..records import Condition, Decision, Run
from ..shared_limits import CHANCE
from .advice import in_words, lowered, methods, own
from .next_step import FORM_CODES, failing, trains, why_unmeasured
from .sentences import SEPARABLE, apart_told, deciding_fault
from .view import condition_name as name
from .view import unit

EVIDENCE = re.compile(r"evidence: (\w+)$")


def decided(run: Run) -> str:
    """What to do, why, what in its place, and how sure that is."""
    decision = run.decision
    if decision is None:
        return ""
    if refusal := _refused(run, decision):
        return refusal
    if deciding_fault(run):  # the next sentence says why, and what to do about it
        return f"{_first(run, decision)}{_although(run, decision)}{_strength(decision)}."
    instead = _to_measure(run) or clauses_left(str((decision.runner_up or {}).get("instead") or ""), decision)
    because = _because(run, decision)
    text = _first(run, decision) + (f", because {because}" if because else _unshown(run, decision))
    text += _although(run, decision)
    text += f"; instead: {instead}" if instead else ""
    return f"{text}{_strength(decision)}."


def _refused(run: Run, decision: Decision) -> str:
    """The sentence where a condition fails that the decision does not rest on: it and its remedy are told."""
    failed = failing(run)
    if decision.stages or not failed or {c.code for c in failed} & {r.code for r in decision.reasons}:
        return ""
    remedies = {f.code: f.remedy.rstrip(".") for f in run.findings if methods(f.remedy) <= own(run)}
    remedy = next((remedies[c.code] for c in failed if remedies.get(c.code)), "")
    first = in_words(decision, unit(run))
    text = f"{first[:1].upper()}{first[1:]}, because {_standing(run)}"
    return f"{text}; instead: {lowered(remedy)}." if remedy else f"{text}."


def _to_measure(run: Run) -> str:
    """What the file needs, where nothing was found and a probe that the gate asks for had no measurement."""
    if failing(run) or run.decision is None or run.decision.stages:
        return ""
    reasons = [why for c in failing(run, "inconclusive") if (why := why_unmeasured(c))]
    return lowered(reasons[0].rstrip(".").rpartition(". ")[2]) if reasons else ""


def instruction(run: Run) -> str:
    """The decision in a few words, held back where conditions stand that the method does not answer."""
    if run.decision is None:
        return ""
    held = run.command == "gate" and run.decision.stages and not trains(run)
    return NOT_YET if held else in_words(run.decision, unit(run))


def _first(run: Run, decision: Decision) -> str:
    """The instruction, and where it holds back why, and what the method would be."""
    words = instruction(run)
    if words == NOT_YET:
        words = f"{words}, since {_standing(run)}; once that is settled, {in_words(decision, unit(run))}"
    return f"{words[:1].upper()}{words[1:]}"


def _unshown(run: Run, decision: Decision) -> str:
    """Why not to train where nothing that was found forbids it: what would have to be shown is open."""
    standing = _standing(run)
    if decision.stages or failing(run) or not standing:
        return ""
    return f", because it is not shown that training would help ({standing})"


def _although(run: Run, decision: Decision) -> str:
    """How a verdict that does not pass goes together with a decision to train."""
    standing = _standing(run)
    if not standing or not decision.stages or not trains(run):
        return ""
    excuse = "an open question only warns here" if run.verdict.exit_code == 0 else "the method answers that"
    if decision.stages == ("sft",) and any(c.code.startswith(FORM_CODES) for c in failing(run)):
        excuse = "SFT does not read the rejected side, which alone has that form"
    return f", although {standing}: {excuse}"


def _standing(run: Run) -> str:
    """The conditions that keep the verdict from a pass, in words: `length accuracy fails`."""
    failed, open_ = _names(failing(run)), _names(failing(run, "inconclusive"))
    if failed:
        return f"{_listed(failed)} {'fails' if len(failed) == 1 else 'fail'}"
    return f"{_listed(open_)} {'is' if len(open_) == 1 else 'are'} open" if open_ else ""


def _names(conditions: Iterable[Condition]) -> list[str]:
    return list(dict.fromkeys(map(name, conditions)))


def _listed(names: Sequence[str]) -> str:
    shown = (
        names
        if len(names) <= MOST_NAMES
        else [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _strength(decision: Decision) -> str:
    sure = next((m[1] for r in decision.reasons if (m := EVIDENCE.search(r.source))), "")
    return f" (evidence: {GRADES.get(sure, sure)}; `probe explain evidence`)" if sure else ""


def _because(run: Run, decision: Decision) -> str:
    """What the decision rests on first; where that is what a trial learned, which speaks for any method, also
    what chose this one."""
    code = decision.reasons[0].code if decision.reasons else ""
    if code == "PB501" and decision.stages:
        chose = next((r.code for r in decision.reasons if r.code != "PB501"), "")
        return ", and ".join(filter(None, (_learnt(run), _told(run, chose))))
    return _told(run, code)


def _told(run: Run, code: str) -> str:
    """A finding that a decision rests on: by its number where that has words, else by its message."""
    if code in SEPARABLE and apart_told(run):
        return "that is what they would teach"
    name, words = BECAUSE.get(code, ("", ""))
    found = run.estimate(name) if name else None
    if found is not None and found.value is not None:
        return words.format(measured(found))
    finding = next((f for f in run.findings if f.code == code and code != "PB705"), None)
    if finding is None or methods(finding.message) - own(run):
        return ""
    return re.split(": |; ", ASIDE.sub("", finding.message))[0].rstrip(".")


def _learnt(run: Run) -> str:
    """What a short training moved beyond chance: answers where they are judged, else margins."""
    answers, margins = run.estimate("behaviour_up"), run.estimate("trial_accuracy")
    if answers is not None and answers.low is not None and answers.low > CHANCE:
        return f"{measured(answers)} of the answers that a short training moved went to the chosen kind"
    if margins is not None and margins.low is not None and margins.low > CHANCE:
        return f"a short training raises the margin of {measured(margins)} of unseen pairs"
    return ""


BECAUSE = {
    "PB120": (
        "flip_budget_share",
        "in {} of them the model prefers the rejected side by more than preference training usually changes",
    ),
    "PB505": ("length_accuracy", "what a short training learns from them is length"),
    "PB310": ("agreement", "people agree with only {} of their labels"),
}
# The strength of a rule of the decision table as a place on its scale.
GRADES = {
    "certain": "certain",
    "good": "good, second of four grades",
    "moderate": "moderate, third of four grades",
    "reasoned": "reasoned, the last of four grades",
}
ASIDE = re.compile(r" \((?:[^()]|\([^()]*\))*\)")  # in brackets, with brackets of its own
NOT_YET = "do not train yet"
MOST_NAMES = 3  # conditions that the sentence names


def clauses_left(text: str, decision: Decision) -> str:
    """The clauses of `text` that name no method other than the decided one."""
    named = methods(decision.method.replace("+", " "))
    kept = [clause for clause in re.split(r"; |, or ", text) if methods(clause) <= named]
    return "; ".join(c.rstrip(".") for c in kept)
