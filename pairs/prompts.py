"""Files to be sampled from: prompts, with a good answer or without, and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from .fields import FieldNames
from .formats import rows_of
from .record import Content, Pair, text_of
from .rows import BadRow, pair_of


def read_prompts(path: Path, fields: Mapping[str, str] | None = None) -> list[Pair]:
    """The rows of a file as pairs. A row without a chosen answer has an empty one, and so with the rejected.

    Raises `ProbeError` with the line for a row without a prompt, and for an id that is taken.
    """
    names, pairs, ids = FieldNames.of(fields or {}), [], set()
    for line, row in rows_of(path):
        try:
            pair = _pair(row, line, names)
        except BadRow as error:
            raise ProbeError(f"{path}:{line}: {error}") from error
        if pair.id in ids:
            raise ProbeError(f'{path}:{line}: id "{pair.id}" is taken. Give each row its own.')
        ids.add(pair.id)
        pairs.append(pair)
    if not pairs:
        raise ProbeError(f"{path}: holds no prompts. Write one JSON object with a prompt on each line.")
    return pairs


def _pair(row: Any, line: int, names: FieldNames) -> Pair:
    if isinstance(row, BadRow):
        raise row
    if isinstance(row, dict):
        chat = isinstance(row.get(names.prompt), list)
        empty: Any = [{"role": "assistant", "content": ""}] if chat else ""
        row = {names.chosen: empty, names.rejected: row.get(names.chosen, empty), **row}
    pair = pair_of(row, line, names, lenient=True)
    if not text_of(pair.prompt).strip():
        raise BadRow("no prompt to answer. Write a prompt, or map it with --fields prompt=FIELD.")
    return pair


def in_form_of(content: Content, text: str) -> str | list[dict[str, str]]:
    """A response as a row writes it: text where `content` is text, else one message of the assistant."""
    return text if isinstance(content, str) else [{"role": "assistant", "content": text}]


def has_parts(pair: Pair) -> bool:
    """Whether any message of the pair is a list of content parts, so that its template reads such lists."""
    turns = [m for side in (pair.prompt, pair.chosen, pair.rejected) if isinstance(side, tuple) for m in side]
    return any(isinstance(turn.get("content"), list) for turn in turns)


def parts_of(text: str) -> list[dict[str, str]]:
    """A text as content parts."""
    return [{"type": "text", "text": text}]


def in_parts(pair: Pair) -> Pair:
    """A pair of texts as chat messages of content parts."""

    def turns(role: str, content: Content | None) -> Any:
        return ({"role": role, "content": parts_of(content)},) if isinstance(content, str) else content

    sides = {name: turns("assistant", getattr(pair, name)) for name in ("chosen", "rejected")}
    return replace(pair, prompt=turns("user", pair.prompt), **sides)


def plain_text(content: Content | None) -> Any:
    """Content as JSON has it."""
    return content if isinstance(content, str | None) else [dict(message) for message in content]
