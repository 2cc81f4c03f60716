"""Rows whose prompt stands under another name, as other tools write them, in the names that TRL reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def renamed(row: Row) -> tuple[Row, str]:
    """The row with its prompt under `prompt`, and what was taken as what; the row itself and "" otherwise.

    Known are `messages` (a list that stops before the answer), `question`, and Alpaca's `instruction` with
    `input`, the last two with or without a `system` text. Only a row without `prompt` is looked at.
    """
    if isinstance(messages := row.get("messages"), list) and _open(messages, row):
        return _taken(row, messages, ("messages",)), "the prompt is the column messages"
    for name, beside in (("question", ""), ("instruction", "input")):
        text, more = row.get(name), row.get(beside)
        if isinstance(text, str) and all(isinstance(row.get(side), str) for side in ("chosen", "rejected")):
            joined = f"{text}\n{more}" if isinstance(more, str) and more.strip() else text
            names = (name, beside) if joined != text else (name,)
            return _with_system(row, joined, names)
    return row, ""


def _open(messages: list[Any], row: Row) -> bool:
    """Whether the messages stop before the answer, which the sides then are, without repeating them."""
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or last.get("role") == "assistant":
        return False
    sides = [row.get("chosen"), row.get("rejected")]
    return all(isinstance(side, list) and side[:1] != messages[:1] for side in sides)


def _with_system(row: Row, text: str, names: tuple[str, ...]) -> tuple[Row, str]:
    """A text prompt as it is; under a system text, prompt and sides as messages."""
    told = f"the prompt is the column {' with '.join(names)}"
    if not isinstance(system := row.get("system"), str) or not system.strip():
        return _taken(row, text, names), told
    turns = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    sides = {s: [{"role": "assistant", "content": row[s]}] for s in ("chosen", "rejected")}
    return _taken({**row, **sides}, turns, (*names, "system")), f"{told} under the column system"


def _taken(row: Row, prompt: Any, names: tuple[str, ...]) -> Row:
    return {"prompt": prompt, **{key: value for key, value in row.items() if key not in names}}


def repeats_prompt(prompt: str, side: Any) -> bool:
    """Whether a list of messages begins with the text prompt, as UltraFeedback's do."""
    opening = [m for m in side if m.get("role") != "system"][:1]
    return bool(opening) and opening[0].get("role") == "user" and opening[0].get("content") == prompt
