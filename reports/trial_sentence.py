"""The sentence of a run's summary on what a short training did: to margins, to ranking, to the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..number_format import amount, count, measured, number
from ..records import Run
from ..shared_limits import CHANCE
from .view import details

LEAST_CHOSEN_FALL = 0.05  # nats/token that the chosen side loses: less is nothing to act on, however sure


def would_learn(run: Run) -> str:
    """What a short training did to unseen pairs, and to what the model writes on unseen prompts."""
    found = run.estimate("trial_accuracy")
    if found is None or found.value is None:
        return _written(run, "What the model writes after a short training")
    rises = f"A short training raises the margin of {measured(found)} of {count(found.n, 'unseen pair')}"
    learns = found.low is not None and found.low > CHANCE
    shown = ""
    if found.low is None or found.high is None:
        shown = ", without an interval, so that nothing follows"
    elif not learns:
        shown = (
            ", which is worse than chance" if found.high < CHANCE else ", which is not shown to beat chance"
        )
    follows = _written(run, "what the model writes", like=learns)
    # Behind a clause of its own the ranking has a subject of its own, or it would be that clause's.
    told = f"{rises}{shown}{_reranks(run, apart=bool(shown))}{_sinks(run)}"
    return f"{told}; {follows}" if follows else f"{told}."


def _reranks(run: Run, *, apart: bool) -> str:
    """What became of the share that the model ranks right: margins may rise where no order changes.

    Where samples are not judged it decides a race, and the candidate that is ahead is the one to be told of.
    """
    ahead = next((row["method"] for row in details(run, "race") if row["won"] and not row["judged"]), "")
    raced = run.estimate(f"ranking_change@{ahead}")
    moved = raced or run.estimate("ranking_change")
    if moved is None or moved.value is None:
        return ""
    by = "by the method ahead in the race," if raced else ""
    lead = " ".join(filter(None, (";", by, "it") if apart else (" and," if by else " and", by)))
    if number(moved.value, "points") == "+0":
        return f"{lead} leaves the share ranked right as it was"
    ends = "" if moved.low is None else f" [{number(moved.low, 'points')}, {number(moved.high, 'points')}]"
    points = f"{number(moved.value, 'points')}{ends} percentage points"
    return f"{lead} changes the share ranked right (ends of responses counted) by {points}"


def _sinks(run: Run) -> str:
    change = run.estimate("trial_chosen_change")
    if (
        change is None
        or change.high is None
        or change.high >= 0
        or abs(change.value or 0.0) < LEAST_CHOSEN_FALL
    ):
        return ""
    return f", while the chosen side itself loses {amount(abs(change.value or 0.0))} nats/token"


def _written(run: Run, what: str, *, like: bool | None = None) -> str:
    """What became of the answers, of the method decided on where it was raced; `like`: whether the ranking
    before it in the sentence was learnt."""
    decided = run.decision.method if run.decision and run.decision.stages else ""
    up = run.estimate(f"behaviour_up@{decided}") or run.estimate("behaviour_up")
    if up is None or up.value is None or up.low is None or up.high is None:
        return _unjudged(run) if up is not None and like is not None else ""
    of = f"of {count(up.n, 'answer')} that moved, {measured(up)} went to the chosen kind"
    if up.low > CHANCE:
        return f"{what} follows: {of}." if like is not False else f"{what} moves all the same: {of}."
    if up.high < CHANCE:
        return f"{what} goes {'away from the chosen kind' if like is False else 'the other way'}: {of}."
    return f"{what} is not shown to follow: {of}."


def _unjudged(run: Run) -> str:
    """Where answers were drawn and none was judged: that nothing is known of what the model then writes."""
    judge = run.estimate("behaviour_judge")
    if judge is None or judge.value is None or judge.low is None:
        return ""
    why = f"a judge of its answers is right on {measured(judge)} of unseen pairs"
    if judge.low > CHANCE:
        row = next((row for row in details(run, "race") if "chosen_up" in row and not row["judged"]), None)
        if row is None:
            return ""
        ideal, prompts = row["chosen_up"], row["chosen_up"] + row["chosen_down"]
        why = (
            "its judge rates the answers from before training above the chosen sides themselves, of which "
            f"only {ideal} of {prompts} would count as moves up"
        )
    return f"what the model then writes is not judged, since {why}."


# Findings whose fact the first sentence of a trial's paragraph tells, and the clause that tells it.
CLAUSES: Mapping[str, Callable[[Run], str]] = {
    "PB501": would_learn,
    "PB503": _sinks,
    "PB510": lambda run: _written(run, "what the model writes"),
}


def told_before(run: Run, code: str) -> bool:
    """Whether a trial's paragraph has told the fact of such a finding in its first sentence."""
    return run.command == "trial" and code in CLAUSES and bool(CLAUSES[code](run))
