"""Apply the decision table to a judged run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from ..records import Condition, Decision, Finding, Reason, Run, Verdict
from ..training.shipped import Tuning, shipped_values
from .conditions import RULES, pairs_to_settle
from .judge import JudgeSettings, verdict_of
from .levers import told
from .more import as_asked, most_read, prompts_asked
from .restated import level_of
from .row import Row
from .run_facts import Evidence, Goal, Held, RunFacts, Threshold
from .states import reads
from .table import NOTES, ROWS
from .thresholds import THRESHOLDS

MOST_REASONS = 5


def decide(
    run: Run,
    settings: JudgeSettings,
    *,
    goal: Goal = "auto",
    one_stage: bool = False,
    tuning: Tuning = "lora",
) -> Run:
    """`run` with the decision that its findings and estimates lead to.

    Limits that the config sets for the whole file replace the table's thresholds of the same name; what it
    switches off raises no concern. A decision that no measurement carries adds finding PB705.
    """
    active = [entry for entry in settings.accepted if not entry.lapsed(settings.today)]
    off = frozenset(name for name, limit in settings.limits.items() if limit is False)
    facts = RunFacts(run, _thresholds(settings.limits), goal, one_stage, active, settings.alpha, off)
    held = [(row, evidence) for row in ROWS if (evidence := row.holds(facts)) is not None]
    (row, evidence), others = held[0], [other for other, _ in held[1:] if other.method != held[0][0].method]
    carried = evidence or unmeasured()
    decision = Decision(
        row.method,
        row.stages,
        hyperparameters(row.stages, parameters=facts.parameters, n=facts.pairs, tuning=tuning),
        tuple(_reasons(row, carried, facts)),
        _runner_up(row, others, facts, settings),
    )
    notes = () if evidence else (_missing(row, run),)
    verdict = _agreeing(run.verdict, decision, settings)
    return dataclasses.replace(run, verdict=verdict, decision=decision, findings=(*run.findings, *notes))


def _agreeing(verdict: Verdict, decision: Decision, settings: JudgeSettings) -> Verdict:
    """The verdict beside the decision: a file that is not to be trained on as it is does not pass."""
    if verdict.status != "pass" or decision.stages:
        return verdict
    code, text = decision.reasons[0].code, decision.reasons[0].text
    against = Condition("decision", "all", None, None, "fail", code, text, sense="clean")
    return verdict_of([*verdict.conditions, against], settings.inconclusive)


def _thresholds(limits: Mapping[str, float | bool]) -> dict[str, Threshold]:
    own = {k: v for k, v in limits.items() if k in THRESHOLDS and not isinstance(v, bool)}
    set_ = {
        k: dataclasses.replace(THRESHOLDS[k], value=float(v), provenance="config") for k, v in own.items()
    }
    return {**THRESHOLDS, **set_}


def hyperparameters(
    stages: Sequence[str], *, parameters: int | None, n: int, tuning: Tuning = "lora"
) -> dict[str, Any]:
    """The shipped values of each stage for this model size and number of pairs, as a decision holds them."""
    recipes = {stage: shipped_values(stage, parameters=parameters, n=n, tuning=tuning) for stage in stages}
    if len(recipes) == 1:
        return next(iter(recipes.values()))
    return {f"{stage}.{key}": value for stage, values in recipes.items() for key, value in values.items()}


def _reasons(row: Row, evidence: Held, facts: RunFacts) -> Iterator[Reason]:
    """One reason for each code of the evidence, the first with the row's own argument; then the notes."""
    source = f"{row.source}; evidence: {row.strength}"
    by_code = list({e.code: e for e in reversed(evidence)}.values())[::-1][:MOST_REASONS]
    for i, piece in enumerate(by_code):
        text = _sentence(piece)
        yield Reason(piece.code, f"{text} {_capital(row.why)}." if i == 0 else text, source if i == 0 else "")
    if not row.stages:
        return
    for note in NOTES:
        if note.speaks(row.stages, facts):
            yield Reason(note.code, note.text, note.source)


def _sentence(piece: Evidence) -> str:
    return f"{_capital(piece.text.rstrip('.'))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _runner_up(row: Row, others: list[Row], facts: RunFacts, settings: JudgeSettings) -> dict[str, Any]:
    """The next row's method, what would change the decision, and what to do in place of training."""
    then = next((other.method for other in others), "do-not-train" if row.stages else "none")
    shown = {
        "method": then,
        "what_would_change_it": _judged_again(row, facts) + _more_pairs(row, facts, settings),
    }
    lever = told(facts.run)
    advice = row.advice(facts.run)
    instead = f"{lever}; else {advice}" if lever else advice
    return {**shown, "instead": instead} if advice else shown


def _judged_again(row: Row, facts: RunFacts) -> str:
    """What would change the decision, with what it would then be: judged again, not promised."""
    goals = [goal for goal in get_args(Goal) if f"--goal {goal}" in row.change]
    other = [dataclasses.replace(facts, goal=goal) for goal in goals]
    other += [dataclasses.replace(facts, one_stage=False)] if "two stages" in row.change else []
    methods = [next(r.method for r in ROWS if r.holds(case) is not None) for case in other]
    if not methods:
        return row.change
    if methods[0] != row.method:
        return f"{row.change}: then {methods[0]}"
    return f"nothing that was tried; not even {row.change}"


def _more_pairs(row: Row, facts: RunFacts, settings: JudgeSettings) -> str:
    """How many more would settle the row's open test, among as many tests as the conditions make."""
    if row.settles is None:
        return ""
    name, threshold = row.settles
    rule, decisive = RULES[name], facts.run.estimate(RULES[name].decisive)
    measured = decisive if decisive and decisive.value is not None else facts.run.estimate(name)
    limit = facts.thresholds[threshold].value
    if measured is None or measured.value is None or measured.value <= limit:
        return ""
    conditions = [c for c in facts.run.verdict.conditions if c.gates and c.name in RULES]
    gating = [c.measured for c in conditions if not RULES[c.name].forbids]  # what forbids has its own alpha
    tests = sum(estimate is not None and estimate.n >= settings.minimum_n for estimate in gating)
    more = pairs_to_settle(measured, limit, settings.alpha, tests, level_of(facts.run))
    if not more:
        return ""
    number, now, unit = as_asked(measured, more, prompts_asked(facts.run))
    most = most_read(measured, rule, reads(facts.run))
    if most is not None and now + number > most:  # so many would not be read
        return ""
    return f"; with {number:,} more {unit}, were the measured {measured.value:.2f} the true value"


def _missing(row: Row, run: Run) -> Finding:
    return Finding(
        "PB705", "info", f"no measurement speaks for training: {row.why}", _capital(row.advice(run)) + "."
    )


def unmeasured() -> tuple[Evidence, ...]:
    """PB705 nothing shown: what was measured shows neither that training helps nor that it harms.

    Means: No finding speaks for or against training: the interval of what the trial measured is too wide to
    tell, or a probe was switched off or failed.
    Why: A method must not be recommended because nothing was found. Of the stored gates that were left
    open, training paid behind one in five and did harm behind one in twenty-five (docs/validity.md): such a
    run would probably change nothing.
    Do: Run the probes that the gate's conditions name as not measured, if any; add pairs where a condition
    says how many would settle it and that they would be read.
    Source: The gate's rule that what was not shown never passes.
    """
    return (Evidence("PB705", "no measurement speaks for training"),)
