"""What a chat template made of the words of a side: left out, wrote of its own, or changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from ..pairs.record import Content, Pair, reasoning_of, words_of
from .ending import end_of_turn
from .flags import shared_prefix
from .templates import Chat, chat_options, messages, squeezed

if TYPE_CHECKING:
    from .encode import Encoder, Tokens


@dataclass(frozen=True, slots=True)
class TextChange:
    """What a template made of a side: the flag it stands under, and the words that are gone or new."""

    flag: str
    words: str


def text_changes(written: str, turns: Sequence[Mapping[str, Any]], before: str = "") -> list[TextChange]:
    """What a template made of a side's words; of a tool call its name alone is looked for.

    `before` is the context: a generation prompt may have written the first of the words (`<think>`).
    """
    found: list[TextChange] = []
    place = 0
    beside = (words for turn in turns for words in _beside_content(turn))
    found += [TextChange("template_dropped", words) for words in beside if words.strip() not in written]
    for i, turn in enumerate(turns):
        words = words_of(turn.get("content"))
        whole = f"{before[-len(words) :]}{written}" if i == 0 else written
        at = written.find(words, place)
        if at < 0 and words not in whole:
            at = written.find(words.strip(), place)
            dropped = at < 0 and squeezed(words) not in squeezed(whole)
            found.append(TextChange("template_dropped" if dropped else "template_changed", words))
        if i == 0 and words.strip() and _added(written[: max(at, 0)], turn):
            found.append(TextChange("template_added", written[:at]))
        place = max(at, place)
    return found


def prompt_losses(chat: Chat, pair: Pair) -> list[TextChange]:
    """The words of the prompt's messages, and the names of the tools that it offers or calls, that the
    rendered prompt lacks, or the prompt as it is rendered before an answer.

    Mistral's template writes the system text into the last message alone, where that is the user's. The
    reasoning of earlier turns does not count: templates of reasoning models leave it out on purpose, in use
    as in training.
    """
    turns = messages(pair.prompt, "user")
    said = [words for turn in turns for words in (_spoken(turn), *tool_names(turn.get("tool_calls")))]
    said += tool_names(chat_options(pair.meta).get("tools"))
    texts = (chat.prompt, chat.chosen, chat.rejected)
    lost = [words for words in said if any(words.strip() not in text for text in texts)]
    if not lost:
        return []
    rendered = [squeezed(text) for text in texts]
    gone = (words for words in lost if any(squeezed(words) not in text for text in rendered))
    return [TextChange("prompt_dropped", words) for words in gone]


def _spoken(turn: Mapping[str, Any]) -> str:
    """A turn's words without reasoning between marks."""
    return _REASONING.sub("", words_of(turn.get("content")))


_REASONING = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>", re.DOTALL)


def _added(before: str, turn: Mapping[str, Any]) -> bool:
    """Whether a template's own words stand before a turn's content; what surrounds its reasoning is none."""
    reasoning = reasoning_of(turn).strip()
    return bool(before.strip()) and not (reasoning and reasoning in before)


def _beside_content(turn: Mapping[str, Any]) -> Iterator[str]:
    """What a turn says outside of its content: its reasoning, and the names of the tools that it calls."""
    if reasoning := reasoning_of(turn):
        yield reasoning
    yield from tool_names(turn.get("tool_calls"))


def tool_names(tools: Any) -> list[str]:
    """The names of tools or of calls of them, as OpenAI's form writes both."""
    functions = [
        tool.get("function", tool)
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, Mapping)
    ]
    named = [function.get("name") for function in functions if isinstance(function, Mapping)]
    return [name for name in named if isinstance(name, str)]


def lost_words(words: str, written: str) -> str:
    """The part of `words` that `written` lacks; runs of it are joined by an ellipsis."""
    mine, theirs = _PIECES.findall(words[:LONGEST_COMPARED]), _PIECES.findall(written[:LONGEST_COMPARED])
    matcher = SequenceMatcher(None, mine, theirs, autojunk=False)
    gone = ["".join(mine[a:b]) for tag, a, b, _, _ in matcher.get_opcodes() if tag in ("delete", "replace")]
    return "…".join(part for part in gone if part.strip()) or "".join(gone)


_PIECES = re.compile(r"\s+|\w+|[^\w\s]")
LONGEST_COMPARED = 4000  # characters of a side that are compared word by word


def changed(encoder: Encoder, pair: Pair) -> dict[str, list[TextChange]]:
    """What the chat template made of prompt and sides, with the words and no more; nothing for text rows.

    Raises `ProbeError` where the template refuses the row.
    """
    row = encoder.texts(pair)
    if not isinstance(row, Chat):
        return {"prompt": [], "chosen": [], "rejected": []}
    prompt, chosen, rejected = encoder.tokenise([row.prompt, row.chosen, row.rejected])
    start = min(shared_prefix(prompt[0], side[0]) for side in (chosen, rejected))
    return {
        "prompt": prompt_losses(row, pair),
        "chosen": _side(encoder, row.chosen, chosen, start, pair.chosen),
        "rejected": _side(encoder, row.rejected, rejected, start, pair.rejected),
    }


def _side(encoder: Encoder, text: str, tokens: Tokens, start: int, side: Content) -> list[TextChange]:
    ids, offsets = tokens
    stop = end_of_turn(encoder.tokenizer, ids, start)
    written = encoder.written(text, ids, offsets, start, len(ids) if stop is None else stop - 1)
    before = encoder.written(text, ids, offsets, 0, start)
    return [
        c if c.flag == "template_added" else TextChange(c.flag, lost_words(c.words, written))
        for c in text_changes(written, messages(side, "assistant"), before)
    ]
