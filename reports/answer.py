"""The answer that a report opens with: two to four sentences, and the one command to run now.

Both are functions of the run alone, so every format says the same and a test can hold what they say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..number_format import count, group_told, limit_text, measured, place_text
from ..records import Run
from . import sentences
from .decided import decided
from .effects_answer import differ_sentence, taught_sentence
from .headline import headline
from .next_step import next_command
from .side_by_side import differences_told, gaps_told
from .trial_sentence import would_learn
from .view import sides, unit

MOST_SENTENCES = 4
Sentence = Callable[[Run], str]
R = TypeVar("R", bound=Run)


def answered(run: R) -> R:
    """`run` with its `summary` and `next`; the class of `run` and all else stay as they were."""
    return dataclasses.replace(run, summary=summary(run), next=next_command(run))


def summary(run: Run) -> tuple[str, ...]:
    """The sentences, at most four: one from each place of the command's plan that has something to say."""
    plan = PLANS.get(run.command, ((_nothing,),))
    told = [next(filter(None, (rule(run) for rule in rules)), "") for rules in plan]
    return tuple(text for text in told if text)[:MOST_SENTENCES] or (_fallback(run),)


def _fallback(run: Run) -> str:
    text = headline(run).text
    return f"{text[:1].upper()}{text[1:]}."


def _promoted(run: Run) -> str:
    made = run.details.get("promotion") or {}
    if not made:
        return ""
    groups = str(made["because"]).partition(": ")[2]
    told = {
        "promote": f"The tuned model may replace its base: {made['because']}.",
        "roll back": f"Keep the base model: the tuned one got worse in {groups}.",
    }
    open_ = f"Keep the base model for now: whether the tuned one got worse in {groups} cannot be said yet."
    return told.get(str(made["decision"]), open_)


def _compared(run: Run) -> str:
    judged = [c for c in run.verdict.conditions if c.gates]
    failed = sorted({group_told(c.group) for c in judged if c.result == "fail"})
    n = len({c.group for c in judged})
    if failed:
        return "" if run.details.get("promotion") else f"It got worse in {', '.join(failed)}."
    whole = "The whole set is not shown to have got worse."
    return whole if n == 1 else f"No group of {n} is shown to have got worse." if n else ""


def _diagnosed(run: Run) -> str:
    found = run.details.get("autopsy") or {}
    if not found:
        return ""
    since = f" since step {place_text(found['since_step'])}" if found.get("since_step") is not None else ""
    if found.get("main") == "healthy" and found.get("confidence") == "cannot tell":
        return "No rule fired on what this log shows, which is too little to call the run healthy."
    if found.get("main") == "healthy" and not found.get("tags"):
        return f"The curves of this run show nothing wrong{since}."
    if found.get("main") == "healthy":
        return f"The curves look healthy, but there is more to see: {', '.join(map(str, found['tags']))}."
    return f"This run was {DIAGNOSIS_WORDS.get(str(found.get('main')), found.get('main'))}{since}."


DIAGNOSIS_WORDS = {
    "numerics": "broken by its arithmetic: numbers were not finite or not possible",
    "diverged": "diverging",
    "stuck": "stuck: it learned nothing that the log shows",
    "overfit": "overfitting: it got better on the training data and not on held-out data",
    "saturated": "saturated: it had nothing left to learn",
    "displaced": "lowering the chosen side along with the rejected one",
}


def _part(key: str) -> Sentence:
    def told(run: Run) -> str:
        text = str((run.details.get("autopsy") or {}).get(key) or "").rstrip(".")
        return f"{text[:1].upper()}{text[1:]}." if text else ""

    return told


def _trained(run: Run) -> str:
    training = run.details.get("training")
    if not training:
        return "Nothing was trained." if run.command == "train" else ""
    if not run.decision:
        return ""
    stages, ends = run.decision.stages, _ends(training.get("stages") or ())
    kept = [name for name in stages if ends.get(name, (1, 1))[0] == 0]
    why = "no later state had a lower held-out loss within the rules of the guard"
    if len(kept) == len(stages) > 0:
        return f"The weights are those of the start: {why}."
    start = f" In {' and '.join(kept)} the weights stayed as they were: {why}." if kept else ""
    return f"Trained: {', then '.join(_ended(name, *ends.get(name, (1, 1))) for name in stages)}.{start}"


