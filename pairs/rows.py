"""One row of a file becomes one `Pair`, or the reason why it cannot."""

from __future__ import annotations

import json
from typing import Any

from ..records import JsonRow
from .fields import FieldNames
from .implicit import split_shared
from .ordered import ordering, ranked_list, twins
from .record import Content, Message, Pair, text_of
from .shapes import renamed, repeats_prompt, retold, under_system, with_input

HALF_CHARACTER = r"holds half of a surrogate pair (\ud800–\udfff). Write whole characters."


class BadRow(ValueError):
    """Why a row holds no pair, as `fact. remedy`; the reader puts `file:line:` before it."""


class RestUnread(BadRow):
    """A row behind which no other can be told apart: to leave it out would lose all that follow."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Nothing behind it was read.")


def pair_of(row: Any, line: int, names: FieldNames, *, lenient: bool = False) -> Pair:
    """The pair that a decoded row holds; `names` says which field is what.

    Raises `BadRow`. With `lenient` a side without words passes.
    """
    if not isinstance(row, dict):
        raise BadRow(f"holds {_kind(row)}, not an object. Write one JSON object per line.")
    if "preferred_output" in row and names.chosen not in row:
        row = _from_hosted(row)
    row = _beside(read_as(row, names)[0], names)
    if "tools" in row or "chat_template_kwargs" in row:
        _check_chat_options(row)
    prompt, chosen, rejected = _contents(row, names)
    if not lenient:
        _require_words(chosen, names.chosen)
        _require_words(rejected, names.rejected)
    return Pair(
        id=_label(row, "id", names.id, names) or str(line),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        group=_label(row, "group", names.group, names),
        meta={key: value for key, value in row.items() if key not in names.used},
        line=line,
    )


def read_as(row: Any, names: FieldNames) -> tuple[Any, str]:
    """The row in the form that TRL reads, and what was taken as what; columns are as `--fields` says."""
    if not isinstance(row, dict):
        return row, ""
    sides = (names.chosen, names.rejected)
    try:
        row, told = retold(row, [f for f in (names.prompt, *sides) if f and (f in row or f in sides)])
    except UnicodeEncodeError as error:
        raise BadRow(HALF_CHARACTER) from error
    if names.prompt in row:
        prompt, both = row[names.prompt], [row.get(side) for side in sides]
        if isinstance(prompt, str) and all(isinstance(s, list) and repeats_prompt(prompt, s) for s in both):
            told.append("the sides repeat the prompt and are read as whole dialogues")
    elif names.prompt and not names.mapped - {"id", "group"}:
        row, taken = renamed(row)
        told += [taken] if taken else []
    return row, "; ".join(told)


def _beside(row: JsonRow, names: FieldNames) -> JsonRow:
    """The row with the mapped `input` joined to its prompt and the mapped `system` before it."""
    if missing := [f for n in ("system", "input") if (f := getattr(names, n)) and f not in row]:
        raise BadRow(f'no field "{missing[0]}". Correct --fields.')
    prompt = row.get(names.prompt)
    if names.input and isinstance(prompt, str):
        row = {**row, names.prompt: with_input(prompt, row[names.input])}
    system = row.get(names.system)
    if not names.system or not isinstance(system, str) or not system.strip():
        return row
    sides = {name: row.get(name) for name in (names.chosen, names.rejected)}
    turns, said = under_system(system, row.get(names.prompt), sides)
    return {**row, names.prompt: turns, **said}


def _from_hosted(row: JsonRow) -> JsonRow:
    """The form that hosted tuning services ask for, in our names; what else `input` holds goes beside."""
    given = row.get("input")
    if not isinstance(given, dict) or "non_preferred_output" not in row:
        raise BadRow('"preferred_output" is given alone. Write "input" and "non_preferred_output" too.')
    beside = {key: value for key, value in {**row, **given}.items() if key not in _HOSTED}
    return {
        "prompt": given.get("messages"),
        "chosen": row["preferred_output"],
        "rejected": row["non_preferred_output"],
        **beside,
    }


_HOSTED = {"input", "messages", "preferred_output", "non_preferred_output"}


def _check_chat_options(row: JsonRow) -> None:
    """TRL hands both to the chat template; `tools` may be JSON text."""
    if not isinstance(row.get("chat_template_kwargs"), dict | None):
        raise BadRow('"chat_template_kwargs" is not an object. Write {"name": value}.')
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise BadRow('"tools" is text, but not JSON. Write a list of tool schemas.') from error
    if not isinstance(tools, list | None):
        raise BadRow('"tools" is not a list. Write a list of tool schemas.')


def _contents(row: JsonRow, names: FieldNames) -> tuple[Content | None, Content, Content]:
    chosen = _content(_side(row, "chosen", names.chosen), names.chosen)
    rejected = _content(_side(row, "rejected", names.rejected), names.rejected)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise BadRow(
            "one side is text, the other chat messages. Write both as text or both as lists of messages."
        )
    prompt = _prompt(row, names)
    if prompt is None:
        return split_shared(chosen, rejected)
    if isinstance(prompt, str) and not isinstance(chosen, str):
        if repeats_prompt(prompt, chosen) and repeats_prompt(prompt, rejected):
            return split_shared(chosen, rejected)
        raise BadRow(
            "the prompt is text, the responses are chat messages. Write the prompt as a list of messages, "
            "or read shared turns as the prompt with --fields prompt=."
        )
    if isinstance(chosen, str) and not isinstance(prompt, str):
        raise BadRow(
            "the prompt is chat messages, the responses are text. Write each response as a list of messages."
        )
    return prompt, chosen, rejected


def _side(row: JsonRow, name: str, field: str) -> Any:
    if field in row:
        return row[field]
    if isinstance(row.get("completion"), str | list) and "label" in row:
        raise BadRow(
            "unpaired (prompt, completion, label), as for KTO, where pairs are needed. "
            "`probe unpaired FILE --to PAIRS` checks it and makes pairs of it."
        )
    if field == name == "chosen":
        _refuse_unordered(row)
    there = ", ".join(map(repr, list(row)[:8])) or "none"
    raise BadRow(f'no field "{field}" (there: {there}). Map it with --fields {name}=FIELD.')


# Under these names stand several responses of a row; of the others one holds the prompt at most.
_LISTS = ("completions", "responses", "answers", "outputs", "candidates", "generations")
_PROMPT_NAMES = ("prompt", "question", "instruction", "input", "system", "messages", "conversations", "query")


def _refuse_unordered(row: JsonRow) -> None:
    """Raises `BadRow` for responses that stand under other names, in no order or in that of a column."""
    if two := twins(row):
        by = (
            f'which "{told}" puts in order' if (told := ordering(row)) else "of which none is named as better"
        )
        raise BadRow(
            f'two responses, "{two[0]}" and "{two[1]}", {by}, where chosen and rejected are needed. '
            'Write the better one of each row as "chosen", the other as "rejected".'
        )
    if ranked := ranked_list(row):
        raise BadRow(
            f'"{ranked}" lists responses with a rank, where chosen and rejected are needed. '
            'Write the best one of each row as "chosen", another as "rejected".'
        )
    if listed := next((n for n in _LISTS if isinstance(v := row.get(n), list) and len(v) > 1), ""):
        raise BadRow(
            f'"{listed}" lists responses, where chosen and rejected are needed. '
            'Write the best one of each row as "chosen", another as "rejected".'
        )
    texts = [n for n, value in row.items() if isinstance(value, str | list) and n not in _PROMPT_NAMES]
    if len(texts) == 1 and "rejected" not in row:
        raise BadRow(
            f'one response, "{texts[0]}", where two are needed. '
            'Write the better response to each prompt as "chosen", another as "rejected".'
        )


def _prompt(row: JsonRow, names: FieldNames) -> Content | None:
    """The prompt, None where the row has none. A field that the user named must be there."""
    field = names.prompt
    if "prompt" in names.mapped and field not in row:
        raise BadRow(f'no field "{field}". Correct --fields prompt=FIELD, or write prompt= for none.')
    value = row.get(field) if field else None
    # Zero messages before the responses are no prompt.
    return None if value is None or value == [] else _content(value, field)


def _content(value: Any, field: str) -> Content:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRow(f'"{field}" is {_kind(value)}. Write text or a list of chat messages.')
    if not value:
        raise BadRow(f'"{field}" is an empty list. Write at least one message.')
    if all(isinstance(item, str) for item in value):
        raise BadRow(
            f'"{field}" is a list of {len(value)} text{"s" * (len(value) > 1)}. Write one text, or a list of '
            "chat messages; of a file of columns one object per pair."
        )
    return tuple(_message(item, field, i) for i, item in enumerate(value, 1))


def _message(item: Any, field: str, i: int) -> Message:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        role = "user" if field in _PROMPT_NAMES else "assistant"
        raise BadRow(f'message {i} of "{field}" has no role. Write {{"role": "{role}", "content": "…"}}.')
    content = item.get("content")
    if isinstance(content, list):
        _check_parts(content, field, i)
        return item
    if not isinstance(content, str | None):
        raise BadRow(f'message {i} of "{field}" holds {_kind(content)} as content. Write text.')
    return item


def _check_parts(parts: list[Any], field: str, i: int) -> None:
    """Parts stay as they are, since some chat templates want them; they must be text."""
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise BadRow(f'message {i} of "{field}" holds more than text. Leave images and audio out.')


def _label(row: JsonRow, name: str, field: str, names: FieldNames) -> str | None:
    """The id or group as text; None where absent, null or blank."""
    value = row.get(field) if field else None
    if value is None:
        if name in names.mapped and field not in row:
            raise BadRow(f'no field "{field}". Correct --fields {name}=FIELD.')
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f'"{field}" is {_kind(value)}. Write text or a number as {name}.')
    text = str(value).strip()
    return (not_all(text) if name == "group" else text) or None


def not_all(group: str) -> str:
    """The name of a group as it is told: `all` is what reports call the whole file."""
    return "group all" if group == "all" else group


def _require_words(content: Content, field: str) -> None:
    calls = not isinstance(content, str) and any(message.get("tool_calls") for message in content)
    if not calls and not text_of(content).strip():
        raise BadRow(f'"{field}" is empty. Each pair needs two non-empty responses.')


def short(text: str, limit: int = 60) -> str:
    """The text, cut with an ellipsis where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _kind(value: Any) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")
