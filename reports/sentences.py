"""The sentences of a run's summary, each built by a rule from estimates, findings and the decision.

A rule answers one sentence, or "" where the run has nothing for it. A side is named only where the verdict
and the sign of the gap agree on it; a method only where it is the decided one. Where a number is missing, the
sentence is: nothing here takes the absence of a number for good news.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..number_format import count, interval, measured, number
from ..records import Decision, Estimate, Finding, Run
from .view import model_name, sides

METHOD_WORDS = {
    "do-not-train": "do not train on these pairs",
    "fix-data": "mend the pair file before any training",
    "sft": "train by SFT on the chosen side",
    "dpo": "train by DPO",
    "dpop": "train by DPOP, which holds the chosen side up",
    "dpo+nll": "train by DPO+NLL, which holds the chosen side up",
    "orpo": "train by ORPO, in one stage",
    "sft+dpo": "train in two stages, SFT and then DPO",
}
NAMES = re.compile(r"\b(?:sft|dpop?|cdpo|orpo|ipo|kto|simpo|nll|ppo|grpo)\b", re.IGNORECASE)
STRENGTH = re.compile(r"evidence: (\w+)$")
CHANCE, TRIVIAL = 0.5, 0.9
AGAINST = {"favours chosen": "rejected", "favours rejected": "chosen"}


def in_words(decision: Decision) -> str:
    """A decision as an instruction: `do not train on these pairs`."""
    return METHOD_WORDS.get(decision.method, f"train by {decision.method}")


def favoured(run: Run) -> str | None:
    """The side that both the verdict and the sign of the gap favour: `chosen`, `rejected` or None."""
    row = next((row for row in run.bias if row.group == "all"), None)
    gap = run.estimate("gap")
    if row is None or gap is None or gap.value is None:
        return None
    shown = {"favours chosen": gap.value > 0, "favours rejected": gap.value < 0}
    return row.verdict.removeprefix("favours ") if shown.get(row.verdict) else None


def preference(run: Run) -> str:
    """Which side the model prefers and by how much, seen from the side that wins."""
    row, gap = next((row for row in run.bias if row.group == "all"), None), run.estimate("gap")
    if row is None or gap is None or gap.value is None:
        return ""
    model, side = model_name(run) or "The model", favoured(run)
    if side is not None:
        name = sides(run)[side == "rejected"]
        name = f"the {name} side" if name == side else name
        low, high, value = _seen_from(gap, side)
        return (
            f"{model} already prefers {name}{_wins(run, side)}: by {value:.2f} nats/token "
            f"{_bare(low, high)} on average."
        )
    if row.verdict == "neutral":
        return f"{model} prefers neither side: the mean gap is {measured(gap)} {gap.units}, within the limit."
    if row.verdict == "unstable":
        return (
            f"Which side {model} prefers cannot be said: the sign of the gap changes with the template or "
            "with the way log-probs are counted."
        )
    if row.verdict == "undetermined":
        shown = f"the mean gap is {measured(gap)} {gap.units}"
        return f"{count(gap.n, 'pair')} cannot show which side {model} prefers: {shown}."
    return f"Verdict and numbers do not agree on which side {model} prefers; no side is named."


def _seen_from(gap: Estimate, side: str) -> tuple[float | None, float | None, float]:
    """The gap's interval and value from the side that it favours, so that one sentence has one sign."""
    value = gap.value or 0.0
    if side == "chosen":
        return gap.low, gap.high, value
    return (None if gap.high is None else -gap.high), (None if gap.low is None else -gap.low), -value


