"""The forms a log is kept in as text: JSON, notebooks, tables, printed dictionaries, "key: value" lines.

A form is a function from text to entries. All are tried and the one that finds most entries is believed; a
tie goes to the first of the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ...records import JsonRow
from .lines import LONGEST_LINE, of_key_values, overlong_lines
from .names import HELD_OUT_WORDS, MEASUREMENT_NAME, canonical
from .printed import json_document, literal, of_dictionaries, unread_dictionaries
from .rows import as_number, held_out_entry
from .tables import is_long, of_csv, of_html, of_markdown, pivoted, tag_of

# The deepest nesting looked into: run.json holds its log at details > training > log_history.
DEPTH = 4
PRINTED = "printed dictionaries"
KEY_VALUES = '"key: value" lines'
SOURCE_CODE = re.compile(
    r"\s*(def \w+\(|class \w+\b.*[:{]$|import [\w.]+$|from [\w.]+ import |#include |return\b)"
)


class LogEntries(NamedTuple):
    """Entries, and the name of the form they were read as."""

    form: str
    entries: list[JsonRow]


def read_text(text: str, name: str = "") -> LogEntries:
    """The entries of `text` by the form that finds most; no entries where none of them finds any."""
    best = LogEntries("", [])
    if is_source(text):
        return best
    for form, read in FORMS:
        entries = _measured(pivoted(read(text, name)))
        if entries and _whole(form, text, len(entries)):
            return LogEntries(form, entries)
        if _numbers(entries) > _numbers(best.entries):
            best = LogEntries(form, entries)
    return best


def unread_part(text: str, suffix: str, reading: LogEntries) -> str:
    """What of a file could not be read: JSON that was cut, or lines that are damaged or far too long."""
    if suffix == ".json" and reading.form == PRINTED and json_document(text.strip()) is None:
        return (
            f"the file is no whole JSON, cut or damaged: {len(reading.entries)} entries of it could be read"
        )
    if reading.form == PRINTED and (bad := unread_dictionaries(text, len(reading.entries))):
        return f"dictionaries that are cut or damaged were left out: {bad}"
    if reading.form == KEY_VALUES and (long := overlong_lines(text)):
        return f"lines of more than {LONGEST_LINE:,} characters were left out: {long}"
    if reading.form != "JSON Lines":
        return ""
    lines = [line.strip() for line in text.splitlines() if line.lstrip().startswith("{")]
    bad = sum(json_document(line) is None for line in lines)
    return f"{bad} of {len(lines)} lines begin like JSON, are none and were left out" if bad else ""


def is_source(text: str) -> bool:
    """Whether a text is a program: the numbers in it are no log."""
    lines = [line for line in text[:100_000].splitlines() if line.strip()]
    code = sum(bool(SOURCE_CODE.match(line)) for line in lines)
    return code >= 3 and code >= 0.02 * len(lines)


def _whole(form: str, text: str, found: int) -> bool:
    """Whether a form explains the whole file, so that no other need be tried."""
    lines = sum(bool(line.strip()) for line in text.splitlines()) if form == "JSON Lines" else 0
    return form in ("notebook", "JSON") or (form == "JSON Lines" and found >= 0.8 * lines)


def _numbers(entries: Sequence[JsonRow]) -> int:
    """How many entries hold a metric that is a number: what is believed must be more than a heading."""
    return sum(
        any(
            MEASUREMENT_NAME.search(canonical(str(k)).name) and as_number(v) is not None
            for k, v in entry.items()
        )
        for entry in entries
    )


def columns(text: str) -> list[str]:
    """The column names of whatever could be read in `text`, measured or not: for the message that says so."""
    if is_source(text):
        return []
    for _, read in FORMS:
        names = dict.fromkeys(str(k) for entry in read(text, "") for k in entry)
        if names:
            return list(names)
    return []


def _measured(entries: list[JsonRow]) -> list[JsonRow]:
    return entries if _numbers(entries) else []


def measures(entry: JsonRow) -> bool:
    """Whether an entry holds a metric of training."""
    return any(MEASUREMENT_NAME.search(canonical(str(key)).name) for key in entry)


def of_json(text: str, name: str = "") -> list[JsonRow]:
    """The longest list of entries in a JSON document (or a printed Python list), `log_history` first."""
    value = _document(text)
    if isinstance(value, dict) and "cells" in value:
        return []
    own = isinstance(value, dict) and "schema_version" in value and "details" in value
    if isinstance(value, list) and value and all(_is_point(point) and len(point) == 3 for point in value):
        tag = tag_of(re.sub(r"\.json$", "", name))  # a download of TensorBoard, named after its metric
        return [{"step": step, tag: number} for _, step, number in value]
    found = _search(value, DEPTH)
    # run.json has no other word for NaN, and leaves out what is absent.
    return [{k: "nan" if v is None else v for k, v in row.items()} for row in found] if own else found


def _document(text: str) -> Any:
    head = text.lstrip()[:1]
    if head not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return literal(text.strip()) if len(text) < 50_000_000 and text.rstrip()[-1:] in "}]" else None


def _search(value: Any, depth: int) -> list[JsonRow]:
    if isinstance(value, list):
        entries: list[JsonRow] = [entry for entry in value if isinstance(entry, dict)]
        return entries if any(measures(entry) for entry in entries) else []
    if not isinstance(value, dict) or depth == 0:
        return []
    if found := _columns(value):
        return found
    named = _search(value.get("log_history"), depth - 1)
    return named or _lists(value, depth - 1) or _series(value) or _single(value)


def _lists(value: JsonRow, depth: int) -> list[JsonRow]:
    """The longest list of entries under a key, and those under keys that say that they are held out."""
    found = {str(key): _search(inner, depth) for key, inner in value.items()}
    held = {key for key in found if not HELD_OUT_WORDS.isdisjoint(re.split(r"[^a-z]+", key.lower()))}
    longest = max((rows for key, rows in found.items() if key not in held), key=len, default=[])
    return longest + [held_out_entry(row) for key in found if key in held for row in found[key]]


def _columns(value: JsonRow) -> list[JsonRow]:
    """Rows of `{"loss": [...], ...}` or `{"loss": {"0": ...}}`, as data frames and Keras save them."""
    lists = {k: list(v.values()) if isinstance(v, dict) else v for k, v in value.items()}
    filled = {k: v for k, v in lists.items() if isinstance(v, list) and v}
    found = {k: v for k, v in filled.items() if not isinstance(v[0], dict | list)}
    if not any(MEASUREMENT_NAME.search(canonical(str(k)).name) for k in found):
        return []
    length = max(map(len, found.values()))
    return [{k: v[i] for k, v in found.items() if i < len(v)} for i in range(length)]


def _series(value: JsonRow) -> list[JsonRow]:
    """Rows of `{"train/loss": [[step, value], …]}` or TensorBoard's `[[wall time, step, value], …]`."""
    rows: list[JsonRow] = []
    for key, points in value.items():
        if isinstance(points, list) and points and all(_is_point(p) for p in points):
            rows += [{"step": p[-2], str(key): p[-1]} for p in points]
    return rows if any(measures(row) for row in rows) else []


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) in (2, 3) and all(isinstance(x, int | float) for x in point)


