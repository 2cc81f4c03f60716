"""The sentences of a run's summary, each built by a rule from estimates, findings and the decision.

A rule answers one sentence, or "" where the run has nothing for it. A side is named only where the verdict
and the sign of the gap agree on it; a method only where it is the decided one. Where a number is missing, the
sentence is: nothing here takes the absence of a number for good news.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from ..number_format import amount, count, group_told, measured, number
from ..pairs.misread import MISREAD_CODES
from ..records import Estimate, Finding, Run, Severity
from ..shared_limits import CHANCE, TRIVIAL
from .advice import beliefs, lowered, methods, own
from .trial_sentence import told_before, would_learn
from .view import model_name, sides, unaccepted

MOST_OF_THEM = 0.5  # share of pairs: so many read amiss, and the whole run speaks of other pairs
DISFAVOURED = {"favours chosen": "rejected", "favours rejected": "chosen"}


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
        wins = _wins(run, side)
        name = f"the {name} side" if name == side else f"{name}, the {side} side" + ("," if wins else "")
        low, high, value = _seen_from(gap, side)
        return (
            f"{model} already prefers {name}{wins}: on average its tokens are {_times(value)} as "
            f"likely as the other side's ({amount(value)} {_bare(low, high)} nats/token)."
        )
    if row.verdict == "neutral":
        bound = run.config.get("bound")
        limit = f", inside the ±{bound:g} that count as none" if isinstance(bound, int | float) else ""
        return f"{model} prefers neither side: the mean gap is {measured(gap)} {gap.units}{limit}."
    if row.verdict == "unstable":
        if told := _by_sum(run, gap):
            return told
        return (
            f"Which side {model} prefers cannot be said: the sign of the gap changes with the template or "
            "with the way log-probs are counted."
        )
    if row.verdict == "undetermined":
        shown = f"the mean gap is {measured(gap)} {gap.units}"
        bound = run.config.get("bound")
        if _clear_of_zero(gap) and isinstance(bound, int | float):
            side = sides(run)[(gap.value or 0.0) < 0]
            return (
                f"{model} leans to the {side} side, but {count(gap.n, 'pair')} cannot show that it is by "
                f"more than the ±{bound:g} that count as none: {shown}."
            )
        return f"{count(gap.n, 'pair')} cannot show which side {model} prefers: {shown}."
    return f"Verdict and numbers do not agree on which side {model} prefers; no side is named."


def _by_sum(run: Run, gap: Estimate) -> str:
    """That summed log-probs favour the other side, where both are clear of 0; "" elsewhere."""
    total = run.estimate("gap_sum")
    if total is None or not (_clear_of_zero(gap) and _clear_of_zero(total)):
        return ""
    if (gap.value or 0.0) * (total.value or 0.0) >= 0:
        return ""
    first, second = (sides(run)[(e.value or 0.0) < 0] for e in (gap, total))
    sums = f"{number(total.value, total.units)} nats per pair"
    return (
        f"Which side {model_name(run) or 'the model'} prefers depends on how log-probs are counted: {first} "
        f"per token ({measured(gap)} {gap.units}), {second} by their sum ({sums})."
    )


def _clear_of_zero(gap: Estimate) -> bool:
    return gap.low is not None and gap.high is not None and not gap.low <= 0 <= gap.high


def _seen_from(gap: Estimate, side: str) -> tuple[float | None, float | None, float]:
    """The gap's interval and value from the side that it favours, so that one sentence has one sign."""
    value = gap.value or 0.0
    if side == "chosen":
        return gap.low, gap.high, value
    return (None if gap.high is None else -gap.high), (None if gap.low is None else -gap.low), -value


def _times(nats: float) -> str:
    """A difference of log-probs per token as a factor, in the digits that it bears: `1.6 times`.

    A small one has as many as tell it from 1, two at least: `1.003 times`.
    """
    factor = math.exp(min(nats, 50.0))
    digits = next((d for d in range(2, 7) if float(f"{factor:.{d}f}") > 1), 2)
    return (
        f"{factor:.{digits}f} times"
        if factor < 1.1
        else f"{factor:,.1f} times"
        if factor < 100
        else "over 100 times"
    )


