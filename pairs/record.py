"""The pair, exactly as the file says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


def text_of(content: Content | None) -> str:
    """The words of a side: the text itself, or the contents of its messages joined by newlines."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(str(message.get("content") or "") for message in content)