def _single(value: JsonRow) -> list[JsonRow]:
    """One entry by itself: a dictionary of metrics and nothing else worth looking into."""
    return [value] if measures(value) and not any(isinstance(v, dict | list) for v in value.values()) else []


def of_notebook(text: str, name: str = "") -> list[JsonRow]:
    """The tables and printed entries of a notebook's outputs; a table of its own is a stage of its own."""
    value = _document(text) if '"cells"' in text else None
    if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
        return []
    found = [(i, _of_cell(cell)) for i, cell in enumerate(value["cells"], 1) if isinstance(cell, dict)]
    stages = [(i, entries) for i, entries in found if _measured(entries)]
    if len(stages) < 2:
        return stages[0][1] if stages else []
    return [{**entry, "run": f"cell {i}"} for i, entries in stages for entry in entries]


def _of_cell(cell: JsonRow) -> list[JsonRow]:
    outputs = [o for o in cell.get("outputs") or () if isinstance(o, dict)]
    html = [_joined((o.get("data") or {}).get("text/html")) for o in outputs]
    printed = [_joined(o.get("text")) or _joined((o.get("data") or {}).get("text/plain")) for o in outputs]
    tables = [entries for page in html if (entries := _measured(of_html(page)))]
    texts = read_text("\n".join(printed)) if any(printed) else LogEntries("", [])
    return max([*tables, texts.entries], key=len, default=[])


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(v for v in value if isinstance(v, str))
    return value if isinstance(value, str) else ""


def of_json_lines(text: str, name: str = "") -> list[JsonRow]:
    """One JSON document a line. A line with a whole log inside repeats the others and is left out."""
    found = [value for line in text.splitlines() if isinstance(value := json_document(line.strip()), dict)]
    rows = [value for value in found if "log_history" not in value]
    long = bool(rows) and is_long(map(str, rows[0]))
    flat = [_flat(row) for row in rows]
    return flat if long or any(measures(row) for row in flat) else []


def _flat(row: JsonRow) -> JsonRow:
    """`{"step": 1, "metrics": {"loss": …}}` with the inner names at the top; those in `eval` are held out."""
    inner = any(isinstance(v, dict) for v in row.values())
    if not inner or any(
        MEASUREMENT_NAME.search(canonical(str(k)).name) for k, v in row.items() if v is not None
    ):
        return row
    return dict(_leaves(row, False, DEPTH))


def _leaves(row: JsonRow, held_out: bool, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if not isinstance(value, dict):
            yield f"eval/{key}" if held_out else str(key), value
        elif depth:
            held = held_out or canonical(f"{key}/loss").name == "eval_loss"
            yield from _leaves(value, held, depth - 1)


Reader = Callable[[str, str], list[JsonRow]]
FORMS: tuple[tuple[str, Reader], ...] = (
    ("notebook", of_notebook),
    ("JSON", of_json),
    ("JSON Lines", of_json_lines),
    (PRINTED, of_dictionaries),
    ("a Markdown table", of_markdown),
    ("an HTML table", lambda text, name: of_html(text)),
    ("CSV", of_csv),
    (KEY_VALUES, of_key_values),
)
