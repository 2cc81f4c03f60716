"""JSON Lines and JSON arrays, as the standard has them: each row with the line that it starts on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any

import jsonlines

from ..plain import plain_json
from .rows import HALF_CHARACTER, BadRow, RestUnread, short

MAX_LINE = 64 * 2**20  # bytes; beyond that it is no line of pairs
MAX_ARRAY = 2 * 2**30  # bytes; of an array, and of a line that is passed over
TOO_LONG = "\0too long"  # stands for such a line; no JSON begins so
JSONL_REMEDY = "Write one JSON object per line."

JsonRows = Iterator[tuple[int, Any]]  # (line, the decoded value or the BadRow that says why there is none)


def json_lines(file: IO[bytes]) -> JsonRows:
    """The rows of JSON Lines, one line in memory at a time; blank lines are passed over."""
    lines = _Lines(file)
    reader = jsonlines.Reader(lines, loads=strict_loads)
    while True:
        try:
            row = reader.read(skip_empty=True, allow_none=True)
        except EOFError:
            if lines.ended:
                return
            raise  # from gzip: the file is cut off
        except jsonlines.InvalidLineError as error:
            row = _reason(error.__cause__)
        yield lines.number, row


def json_array(file: IO[bytes]) -> JsonRows:
    """The rows of one JSON array, which is read whole. Behind a row whose end is not told, none is.

    Where several rows share a line, rows are numbered instead of lines.
    """
    data = file.read(MAX_ARRAY + 1)
    if len(data) > MAX_ARRAY:
        return iter(
            [(1, BadRow(f"an array of more than {MAX_ARRAY // 2**30} GiB is not read whole. {JSONL_REMEDY}"))]
        )
    try:
        rows = list(_elements(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        rows = [(1 + data.count(b"\n", 0, error.start), RestUnread(str(_reason(error))))]
    lines = [line for line, row in rows if not isinstance(row, RestUnread)]
    distinct = all(a < b for a, b in pairwise(lines))
    return iter(rows if distinct else [(i, row) for i, (_, row) in enumerate(rows, 1)])


def _elements(text: str) -> JsonRows:
    """(line, row) of the array's elements; ends at the first whose end cannot be told."""
    line, seen, at = 1, 0, _skip(text, text.index("[") + 1)
    try:
        while text[at : at + 1] != "]":
            line, seen = line + text.count("\n", seen, at), at
            row, stop = _element(text, at)
            yield line, row
            at = _next(text, stop)
        if text[at + 1 :].strip():
            raise RestUnread("something follows the array. Write one array, or one JSON object per line.")
    except ValueError as error:
        reason = error if isinstance(error, BadRow) else RestUnread(str(_reason(error)))
        yield line + text.count("\n", seen, at), reason


def _element(text: str, at: int) -> tuple[Any, int]:
    """The element that starts at `at`, or why it is none, and where it stops. Raises where nothing tells."""
    try:
        return _decoded(text, at)
    except BadRow as error:  # of what it holds, not of how it is written
        try:
            return error, _PLAIN.raw_decode(text, at)[1]
        except RecursionError:
            raise RestUnread(str(error)) from error


_WHITE = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    return _WHITE.match(text, at).end()  # type: ignore[union-attr]


def _next(text: str, at: int) -> int:
    """Where the next element starts, or the closing bracket is."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        at = _skip(text, at + 1)
        if text[at : at + 1] == "]":
            raise BadRow("a comma ends the array. Remove it.")
    elif text[at : at + 1] != "]":
        raise RestUnread("the array goes on without a comma, or is cut off. Correct the file here.")
    return at


class _Lines:
    """The lines of a file, and the number of the one last given. Overlong ones are cut to a stub."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.number = 0
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        while line := self.file.readline(MAX_LINE + 1):
            self.number += 1
            if len(line) <= MAX_LINE:
                yield line
            else:
                self._pass_over(line)
                yield TOO_LONG.encode()
        self.ended = True

    def _pass_over(self, line: bytes) -> None:
        """Read on to the end of a line. Raises `OSError` for one without end, as a packed file can hold."""
        length = len(line)
        while line and not line.endswith(b"\n"):
            line = self.file.readline(MAX_LINE)
            length += len(line)
            if length > MAX_ARRAY:
                raise OSError(f"line {self.number} is longer than {MAX_ARRAY // 2**30} GiB")


def strict_loads(text: str) -> Any:
    """JSON as its standard has it: no NaN, no repeated key, no half of a surrogate pair; 1e999 is null."""
    if text == TOO_LONG:
        raise BadRow(f"the line is longer than {MAX_LINE // 2**20} MiB. {JSONL_REMEDY}")
    start = _skip(text, 0)
    value, stop = _decoded(text, start)
    if _skip(text, stop) < len(text):
        raise json.JSONDecodeError("extra data", text, stop)
    return value


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The value that starts at `at`, and where it stops."""
    try:
        value, stop = _DECODER.raw_decode(text, at)
        if text.find("\\u", at, stop) >= 0:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise BadRow("nested too deeply. Keep the fields flat.") from error
    except UnicodeEncodeError as error:
        raise BadRow(HALF_CHARACTER) from error
    return value, stop


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(items)
    if len(row) < len(items):
        seen: set[str] = set()
        twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRow(f'"{short(twice)}" appears twice. Keep one of them.')
    return row


def _constant(name: str) -> Any:
    raise BadRow(f"{name} is not JSON. Write null.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=lambda text: plain_json(float(text))
)
_PLAIN = json.JSONDecoder()


def _reason(error: BaseException | None) -> BadRow:
    match error:
        case BadRow():
            return error
        case UnicodeDecodeError():
            return BadRow(
                f"byte {error.object[error.start]:#04x} in column {error.start + 1} is not UTF-8. "
                "Save the file as UTF-8."
            )
        case json.JSONDecodeError() if error.doc[error.pos :].strip() == ",":
            return BadRow("a comma follows the row. Take it out: in JSON Lines none stands between rows.")
        case json.JSONDecodeError():
            what = error.msg[:1].lower() + error.msg[1:]
            return BadRow(f"not JSON ({what}, column {error.colno}). {JSONL_REMEDY}")
    return BadRow(f"not JSON ({error}). {JSONL_REMEDY}")