def _bare(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "(no interval can be given)"
    return f"[{amount(low)}, {amount(high)}]"


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
    less = f"{amount(abs(value))} {_bare(low, high)} {added.units}"
    if low is not None and low > 0:
        gap = run.estimate("gap")
        turned = gap is not None and gap.value is not None and value > _seen_from(gap, side)[2]
        other = ", which is the other way round" * turned
        return f"This depends on the prompt: without it the preference is {less} smaller{other}."
    if high is not None and high < 0:
        more = f"{amount(abs(value))} {_bare(-high, None if low is None else -low)} {added.units}"
        return f"This does not come from the prompt: without it the preference is {more} larger."
    which = "smaller" if value >= 0 else "larger"
    bounds = _bare(low, high) if value >= 0 else _bare(-(high or 0.0), -(low or 0.0))
    return (
        f"This is not shown to depend on the prompt: without it the preference is {amount(abs(value))} "
        f"{bounds} {added.units} {which}, which may be chance."
    )


def groups_apart(run: Run) -> str:
    """That some groups lean one way and others the other, where that is shown of both."""
    first, second = (
        [row.group for row in run.bias if row.group != "all" and row.verdict == f"favours {side}"]
        for side in ("chosen", "rejected")
    )
    if not first or not second:
        return ""
    names = sides(run)
    return (
        f"The groups disagree, so judge them apart: {', '.join(first)} for {names[0]}; "
        f"{', '.join(second)} for {names[1]}."
    )


def told_apart(run: Run) -> str:
    """Whether the sides can be told apart without the prompt, and whether that is a fact of the design."""
    found = run.estimate("surface_accuracy")
    if found is None or found.value is None:
        return ""
    share = f"{measured(found)} of {count(found.n, 'pair')}"
    said = f"Without the prompt, the text alone tells the sides apart in {share}"
    if beliefs(run):
        return f"{said}, as they must where each side states a belief: a fact of the design, not a fault."
    if found.low is None or found.high is None:
        return f"{said}."
    if found.low > TRIVIAL:
        return f"{said}, which training would learn in place of the prompt."
    return f"{said}." if found.low > CHANCE else f"{said}, which is not shown to beat guessing (50%)."


SEPARABLE = ("PB202", "PB204")  # what `told_apart` says, once


def apart_told(run: Run) -> bool:
    """Whether the paragraph has a sentence on how the sides are told apart; a gate's where no trial ran."""
    asked = run.command == "negatives" or (run.command == "gate" and not would_learn(run))
    return asked and bool(told_apart(run))


def faults(run: Run) -> str:
    """The first error of the file or the set-up in words, with what to do about it."""
    return next((_advised(f, run) for f in errors_of(run)), "")


def deciding_fault(run: Run) -> str:
    """The error that the decision rests on first: it is told with its remedy, beside the decision."""
    first = next(iter(errors_of(run)), None)
    deciding = run.decision is not None and [r.code for r in run.decision.reasons[:1]]
    return faults(run) if first is not None and deciding == [first.code] else ""


def other_fault(run: Run) -> str:
    """The first error, where the decision rests on something else."""
    return "" if deciding_fault(run) else faults(run)


def read_amiss(run: Run) -> str:
    """That most pairs are read as something else than was meant, so that all else speaks of other pairs."""
    found = mostly_misread(run)
    if found is None:
        return ""
    told = f"{found.message}; all numbers here are of the pairs as they were read"
    return _advised(dataclasses.replace(found, message=told), run)


def mostly_misread(run: Run) -> Finding | None:
    """The finding that half of the pairs looked at, or more, are read amiss; None where there is none."""
    found = (f for f in run.findings if f.code in MISREAD_CODES)
    return next((f for f in found if f.estimate and (f.estimate.value or 0.0) >= MOST_OF_THEM), None)


def errors_of(run: Run) -> list[Finding]:
    """The errors that count, without those that name another method or are told as `told_apart`."""
    errors = (f for f in unaccepted(run) if f.severity == "error" and _plain(f, run))
    return [f for f in errors if not (f.code in SEPARABLE and apart_told(run))]


def _plain(finding: Finding, run: Run) -> bool:
    return methods(finding.message) <= own(run)


def sound(run: Run) -> str:
    """Whether the file is fit to be trained on, by its checks, in one sentence."""
    n = (run.inputs.get("pairs") or {}).get("n")
    of = f" of its {count(n, 'pair')}" if n is not None else ""
    errors, warnings = (kinds(run, severity) for severity in ("error", "warning"))
    if errors:
        more = f" and {count(warnings, 'kind')} of warning" if warnings else ""
        return f"The file is not fit to train on as it is: the checks{of} found {_errors(errors)}{more}."
    if warnings:
        return f"The file has no errors, but the checks{of} found {count(warnings, 'kind')} of warning."
    return f"The file itself is sound: the checks{of} found no error and nothing to warn of."


def kinds(run: Run, severity: Severity) -> int:
    """How many codes of a severity stand, without accepted ones: a fault in every group is one fault."""
    return len({f.code for f in unaccepted(run) if f.severity == severity})


def _errors(n: int) -> str:
    return "1 kind of error" if n == 1 else f"{n} kinds of errors"


def weighty(run: Run) -> str:
    """The gravest finding below an error, in words, and what to do about it."""
    warned = (f for f in unaccepted(run) if f.severity == "warning" and _plain(f, run))
    return next((_advised(f, run, _likewise(f, run)) for f in warned), "")


def _likewise(finding: Finding, run: Run) -> str:
    """The other groups that have this finding, since the sentence tells it of one."""
    groups = [
        group_told(f.group) for f in run.findings if f.code == finding.code and f.group != finding.group
    ]
    return f"; likewise in {', '.join(groups)}" if groups else ""


def _advised(finding: Finding, run: Run, more: str = "") -> str:
    """A finding as one sentence, with its remedy where one is given that fits the decision."""
    message, remedy = (text.strip().rstrip(".") for text in (finding.message, finding.remedy))
    fits = methods(remedy) <= own(run)
    if remedy and fits and told_before(run, finding.code):
        return f"{remedy}."
    what = f". Remedy: {lowered(remedy)}" if remedy and fits and ". " not in remedy else ""
    return f"{message[:1].upper()}{message[1:]}{more}{what}."


def power(run: Run) -> str:
    """What a file of this size can show at all."""
    return as_sentences(f.message for f in run.findings if f.code == "PB327" and f.severity == "info")


def as_sentences(messages: Iterable[str]) -> str:
    """Messages as sentences."""
    return " ".join(f"{m[:1].upper()}{m[1:].rstrip('.')}." for m in messages)


# What a check of the file alone cannot say: of a sound file, and of one that warnings stand against.
NO_MODEL = "No model was run; the command below measures what a model would learn from these pairs."
AS_IT_IS = (
    "No model was run: correct the file first, or let the command below measure what these pairs teach as "
    "they are."
)
