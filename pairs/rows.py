"""One row of a file becomes one `Pair`, or the reason why it cannot."""

from __future__ import annotations

import json
from typing import Any

from ..records import JsonRow
from .fields import BESIDE, FieldNames
from .implicit import Split, split_shared
from .ordered import PROMPT_NAMES, named_columns, points, unordered
from .record import Content, Message, Pair, text_of
from .shapes import renamed, repeats_prompt, retold, strange_role, under_system, with_input

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
    _check_mapped(row, names)
    said = read_as(row, names)[0]
    if "tools" in row or "chat_template_kwargs" in row:
        _check_chat_options(row)
    prompt, chosen, rejected = _contents(row, said, names)
    rest = _rest(row, said, names)
    if two := named_columns(rest, (chosen, rejected), text_of(prompt)):
        raise BadRow(
            f'"{names.chosen}" and "{names.rejected}" name the columns "{two[0]}" and "{two[1]}" in place of '
            "holding a response. Write the text of the column that each of them names."
        )
    if not lenient:
        _require_words(chosen, names.chosen)
        _require_words(rejected, names.rejected)
    return Pair(
        id=_label(row, "id", names.id, names) or str(line),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        group=_label(row, "group", names.group, names),
        meta=rest,
        line=line,
    )


def read_as(row: Any, names: FieldNames) -> tuple[Any, str]:
    """The row in TRL's form, under our names, and what was taken as what, in the names of the file."""
    if not isinstance(row, dict):
        return row, ""
    said, _ = names.ours(row)
    try:
        said, told = retold(said, [f for f in TRL_NAMES if f != "prompt" or f in said], names.called)
    except UnicodeEncodeError as error:
        raise BadRow(HALF_CHARACTER) from error
    if "prompt" in said:
        prompt, both = said["prompt"], [said.get(side) for side in ("chosen", "rejected")]
        if isinstance(prompt, str) and all(isinstance(s, list) and repeats_prompt(prompt, s) for s in both):
            told.append("the sides repeat the prompt and are read as whole dialogues")
    elif names.prompt and not names.missing(row):
        said, taken = renamed(said, names.called)
        told += [taken] if taken else []
    return said, "; ".join(told)


TRL_NAMES = ("prompt", "chosen", "rejected")


def _check_mapped(row: JsonRow, names: FieldNames) -> None:
    """Raises `BadRow` where a mapped `system` or `input` is not there, or is no text."""
    for name in names.missing(row, BESIDE):
        raise BadRow(f'no field "{getattr(names, name)}". Correct --fields.')
    for name in BESIDE:
        if name in names.mapped and not isinstance(value := row[getattr(names, name)], str | None):
            raise BadRow(
                f'"{getattr(names, name)}" is {_kind(value)}. Write text as {name}, or null for none.'
            )


def _rest(row: JsonRow, said: JsonRow, names: FieldNames) -> dict[str, Any]:
    """What a row holds besides: columns of which nothing was read."""
    ours = {*TRL_NAMES, *(name for name in BESIDE if name in names.mapped)}
    rest = {**{key: value for key, value in said.items() if key not in ours}, **names.ours(row)[1]}
    return {key: value for key, value in rest.items() if key not in names.used}


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


def _contents(row: JsonRow, said: JsonRow, names: FieldNames) -> Split:
    """Prompt, chosen and rejected of a row that holds `said` in our names."""
    sides = _side(row, said, "chosen", names.chosen), _side(row, said, "rejected", names.rejected)
    chosen, rejected = _content(sides[0], names.chosen), _content(sides[1], names.rejected)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise BadRow(
            "one side is text, the other chat messages. Write both as text or both as lists of messages."
        )
    prompt = _prompt(row, said, names)
    told = isinstance(prompt, str) and not isinstance(chosen, str)
    whole = prompt is None or (told and all(repeats_prompt(str(prompt), side) for side in (chosen, rejected)))
    if whole:
        prompt, chosen, rejected = split_shared(chosen, rejected)
    more, system = (said.get(name) if name in names.mapped else None for name in ("input", "system"))
    if isinstance(more, str) and more.strip():
        prompt = _followed(prompt, more, names.input, whole)
    if isinstance(system, str) and system.strip():
        prompt, chosen, rejected = _under(system, (prompt, chosen, rejected), names.system, whole)
    if prompt is not None:
        _refuse_mixed(prompt, chosen, rejected)
    return prompt, chosen, rejected