def _bare(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "(no interval can be given)"
    return f"[{low:.2f}, {high:.2f}]".replace("-", "−")


def _wins(run: Run, side: str) -> str:
    rate, ties = run.estimate("win_rate"), run.estimate("tie_share")
    if rate is None or rate.value is None or (ties is not None and ties.value):
        return ""
    won = round(rate.value * rate.n)
    won = won if side == "chosen" else rate.n - won
    return f" in {won:,} of {count(rate.n, 'pair')}" if 2 * won > rate.n else ""


def given_prompt(run: Run) -> str:
    """Whether the preference depends on the prompt: the gap with the prompt less the gap without it."""
    added, side = run.estimate("gap_prompt_corrected"), favoured(run)
    if added is None or side is None or added.low is None or added.high is None:
        return ""
    low, high, value = _seen_from(added, side)
    amount = f"{number(value, added.units)} {interval(low, high, added.units)} {added.units}"
    if low is not None and low > 0:
        return f"That depends on the prompt, which adds {amount} of it."
    if high is not None and high < 0:
        return f"It holds without the prompt, which even works against it ({amount})."
    return f"That it depends on the prompt is not shown: the prompt adds {amount}."


def told_apart(run: Run) -> str:
    """Whether the sides can be told apart without the prompt, and whether that is a fact of the design."""
    found = run.estimate("surface_accuracy")
    if found is None or found.value is None:
        return ""
    share = f"{measured(found)} of {count(found.n, 'pair')}"
    said = f"Without the prompt, words alone tell the sides apart in {share}"
    if beliefs(run):
        return f"{said}, as they must where each side states a belief: a fact of the design, not a fault."
    learnt = found.low is not None and found.low > TRIVIAL
    return said + (", which training would learn in place of the prompt." if learnt else ".")


def beliefs(run: Run) -> bool:
    """Whether the user has said that the pairs set one belief against another (`--goal fact`)."""
    return run.config.get("goal") == "fact"


def would_learn(run: Run) -> str:
    """What a short training did to unseen pairs, and to the chosen side's own probability."""
    found = run.estimate("trial_accuracy")
    if found is None or found.value is None:
        return ""
    ranked = f"A short training ranks {measured(found)} of {found.n:,} unseen pairs right"
    if found.low is None or found.high is None:
        return f"{ranked}; without an interval nothing follows from that."
    if found.low > CHANCE:
        return f"{ranked}, so it learns something that carries over{_sinks(run)}."
    if found.high < CHANCE:
        return f"{ranked}, worse than chance."
    return f"{ranked}, which is not shown to be better than chance."


def _sinks(run: Run) -> str:
    change = run.estimate("trial_chosen_change")
    if change is None or change.high is None or change.high >= 0:
        return ""
    return f", while the chosen side itself loses {abs(change.value or 0.0):.2f} nats/token"


def behaviour(run: Run) -> str:
    """What a short training did to the answers themselves, where that was measured."""
    up, same = run.estimate("behaviour_up"), run.estimate("behaviour_unchanged")
    if up is None or up.value is None:
        return ""
    moved = f"Of {count(up.n, 'answer')} that a short training moved, {measured(up)} moved to the chosen kind"
    rest = (
        f"; {number(same.value, same.units)} stayed as they were" if same and same.value is not None else ""
    )
    return f"{moved}{rest}."


def decided(run: Run) -> str:
    """What to do, what for, and how sure that is."""
    decision = run.decision
    if decision is None:
        return ""
    instead = allowed(str((decision.runner_up or {}).get("instead") or ""), decision)
    sure = next((m[1] for r in decision.reasons if (m := STRENGTH.search(r.source))), "")
    first = in_words(decision)
    parts = [f"{first[:1].upper()}{first[1:]}{_because(run, decision)}"]
    parts += [f"instead, {instead}"] if instead else []
    evidence = f" The evidence for this is {WORDS.get(sure, sure)}." if sure else ""
    return "; ".join(parts) + "." + evidence


def _because(run: Run, decision: Decision) -> str:
    """The message of the first finding that the decision rests on, without its details."""
    code = decision.reasons[0].code if decision.reasons else ""
    found = next((f for f in run.findings if f.code == code and code != "PB705"), None)
    return f", because {found.message.split(': ')[0].rstrip('.')}" if found and _plain(found, run) else ""


WORDS = {"reasoned": "reasoning, not measurement"}


def allowed(text: str, decision: Decision) -> str:
    """The clauses of `text` that name no method other than the decided one."""
    own = {word.lower() for word in NAMES.findall(decision.method.replace("+", " "))}
    clauses = re.split(r"; |, or ", text)
    kept = [c for c in clauses if {w.lower() for w in NAMES.findall(c)} <= own]
    return "; ".join(c.rstrip(".") for c in kept)


def faults(run: Run) -> str:
    """The errors of the file or the set-up: how many, and the first in words."""
    errors = [f for f in run.findings if f.severity == "error" and _plain(f, run)]
    accepted = {str(a.get("code")) for a in run.details.get("accepted") or ()}
    errors = [f for f in errors if f.code not in accepted]
    if not errors:
        return ""
    first = errors[0].message.rstrip(".")
    more = f", and {count(len(errors) - 1, 'more error')}" if len(errors) > 1 else ""
    return f"{first[:1].upper()}{first[1:]}{more}."


def _plain(finding: Finding, run: Run) -> bool:
    own = {w.lower() for w in NAMES.findall(run.decision.method.replace("+", " "))} if run.decision else set()
    return {w.lower() for w in NAMES.findall(finding.message)} <= own


def sound(run: Run) -> str:
    """What the checks of the file found, in one sentence."""
    n = (run.inputs.get("pairs") or {}).get("n")
    of = f" of the file's {count(n, 'pair')}" if n is not None else ""
    errors = sum(f.severity == "error" for f in run.findings)
    warnings = sum(f.severity == "warning" for f in run.findings)
    if errors:
        found = f"{count(errors, 'error')} and {count(warnings, 'warning')}"
        return f"The checks{of} found {found}: not fit to train on as it is."
    if warnings:
        return f"The checks{of} found no error and {count(warnings, 'warning')}."
    return f"The checks{of} found no error and nothing to warn of."


def weighty(run: Run) -> str:
    """The gravest findings below an error, in words."""
    told = [f for f in run.findings if f.severity == "warning" and _plain(f, run)]
    return joined(f.message for f in told[:1])


def power(run: Run) -> str:
    """What a file of this size can show at all."""
    told = [f.message for f in run.findings if f.code == "PB327"]
    return joined(told)


def joined(messages: Iterable[str]) -> str:
    """Messages as sentences."""
    return " ".join(f"{m[:1].upper()}{m[1:].rstrip('.')}." for m in messages)


def no_model(run: Run) -> str:
    """What a check of the file alone cannot say."""
    return "No model was run, so whether a model would learn from these pairs is not said here."
