"""General texts, to be replayed while training or watched for forgetting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..pairs.fields import FieldNames
from ..pairs.formats import is_rows_name, rows_of
from ..pairs.record import Pair
from ..pairs.rows import BadRow, pair_of, read_as
from ..pairs.shapes import retold
from ..records import JsonRow

RESPONSE_FIELDS = ("response", "completion", "answer", "output")
PROMPT_FIELDS = ("prompt", "instruction", "question")
DIALOGUE_COLUMNS = ("messages", "conversations")
NAMES, UNDER_SYSTEM = FieldNames.of({}), FieldNames.of({"system": "system"})


def read_texts(path: Path) -> list[Pair]:
    """The texts of a file, as pairs whose two sides are the same; only `chosen` is to be used.

    Rows of any form that pair files have hold `text`, a prompt with an answer, or turns that end on the
    answer; a file whose name says no such form is plain text, its paragraphs parted by empty lines. Raises
    `ProbeError` with the line for what is none of these, or would be read in part.
    """
    found = list(_rows(path) if is_rows_name(path) else _paragraphs(path))
    if not found:
        raise ProbeError(f"{path}: no text in it. Give paragraphs, or JSON Lines with `text`.")
    return found


def _paragraphs(path: Path) -> Iterator[Pair]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeError(f"{path}: not readable as UTF-8 ({error}). Give a .txt or .jsonl file.") from error
    if content.lstrip().startswith(('{"', '[{"')):
        raise ProbeError(f"{path}: holds JSON, and its name says plain text. Rename it to {path.stem}.jsonl.")
    line = 1
    for block in content.split("\n\n"):
        if text := block.strip():
            yield Pair(str(line), None, text, text, line=line)
        line += block.count("\n") + 2


def _rows(path: Path) -> Iterator[Pair]:
    for line, row in rows_of(path):
        try:
            yield _text(row, line)
        except BadRow as error:
            raise ProbeError(f"{path}:{line}: {error}") from error


def _text(row: Any, line: int) -> Pair:
    if isinstance(row, BadRow):
        raise row
    if not isinstance(row, dict):
        return pair_of(row, line, NAMES)  # which says why not
    if isinstance(text := row.get("text"), str) and _words(text):
        return Pair(str(line), None, text, text, line=line)
    read, _ = read_as(_answered(row), NAMES)
    opening = read["prompt"][0] if isinstance(read.get("prompt"), list) and read["prompt"] else None
    led = isinstance(opening, dict) and opening.get("role") == "system"
    pair = pair_of(read, line, UNDER_SYSTEM if _words(read.get("system")) and not led else NAMES)
    if beside := next((name for name in ("input", "history") if _words(pair.meta.get(name))), None):
        raise BadRow(f'"{beside}" stands beside the prompt, and is not read. Write it into the prompt.')
    return pair


def _words(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else isinstance(value, list) and value)


def _answered(row: JsonRow) -> JsonRow:
    """The row as one of a pair whose sides are both its answer. Raises `BadRow` for one without."""
    if _words(row.get("chosen")):
        return {**row, "rejected": row["chosen"]}
    if name := next((name for name in DIALOGUE_COLUMNS if _words(row.get(name))), ""):
        return _parted(retold(row, [name], {})[0], name)
    given = [name for name in RESPONSE_FIELDS if _words(row.get(name))]
    if not given:
        raise BadRow("no `text`, no prompt with an answer, no `messages`. Write one of them.")
    if len(given) > 1:
        raise BadRow(f'"{given[0]}" and "{given[1]}" could both be the answer. Leave one out.')
    rest = {key: value for key, value in row.items() if key not in ("rejected", *given)}
    if "input" in rest and not any(_words(rest.get(name)) for name in PROMPT_FIELDS):
        rest["prompt"] = rest.pop("input")
    return {**rest, **dict.fromkeys(("chosen", "rejected"), row[given[0]])}


def _parted(row: JsonRow, name: str) -> JsonRow:
    """Turns parted into the prompt and the answer, which is the last one."""
    turns = row[name]
    last = turns[-1] if isinstance(turns, list) else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise BadRow(f'"{name}" does not end on a turn of the assistant. End each row on the answer.')
    rest = {key: value for key, value in row.items() if key not in (name, *PROMPT_FIELDS, *RESPONSE_FIELDS)}
    return {**rest, "prompt": turns[:-1], **dict.fromkeys(("chosen", "rejected"), turns[-1:])}
