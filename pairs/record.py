"""The pair, exactly as the file says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")  # as transformers hands it to a template
Message = Mapping[str, Any]  # {"role": …, "content": …} and whatever else the file has
Content = str | tuple[Message, ...]  # plain text, or chat messages


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with two answers.

    `prompt` is None when the file has none: the sides are whole sentences (minimal pairs). `id` is the
    file's own, else its line number. `line` counts from 1. `meta` keeps every field not named here.
    """

    id: str
    prompt: Content | None
    chosen: Content
    rejected: Content
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0


def is_chat(pair: Pair) -> bool:
    """Whether any part of the pair is a list of chat messages."""
    return not all(isinstance(part, str | None) for part in (pair.prompt, pair.chosen, pair.rejected))


def text_of(content: Content | None) -> str:
    """The words of a side: the text itself, or what its messages say, joined by newlines.

    A message says its reasoning, its content (text parts joined) and its tool calls, these as JSON.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(map(_said, content))


def exact_text(content: Content | None) -> str:
    """As `text_of`, with the role of each turn where there are several: who says it is part of it."""
    if content is None or isinstance(content, str) or len(content) < 2:
        return text_of(content)
    return "\n".join(f"{turn.get('role')}\0{_said(turn)}" for turn in content)


def reasoning_of(message: Message) -> str:
    """What a message says of its reasoning, under any name that templates know; "" for none."""
    found = (message[name] for name in REASONING_NAMES if message.get(name) is not None)
    reasoning = next(found, "")
    return reasoning if isinstance(reasoning, str) else ""


def _said(message: Message) -> str:
    said = [reasoning_of(message)]
    said.append(words_of(message.get("content")))
    if calls := message.get("tool_calls"):
        said.append(json.dumps(_plain_calls(calls), ensure_ascii=False, default=str))
    return "\n".join(text for text in said if text)


def _plain_calls(calls: Any) -> Any:
    """Names and arguments alone: an id of a call differs between sides without a difference in meaning."""
    if not isinstance(calls, list):
        return calls
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in calls]
    keys = ("name", "arguments")
    return [{k: f[k] for k in keys if k in f} if isinstance(f, dict) else f for f in functions]


def words_of(content: Any) -> str:
    """The words of one message's content: text, or a list of parts of which those with text count."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
