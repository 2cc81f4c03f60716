"""Rows whose prompt stands under another name, as other tools write them, in the names that TRL reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..records import JsonRow

Called = Mapping[str, str]  # the file's name of a column that has one of ours


def renamed(row: JsonRow, called: Called) -> tuple[JsonRow, str]:
    """The row with its prompt under `prompt`, and what was taken as what; the row itself and "" otherwise.

    `called` has the file's name of a column that has another here.

    Known are `messages` and `conversations` (lists that stop before the answer), `question`, and Alpaca's
    `instruction` with `input`, the last two with or without a `system` text; and `messages` that end on the
    chosen answer beside a rejected one. Only a row without `prompt` is looked at.
    """
    if found := _answered(row, called):
        return found
    for name in ("messages", "conversations"):
        if isinstance(turns := row.get(name), list) and _open(turns, row):
            return _under_system(row, turns, name, called)
    # A question has an input where the user names one.
    for name, beside in (("question", "input" if "input" in called else ""), ("instruction", "input")):
        text, more = row.get(name), row.get(beside)
        if isinstance(text, str) and all(isinstance(row.get(side), str) for side in ("chosen", "rejected")):
            joined = with_input(text, more)
            names = (name, beside) if joined != text else (name,)
            return _with_system(row, joined, names, called)
    return row, ""


def _answered(row: JsonRow, called: Called) -> tuple[JsonRow, str] | None:
    """ms-swift's rows: messages with the chosen answer last, and another answer or whole dialogue."""
    turns = row.get("messages")
    if "chosen" in row or not isinstance(turns, list) or not turns or not isinstance(turns[-1], dict):
        return None
    last = turns[-1]
    if last.get("role") != "assistant":
        return None
    for name in ("rejected_response", "rejected", "rejected_messages"):
        other = row.get(name)
        told = f"the chosen side is the last turn of messages, the other {called.get(name, name)}"
        if isinstance(other, str):
            sides = {"chosen": [last], "rejected": [{**last, "content": other}]}
            return {**_taken(row, turns[:-1], ("messages", name)), **sides}, told
        if isinstance(other, list) and other[:1] == turns[:1]:
            left = {key: value for key, value in row.items() if key not in ("messages", name)}
            return {"chosen": turns, "rejected": other, **left}, told
    return None


def with_input(text: str, more: Any) -> str:
    """An instruction with its input on the next line, as Alpaca's rows are read; without one as it is."""
    return f"{text}\n{more}" if isinstance(more, str) and more.strip() else text


def under_system(system: str, prompt: Any, sides: JsonRow) -> tuple[Any, dict[str, Any]]:
    """Prompt and sides as chat messages below a system turn; texts become messages, chats keep theirs."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or ())
    said = {
        name: [{"role": "assistant", "content": side}] if isinstance(side, str) else side
        for name, side in sides.items()
    }
    return [{"role": "system", "content": system}, *turns], said


def _under_system(row: JsonRow, turns: list[Any], name: str, called: Called) -> tuple[JsonRow, str]:
    system = row.get("system")
    told = f"the prompt is the column {name}"
    if not isinstance(system, str) or not system.strip() or turns[0].get("role") == "system":
        return _taken(row, turns, (name,)), told
    lead = [{"role": "system", "content": system}, *turns]
    return _taken(row, lead, (name, "system")), f"{told} under the column {called.get('system', 'system')}"


def _open(messages: list[Any], row: JsonRow) -> bool:
    """Whether the messages stop before the answer, which the sides then are, without repeating them."""
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or last.get("role") == "assistant":
        return False
    sides = [row.get("chosen"), row.get("rejected")]
    return all(isinstance(side, list) and side[:1] != messages[:1] for side in sides)


def _with_system(row: JsonRow, text: str, names: tuple[str, ...], called: Called) -> tuple[JsonRow, str]:
    """A text prompt as it is; under a system text, prompt and sides as messages."""
    told = f"the prompt is the column {' with '.join(called.get(name, name) for name in names)}"
    if not isinstance(system := row.get("system"), str) or not system.strip():
        return _taken(row, text, names), told
    turns, sides = under_system(system, text, {s: row[s] for s in ("chosen", "rejected")})
    told += f" under the column {called.get('system', 'system')}"
    return _taken({**row, **sides}, turns, (*names, "system")), told


def _taken(row: JsonRow, prompt: Any, names: tuple[str, ...]) -> JsonRow:
    return {"prompt": prompt, **{key: value for key, value in row.items() if key not in names}}


# ShareGPT's names of the roles, in ours.
SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "bot": "assistant", "model": "assistant", "system": "system", "tool": "tool", "observation": "tool",
}  # fmt: skip


# The columns that a dialogue is read from.
DIALOGUES = (
    "prompt", "chosen", "rejected", "messages", "conversations", "rejected_response", "rejected_messages",
)  # fmt: skip


def retold(row: JsonRow, fields: Collection[str], called: Called) -> tuple[JsonRow, list[str]]:
    """The row with ShareGPT turns, and messages that are JSON text, as lists of messages; what was so read.

    Messages as text are read where each side holds them; other texts stay texts, whatever they look like.
    `called` as `renamed` has it.
    """
    told = []
    # LLaMA-Factory and Axolotl write a side as its one message.
    row = {n: [value] if n in fields and _is_message(value) else value for n, value in row.items()}
    turned = {name: _turned(value) for name, value in row.items() if name in DIALOGUES and _shared(value)}
    if turned:
        told.append(f"{_listed(turned, called)} hold{'s' * (len(turned) == 1)} ShareGPT turns")
    unpacked = {name: found for name in fields if (found := as_messages(row.get(name))) is not None}
    if {"chosen", "rejected"} <= set(unpacked) or len(unpacked) == len(fields):
        told.append(f"{_listed(unpacked, called)} hold messages as JSON text")
        turned |= unpacked
    return ({**row, **turned}, told) if told else (row, told)


def _listed(names: Iterable[str], called: Called) -> str:
    *first, last = (str(called.get(name, name)) for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _shared(value: Any) -> bool:
    """Whether a value is a turn, or a list of turns, with `from` and `value`."""
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(
        isinstance(t, dict) and t.get("from") in SHAREGPT_ROLES and isinstance(t.get("value"), str)
        for t in turns
    )


def _turned(value: Any) -> list[dict[str, Any]]:
    turns = value if isinstance(value, list) else [value]
    return [{"role": SHAREGPT_ROLES[turn["from"]], "content": turn["value"]} for turn in turns]


def strange_role(turns: list[Any]) -> str:
    """The first role of ShareGPT turns that has no name here; "" where there is none, or no such turns."""
    roles = [turn.get("from") for turn in turns if isinstance(turn, dict) and "role" not in turn]
    return next((role for role in roles if isinstance(role, str) and role not in SHAREGPT_ROLES), "")


def as_messages(value: Any) -> list[Any] | None:
    """The messages that a text holds as JSON, or None. Raises `UnicodeEncodeError` for half a character."""
    if not (isinstance(value, str) and value.lstrip().startswith("[") and "role" in value):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    json.dumps(found, ensure_ascii=False).encode()
    turns = isinstance(found, list) and found
    return found if turns and all(isinstance(t, dict) and "role" in t for t in found) else None


def repeats_prompt(prompt: str, side: Any) -> bool:
    """Whether a list of messages begins with the text prompt, as UltraFeedback's do."""
    opening = [m for m in side if isinstance(m, dict) and m.get("role") != "system"][:1]
    return bool(opening) and opening[0].get("role") == "user" and opening[0].get("content") == prompt
