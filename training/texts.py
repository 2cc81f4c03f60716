"""General texts, to be replayed while training or watched for forgetting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..pairs.record import Content, Pair

RESPONSE_FIELDS = ("response", "completion", "answer", "output", "chosen")
PROMPT_FIELDS = ("prompt", "instruction", "question", "input")


def read_texts(path: Path) -> list[Pair]:
    """The texts of a file, as pairs whose two sides are the same; only `chosen` is to be used.

    `.jsonl` lines hold `text`, or a prompt with an answer, or chat `messages`; any other file is plain text,
    its paragraphs parted by empty lines. Raises `ProbeError` with the line for what is none of these.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeError(f"{path}: not readable as UTF-8 ({error}). Give a .txt or .jsonl file.") from error
    read = _jsonl if path.suffix in {".jsonl", ".ndjson"} else _paragraphs
    rows = read(path, content)
    found = [Pair(str(line), prompt, answer, answer, line=line) for line, prompt, answer in rows]
    if not found:
        raise ProbeError(f"{path}: no text in it. Give paragraphs, or JSON Lines with `text`.")
    return found


def _paragraphs(path: Path, content: str) -> Iterator[tuple[int, Content | None, Content]]:
    line = 1
    for block in content.split("\n\n"):
        if block.strip():
            yield line, None, block.strip()
        line += block.count("\n") + 2


def _jsonl(path: Path, content: str) -> Iterator[tuple[int, Content | None, Content]]:
    for number, line in enumerate(content.split("\n"), start=1):  # other breaks may stand inside a string
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ProbeError(f"{path}:{number}: not JSON ({error}).") from error
        found = _text(row) if isinstance(row, Mapping) else None
        if found is None:
            raise ProbeError(f"{path}:{number}: no `text`, no prompt with an answer, no `messages`.")
        yield number, *found


def _text(row: Mapping[str, Any]) -> tuple[Content | None, Content] | None:
    if isinstance(row.get("text"), str) and row["text"].strip():
        return None, row["text"]
    messages = row.get("messages")
    if isinstance(messages, list) and len(messages) > 1:
        return tuple(messages[:-1]), tuple(messages[-1:])
    prompt = next((row[key] for key in PROMPT_FIELDS if isinstance(row.get(key), str)), None)
    answer = next(
        (row[key] for key in RESPONSE_FIELDS if isinstance(row.get(key), str) and row[key].strip()), None
    )
    return None if answer is None else (prompt, answer)