def _ends(rows: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """By method the step whose weights were kept, and the steps made; stages without are left out."""
    known = (row for row in rows if isinstance(row, Mapping) and isinstance(row.get("best_step"), int))
    return {str(row.get("method")): (row["best_step"], row.get("steps") or 0) for row in known}


def _ended(name: str, best: int, steps: int) -> str:
    return f"{name} (weights of step {best:,} of {steps:,})" if 0 < best < steps else name


def _after(run: Run) -> str:
    rows = [
        r for r in run.details.get("before_after") or () if r.get("group") == "all" and r["name"] == "gap"
    ]
    if not rows or rows[0].get("change") is None:
        return ""
    low, high = rows[0].get("low"), rows[0].get("high")
    sure = "" if low is None or high is None or low <= 0 <= high else ", beyond chance"
    moved = f"from {_told_apart(rows[0]['before'], rows[0]['after'])} nats/token".replace("-", "−")
    return f"The gap of the held-out {unit(run)}s went {moved}{sure or ', which may be chance'}."


def _told_apart(before: float, after: float) -> str:
    """Two numbers to as many decimals, two at least, as show that they differ."""
    # A sum with 0.0 has no negative zero: "−0.00 to +0.00" would tell two values apart by nothing.
    texts = [[f"{round(x, d) + 0.0:+.{d}f}" for x in (before, after)] for d in (2, 3, 4)]
    first, second = next((told for told in texts if told[0] != told[1]), texts[0])
    return f"{first} to {second}"


def _settled(run: Run) -> str:
    row = next((row for row in run.bias if row.group == "all"), None)
    n = (run.inputs.get("pairs") or {}).get("n") or 0
    few = sentences.as_sentences(f.message for f in run.findings if (f.code, f.group) == ("PB603", "all"))
    if row is not None and row.pairs_to_settle and row.pairs_to_settle > n:
        would = (
            f"If the measured gap is the true one, a file of about {row.to_settle} would tell; "
            f"this one has {n:,}."
        )
        return f"{few} {would}".strip()
    return few or AHEAD.get(sentences.favoured(run) or (row.verdict if row else ""), "")


# What the preference means for training: no promise, since that is measured by a short training.
AHEAD = {
    "rejected": "Preference training would have to turn that round; the gate measures whether it can.",
    "chosen": "The pairs ask for what it prefers already; the gate measures whether training adds to that.",
    "unstable": "Match the sides in length and style, then measure again; the gate judges them as they are.",
    "neutral": "That does not show that these pairs can teach one; the gate measures it.",
}


def _few(run: Run) -> str:
    """That the pairs are too few, where the gravest finding is another one."""
    told = sentences.faults(run) or sentences.read_amiss(run) or sentences.weighty(run)
    few = sentences.as_sentences(f.message for f in run.findings if f.code == "PB327")
    return "" if told.startswith(few.rstrip(".")) else few


def _no_model(run: Run) -> str:
    """What a check of the file alone cannot say, where the next command says it."""
    if not (next_command(run) or "").startswith("probe gate"):
        return ""
    return sentences.AS_IT_IS if sentences.kinds(run, "warning") else sentences.NO_MODEL


def _labelled(run: Run) -> str:
    """Whether people agree with the file, by the condition that says what is asked."""
    asked = next((c for c in run.verdict.conditions if c.name == "agreement"), None)
    found = asked.measured if asked else None
    if asked is None or asked.limit is None or found is None or found.value is None:
        return ""
    limit = limit_text(asked.limit, "share")
    told = {
        "pass": f"at least {limit} is shown",
        "fail": f"less than the {limit} that is asked for",
    }.get(asked.result, f"whether it is at least {limit} cannot be said yet")
    of = f"{round(found.value * found.n)} of {count(found.n, 'answer')}"
    return (
        f"People who saw the sides blind preferred the one that the file calls {sides(run)[0]} in {of} "
        f"({measured(found)}): {told}."
    )


def _nothing(run: Run) -> str:
    return ""


def paragraph(run: Run) -> tuple[str, ...]:
    """The summary as a report prints it: not where it is the headline, which stands beside it, again."""
    return () if run.summary == (_fallback(run),) else run.summary


PREFERENCE_SENTENCES: tuple[Sentence, ...] = (sentences.preference,)
# One place of the paragraph each: the first rule of a place that has something to say is used.
PLANS: Mapping[str, tuple[tuple[Sentence, ...], ...]] = {
    "bias": (
        (sentences.read_amiss,),
        PREFERENCE_SENTENCES,
        (sentences.given_prompt,),
        (sentences.groups_apart,),
        (_settled,),
    ),
    "data": (
        (sentences.sound,),
        (sentences.faults, sentences.read_amiss, sentences.weighty),
        (sentences.power, _few),
        (_no_model,),
    ),
    "negatives": ((sentences.read_amiss,), (sentences.told_apart,), (sentences.faults, sentences.weighty)),
    "trial": ((sentences.read_amiss,), (would_learn,), (sentences.faults, sentences.weighty)),
    "gate": (
        (decided,),
        (sentences.deciding_fault, sentences.read_amiss),
        PREFERENCE_SENTENCES,
        (sentences.given_prompt, sentences.other_fault),
        (would_learn, sentences.told_apart),
    ),
    "train": ((_trained,), (_after,), (sentences.faults, sentences.weighty)),
    "effects": ((sentences.read_amiss,), (taught_sentence,), (differ_sentence,)),
    "compare": ((_promoted,), (_compared,), (sentences.faults, sentences.weighty)),
    "label": ((_labelled,),),
    "report": ((gaps_told,), (differences_told,)),
    "autopsy": ((_diagnosed,), (_part("evidence"),), (_part("next"),)),
}