def _followed(prompt: Content | None, more: str, field: str, whole: bool) -> str:
    """A text prompt and its input. `whole`: the prompt was found in the sides."""
    if prompt is None:
        raise BadRow(f'no prompt that "{field}" could follow. Map it as the prompt: --fields prompt={field}.')
    if whole or not isinstance(prompt, str):
        raise BadRow(
            f'"{field}" cannot follow a prompt of chat messages, or one inside the sides. Write its text '
            "into the message that it belongs to, and leave input= out of --fields."
        )
    return with_input(prompt, more)


def _under(system: str, split: Split, field: str, whole: bool) -> Split:
    """Prompt and sides below a system turn, which a row may have already. `whole`: as `_followed` has it."""
    prompt, *sides = split
    if whole and isinstance(prompt, str):
        raise BadRow(
            f'"{field}" cannot be a system turn of dialogues that are written as text. Write them as lists '
            "of chat messages."
        )
    first = prompt or sides[0]
    if not isinstance(first, str) and first[0].get("role") == "system":
        if text_of(first[:1]).strip() == system.strip():
            return split
        raise BadRow(
            f'"{field}" holds another system text than the turn that the row begins with. Keep one of the '
            "two, or leave system= out of --fields."
        )
    turns, said = under_system(system, prompt, dict(zip(("chosen", "rejected"), sides, strict=True)))
    return tuple(turns), tuple(said["chosen"]), tuple(said["rejected"])


def _refuse_mixed(prompt: Content, chosen: Content, rejected: Content) -> None:
    """Raises `BadRow` for a text beside chat messages."""
    if isinstance(prompt, str) and not isinstance(chosen, str):
        asked = chosen[0].get("role") != "assistant" and chosen[:1] == rejected[:1]
        raise BadRow(
            "the prompt is text, the responses are chat messages. Write the prompt as a list of messages"
            f"{', or read shared turns as the prompt with --fields prompt=' * asked}."
        )
    if isinstance(chosen, str) and not isinstance(prompt, str):
        raise BadRow(
            "the prompt is chat messages, the responses are text. Write each response as a list of messages."
        )


def _side(row: JsonRow, said: JsonRow, name: str, field: str) -> Any:
    if name in said:
        return said[name]
    if isinstance(row.get("completion"), str | list) and "label" in row:
        raise BadRow(
            "unpaired (prompt, completion, label), as for KTO, where pairs are needed. "
            "`probe unpaired FILE --to PAIRS` checks it and makes pairs of it."
        )
    if field == name and (name == "chosen" or points(row)) and (reason := unordered(row)):
        raise BadRow(reason)
    there = ", ".join(map(repr, list(row)[:8])) or "none"
    raise BadRow(f'no field "{field}" (there: {there}). Map it with --fields {name}=FIELD.')


def _prompt(row: JsonRow, said: JsonRow, names: FieldNames) -> Content | None:
    """The prompt, None where the row has none. A field that the user named must be there."""
    field = names.prompt
    if names.missing(row, ("prompt",)):
        raise BadRow(f'no field "{field}". Correct --fields prompt=FIELD, or write prompt= for none.')
    value = said.get("prompt")
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
    if role := strange_role(value):
        raise BadRow(
            f'a turn is from "{short(role)}", a role that is not known here. Write the dialogue as messages '
            'with role and content, and calls of tools as "tool_calls".'
        )
    return tuple(_message(item, field, i) for i, item in enumerate(value, 1))


def _message(item: Any, field: str, i: int) -> Message:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        role = "user" if field in PROMPT_NAMES else "assistant"
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
