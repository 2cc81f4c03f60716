"""Finding the entries of a training log in whatever file holds them: JSON, JSON Lines, CSV, printed lines."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from .log import MEASURED, Log, make_log

Entry = Mapping[str, Any]
REMEDY = "Give a trainer_state.json, a JSONL or CSV of metrics, a run.json or a checkpoint directory."
# The deepest nesting looked into: run.json holds its log at details > training > log_history.
DEPTH = 4
IN_A_DIRECTORY = (
    "trainer_state.json",
    "run.json",
    "trainer_log.jsonl",
    "training_history.json",
    "log_history.json",
)


def read_log(path: Path) -> Log:
    """The training log in `path`: a file, a checkpoint directory or a directory of checkpoints.

    Reads `trainer_state.json` of any version (NaN and Infinity literals too), a bare list of entries,
    columns, `run.json`, JSON Lines, CSV or TSV, and the dictionaries that a trainer prints. Raises
    `ProbeError` where there is no such file or nothing in it is a training metric.
    """
    path = _log_file(path)
    text = _text(path)
    entries = _entries(text)
    if not entries:
        raise ProbeError(f"{path}: no training metrics (loss, eval_loss, rewards, …) in it. {REMEDY}")
    log = make_log(str(path), entries)
    if not log.rows:
        raise ProbeError(f"{path}: {len(entries)} entries, none with a loss or a reward. {REMEDY}")
    return log


def _log_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in IN_A_DIRECTORY if (path / name).is_file()]
    found += sorted(path.glob("checkpoint-*/trainer_state.json"), key=_checkpoint_step, reverse=True)
    if not found:
        raise ProbeError(f"{path}: no trainer_state.json or run.json in it. {REMEDY}")
    return found[0]


def _checkpoint_step(path: Path) -> int:
    number = re.search(r"-(\d+)$", path.parent.name)
    return int(number.group(1)) if number else -1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror or error}. {REMEDY}") from error
    except ValueError as error:  # undecodable bytes, or a NUL in the name
        raise ProbeError(f"{path}: not UTF-8 text. {REMEDY}") from error


def _entries(text: str) -> list[Entry]:
    """The entries of the first reading of `text` that yields any."""
    readings = (_of_json, _of_lines, _of_table)
    return next((found for reading in readings if (found := reading(text))), [])


def _of_json(text: str) -> list[Entry]:
    try:
        return _search(json.loads(text), DEPTH)
    except (ValueError, RecursionError):
        return []


def _search(value: Any, depth: int) -> list[Entry]:
    """The longest list of entries in a JSON value, the one called `log_history` first."""
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, dict)] if _measures(value) else []
    if not isinstance(value, dict) or depth == 0:
        return []
    if columns := _columns(value):
        return columns
    named = _search(value.get("log_history"), depth - 1)
    return named or max((_search(v, depth - 1) for v in value.values()), key=len, default=[])


def _measures(values: Sequence[Any]) -> bool:
    return any(isinstance(v, dict) and any(MEASURED.search(_bare(k)) for k in v) for v in values)


def _bare(key: Any) -> str:
    return str(key).strip().lower().replace(" ", "_").replace("_/_", "/").removeprefix("train/")


def _columns(value: Entry) -> list[Entry]:
    """Rows of `{"loss": [...], ...}` or `{"loss": {"0": ...}}`, as data frames are saved."""
    lists = {k: list(v.values()) if isinstance(v, dict) else v for k, v in value.items()}
    columns = {k: v for k, v in lists.items() if isinstance(v, list) and v and not isinstance(v[0], dict)}
    if not any(re.search(r"(^|_|/)loss$", _bare(k)) for k in columns):
        return []
    length = max(map(len, columns.values()))
    return [{k: v[i] for k, v in columns.items() if i < len(v)} for i in range(length)]


def _of_lines(text: str) -> list[Entry]:
    """Entries of JSON Lines, or of a printed log: every line that is, or ends in, one dictionary."""
    found = [entry for line in text.splitlines() if (entry := _of_line(line))]
    return found if _measures(found) else []


def _of_line(line: str) -> Entry | None:
    start = line.find("{")
    body = line[start:].strip() if start >= 0 else ""
    if not body.endswith("}"):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = _literal(body)
    return value if isinstance(value, dict) else None


def _literal(body: str) -> Any:
    """A dictionary as Python prints it. `nan` and `inf` are names there, so they are quoted first."""
    quoted = re.sub(r"(?<![\w'\"])(-?(?:nan|inf))(?![\w'\"])", r"'\1'", body)
    try:
        return ast.literal_eval(quoted)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _of_table(text: str) -> list[Entry]:
    """Rows of a CSV or TSV file, whose first line names at least one metric."""
    heading = text.partition("\n")[0]
    delimiter = max(",\t;", key=heading.count)
    try:
        rows = list(_rows(text, delimiter))
    except csv.Error:
        return []
    return rows if _measures(rows) else []


def _rows(text: str, delimiter: str) -> Iterator[Entry]:
    for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
        yield {k: v for k, v in row.items() if k is not None and not isinstance(v, list)}
