"""The same pair under more context: a system text, a passage, worked examples. Only the prompt changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ProbeError
from ..pairs.prompts import has_parts, parts_of
from ..pairs.record import Message, Pair, text_of
from ..scoring.encode import Encoder
from ..scoring.templates import QA, Chat, messages

TRIED = "Answer in verse, please."  # what no template writes by itself
BLANK_LINE = "\n\n"  # between a text that is put in front and what it stands before

Place = Callable[[Pair, str], Pair]  # the pair with a text put in front of its prompt


def place_of_system(encoder: Encoder, pairs: Sequence[Pair]) -> tuple[Place, str]:
    """How a system text is given under this template, and that in words.

    A chat template has a system turn, unless it refuses the role or writes nothing of it (some do): then, and
    without a chat template, the text stands before the prompt.
    """
    if encoder.template == "chat" and pairs:
        try:
            asked = with_system(pairs[0], TRIED)
            encoder(asked)
        except ProbeError:
            return with_passage, "before the prompt: the chat template takes no system turn"
        if isinstance(row := encoder.texts(asked), Chat) and TRIED not in row.prompt:
            return with_passage, "before the prompt: the chat template leaves system turns out"
        return with_system, "as the system turn"
    return with_passage, "before the prompt"


def with_system(pair: Pair, text: str) -> Pair:
    """The pair under a system turn; the file's own one, where there is one, follows in the same turn."""
    turns = messages(pair.prompt, "user")
    if turns and turns[0].get("role") == "system":
        said, turns = before(text, turns[0].get("content")), turns[1:]
        return replace(pair, prompt=({"role": "system", "content": said}, *turns))
    own = parts_of(text) if has_parts(pair) else text
    return replace(pair, prompt=({"role": "system", "content": own}, *turns))


def with_passage(pair: Pair, text: str) -> Pair:
    """The pair with a passage before its prompt, in the last user turn where the prompt is a chat."""
    if isinstance(pair.prompt, str | None):
        return replace(pair, prompt=f"{text}{BLANK_LINE}{pair.prompt or ''}")
    turns = list(pair.prompt)
    last = max((i for i, turn in enumerate(turns) if turn.get("role") == "user"), default=None)
    if last is None:
        own = parts_of(text) if has_parts(pair) else text
        return replace(pair, prompt=(*turns, {"role": "user", "content": own}))
    turns[last] = {**turns[last], "content": before(text, turns[last].get("content"))}
    return replace(pair, prompt=tuple(turns))


def before(text: str, content: Any) -> Any:
    """A message's content with a text in front: content parts stay parts."""
    if isinstance(content, list):
        return [{"type": "text", "text": f"{text}{BLANK_LINE}"}, *content]
    return f"{text}{BLANK_LINE}{content or ''}"


def with_shots(template: str, pair: Pair, shots: Iterable[Pair]) -> Pair:
    """The pair after the prompts and chosen sides of other pairs: turns of a chat, else text of its form."""
    if template == "chat":
        lead, own = _parted(messages(pair.prompt, "user"))
        return replace(pair, prompt=(*lead, *(turn for shot in shots for turn in _turns(shot)), *own))
    before, after = _form(template)
    told = [f"{text_of(shot.prompt)}{after}{text_of(shot.chosen)}{BLANK_LINE}{before}" for shot in shots]
    return replace(pair, prompt="".join(told) + text_of(pair.prompt))


def _form(template: str) -> tuple[str, str]:
    form = {"raw": "{prompt}", "qa": QA}.get(template, template)
    before, _, after = form.partition("{prompt}")
    return before, after


def _turns(shot: Pair) -> list[Message]:
    return [*_parted(messages(shot.prompt, "user"))[1], *messages(shot.chosen, "assistant")]


def _parted(turns: list[Message]) -> tuple[list[Message], list[Message]]:
    """System turns at the start, and what comes after them."""
    first = next((i for i, turn in enumerate(turns) if turn.get("role") != "system"), len(turns))
    return turns[:first], turns[first:]


def added_tokens(encoder: Encoder, plain: Sequence[Pair], changed: Sequence[Pair]) -> float:
    """Mean tokens that the changed prompts have more than the plain ones: what a request costs more."""
    before, after = (sum(codes.chosen.start for codes in encoder.many(some)) for some in (plain, changed))
    return (after - before) / max(len(plain), 1)
