"""Reading pairs as a stream: every line is a pair, or a line of the report of what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import jsonlines

from ..errors import ProbeError
from .record import Pair
from .rows import BadRow, pair_of

SHOWN = 20  # bad lines that an error lists
MAX_LINE = 64 * 2**20  # bytes; beyond that it is no line of pairs
TOO_LONG = "\0too long"  # stands for such a line; no JSON begins so


class BadLine(NamedTuple):
    """A line that holds no pair; `reason` is `fact. remedy`."""

    line: int
    reason: str


@dataclass
class Reading:
    """The pairs of a file, to be iterated once, and afterwards what was read.

    Iterating raises `ProbeError` at the end if any line was bad (unless `skip_bad`) or none held a pair:
    the good pairs before have been yielded by then. `bad` lists the lines that were left out.
    """

    path: Path
    fields: Mapping[str, str] = field(default_factory=dict)
    skip_bad: bool = False
    keep_empty: bool = False
    n: int = 0
    bad: list[BadLine] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Pair]:
        """Yields pairs in the order of the file, holding one line at a time."""
        for line, row in _rows(self.path):
            try:
                pair = self._pair(row, line)
            except BadRow as error:
                self.bad.append(BadLine(line, str(error)))
                continue
            self.n += 1
            if self.skip_bad or not self.bad:
                yield pair
        self._finish()

    def _pair(self, row: Any, line: int) -> Pair:
        if isinstance(row, BadRow):
            raise row
        pair = pair_of(row, line, self.fields, keep_empty=self.keep_empty)
        first = self._ids.setdefault(pair.id, line)
        if first != line:
            raise BadRow(
                f'id "{_short(pair.id)}" is taken by line {first}. '
                "Give each pair its own, or ignore them with --fields id=."
            )
        return pair

    def _finish(self) -> None:
        if self.bad and not (self.skip_bad and self.n):
            shown = [f"{self.path}:{line}: {reason}" for line, reason in self.bad[:SHOWN]]
            more = len(self.bad) - len(shown)
            if more:
                shown.append(f"{self.path}: and {more} more bad lines. --skip-bad goes on without them.")
            raise ProbeError("\n".join(shown))
        if not self.n:
            raise ProbeError(f"{self.path}: holds no pairs. Write one JSON object a line.")


def read_pairs(
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    keep_empty: bool = False,
) -> Reading:
    """The pairs of a JSON Lines file, as a stream: `list(read_pairs(path))`.

    `fields` maps `prompt`, `chosen`, `rejected`, `id`, `group` to the file's names (`parse_fields`).
    With `skip_bad` malformed lines are left out and told in `.bad`; otherwise the iteration ends in a
    `ProbeError` that lists them. `keep_empty` lets sides without words pass.
    """
    return Reading(path, fields or {}, skip_bad, keep_empty)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, decoded value or the `BadRow` that says why there is none) for every line that is not blank."""
    try:
        with path.open("rb") as file:
            yield from _json_lines(file)
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror or error}. Give a file of pairs.") from error


def _json_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    lines = _Lines(file)
    reader = jsonlines.Reader(lines, loads=_loads)
    while True:
        try:
            row = reader.read(skip_empty=True, allow_none=True)
        except EOFError:
            return
        except jsonlines.InvalidLineError as error:
            row = _reason(error.__cause__)
        yield lines.number, row


class _Lines:
    """The lines of a file, and the number of the one last given. Overlong ones are cut to a stub."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        while line := self.file.readline(MAX_LINE + 1):
            self.number += 1
            if len(line) <= MAX_LINE:
                yield line
            else:
                while line and not line.endswith(b"\n"):
                    line = self.file.readline(MAX_LINE)
                yield TOO_LONG.encode()


def _loads(text: str) -> Any:
    """JSON as its standard has it: no NaN, no repeated key, no half of a surrogate pair."""
    if text == TOO_LONG:
        raise BadRow(f"the line is longer than {MAX_LINE // 2**20} MiB. Write one JSON object a line.")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise BadRow("nested too deeply. Keep the fields flat.") from error
    except UnicodeEncodeError as error:
        raise BadRow(r"holds half of a surrogate pair (\ud800–\udfff). Write whole characters.") from error
    return value


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(items)
    if len(row) < len(items):
        seen: set[str] = set()
        twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRow(f'"{_short(twice)}" appears twice. Keep one of them.')
    return row


def _constant(name: str) -> Any:
    raise BadRow(f"{name} is not JSON. Write null.")


def _reason(error: BaseException | None) -> BadRow:
    match error:
        case BadRow():
            return error
        case UnicodeDecodeError():
            return BadRow(
                f"byte {error.object[error.start]:#04x} in column {error.start + 1} is not UTF-8. "
                "Save the file as UTF-8."
            )
        case json.JSONDecodeError():
            what = error.msg[:1].lower() + error.msg[1:]
            return BadRow(f"not JSON ({what}, column {error.colno}). Write one JSON object a line.")
    return BadRow(f"not JSON ({error}). Write one JSON object a line.")


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
