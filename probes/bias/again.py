"""The same pairs in other templates and without their prompts, as far as the model can be asked so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...pairs.record import Pair
from ...records import Finding
from ...scoring.endpoint import NotShown
from ...scoring.scores import PairScore
from ...scoring.session import Session

OTHER_TEMPLATES = {
    # What else a prompt could look like to this model; the resolved template itself comes first.
    "chat": ("qa", "{prompt}\n"),
    "qa": ("{prompt}\n", "Q: {prompt}\nA: "),
    "raw": ("chat", "qa"),
}


@dataclass
class Again:
    """Scores by template and without prompt, and why those that a server does not show are missing."""

    by_template: dict[str, list[PairScore]] = field(default_factory=dict)
    neutral: list[PairScore] | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def scored(self, what: str, measure: Callable[[], list[PairScore] | None]) -> list[PairScore] | None:
        """What `measure` gives; None, with the reason noted, where the server does not show it."""
        try:
            return measure()
        except NotShown as error:
            self.missing[what] = str(error)
            return None


def measured_again(session: Session, pairs: Sequence[Pair], templates: str, corrected: bool) -> Again:
    """The pairs in each other template and, where `corrected`, under an empty prompt."""
    again = Again()
    for name in _other_templates(session, pairs, templates):
        what = f"template {name!r}"
        found = again.scored(what, lambda n=name, w=what: session.scores_of(pairs, w, n))  # type: ignore[misc]
        if found is not None:
            again.by_template[name] = found
    if corrected:
        again.neutral = again.scored("without prompt", lambda: _without_prompt(session, pairs))
    return again


def unshown_finding(again: Again) -> Finding | None:
    """PB612 not shown by the server: the pairs could not be measured anew in some way.

    Means: for prompts of that form the server gives no log-prob of a token of the response, or none that can
    be held against a token that it generates. The gap in the session's own template is not touched by that.

    Why: llama-cpp-python's server leaves out the log-prob of the first token behind a BOS, and without a BOS
    gives those of another position. Such numbers are refused, not taken.

    Do: nothing, where the own template is what counts; else use a server that takes token ids, such as vLLM.

    Source: bench/endpoint.py against llama-cpp-python 0.3.36.
    """
    if not again.missing:
        return None
    what = " and ".join(again.missing)
    why = next(iter(again.missing.values()))
    return Finding("PB612", "info", f"not measured behind this server: {what}", why)


def _other_templates(session: Session, pairs: Sequence[Pair], asked: str) -> list[str]:
    """The templates asked for beside the session's; none where there is no prompt to put into one."""
    if asked == "none" or not any(pair.prompt for pair in pairs):
        return []
    own = session.encoder.template
    if asked == "auto":
        names: Sequence[str] = OTHER_TEMPLATES.get(own, ("qa", "{prompt}\n"))
        if not session.loaded.tokenizer.chat_template:
            names = [name for name in (*names, "{prompt}\n", "Q: {prompt}\nA: ") if name != "chat"][:2]
    else:
        names = asked.split(",")
    return list(dict.fromkeys(name for name in names if name != own))


def _without_prompt(session: Session, pairs: Sequence[Pair]) -> list[PairScore] | None:
    """The pairs under an empty prompt (Holtzman et al. 2021, domain-conditional PMI)."""
    if not any(pair.prompt for pair in pairs):
        return None
    empty = [session.encoder.neutral(pair) for pair in pairs]
    return session.scores_of(empty, "without prompt", altered=True)
