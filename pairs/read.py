"""Reading pairs as a stream: every line is a pair, or a line of the report of what is wrong with it."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CannotMeasure, ProbeError
from .fields import FieldNames
from .formats import rows_of
from .jsonl import strict_loads
from .record import Pair
from .rows import BadRow, pair_of, read_as, short

BAD_LINES_SHOWN = 20  # bad lines that an error lists


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
    lenient: bool = False
    n: int = 0
    bad: list[BadLine] = field(default_factory=list)

    def __iter__(self) -> Iterator[Pair]:
        """Yields pairs in the order of the file, holding one line at a time."""
        names = FieldNames.of(self.fields)
        ids = None if self.lenient else _Ids()
        for line, row in rows_of(self.path):
            try:
                pair = self._pair(row, line, names, ids)
            except BadRow as error:
                self.bad.append(BadLine(line, str(error)))
                continue
            self.n += 1
            if self.skip_bad or not self.bad:
                yield pair
        self._finish()

    def _pair(self, row: Any, line: int, names: FieldNames, ids: _Ids | None) -> Pair:
        if isinstance(row, BadRow):
            raise row
        pair = pair_of(row, line, names, lenient=self.lenient)
        if self.n == 0 and (told := read_as(row, names)[1]):
            tell_reading(str(self.path), told)
        if ids and (first := ids.first(pair.id, line)) != line:
            raise BadRow(
                f'id "{short(pair.id)}" is taken by line {first}. '
                "Give each pair its own, or ignore them with --fields id=."
            )
        return pair

    def _finish(self) -> None:
        if not (self.skip_bad and self.n):
            refuse_bad(self.path, self.bad, self.n)
        if not self.n:
            raise ProbeError(f"{self.path}: holds no pairs. Write one JSON object per line.")


def refuse_bad(path: Path, bad: Sequence[BadLine], good: int) -> None:
    """Raises `ProbeError` with the bad lines of a file, if there are any beside its `good` ones."""
    if len(bad) > 1 and not good and len({line.reason for line in bad}) == 1:
        raise ProbeError(f"{path}: all {len(bad)} rows: {bad[0].reason}")
    shown = [f"{path}:{line}: {reason}" for line, reason in bad[:BAD_LINES_SHOWN]]
    if more := len(bad) - len(shown):
        shown.append(f"{path}: and {more} more bad lines. --skip-bad goes on without them.")
    if shown:
        raise ProbeError(*shown)


class _Ids:
    """Which line took an id first; spills to a temporary file, so any number takes 2 MiB of memory."""

    def __init__(self) -> None:
        # A generator may be carried on by another thread, never by two at once.
        self._table = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._table.executescript(
            "PRAGMA journal_mode = OFF;"
            "CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;"
            "BEGIN;"
        )

    def first(self, id: str, line: int) -> int:
        """The line that took the id: `line`, if none did before. Raises `CannotMeasure` on a full disk."""
        try:
            if self._table.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (id, line)).rowcount:
                return line
            taken = self._table.execute("SELECT line FROM ids WHERE id = ?", (id,))
            return int(taken.fetchone()[0])
        except sqlite3.Error as error:
            raise CannotMeasure(
                f"line {line}: its id cannot be kept in a temporary file ({error}). Free some space."
            ) from error


class Strict:
    """What reading a file of these rows would refuse, row by row: for whoever writes such a file."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._reading, self._names, self._ids = Reading(Path(), fields), FieldNames.of(fields), _Ids()

    def check(self, text: str, line: int) -> None:
        """Raises `BadRow` where `text` could not be read as the pair of that line."""
        self._reading._pair(strict_loads(text), line, self._names, self._ids)


def read_pairs(
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    lenient: bool = False,
) -> Reading:
    """The pairs of a file or dataset (`formats.rows_of`), as a stream: `list(read_pairs(path))`.

    `fields` maps `prompt`, `chosen`, `rejected`, `id`, `group` to the file's names (`parse_fields`).
    With `skip_bad` malformed lines are left out and told in `.bad`; otherwise the iteration ends in a
    `ProbeError` that lists them. `lenient` lets sides without words and repeated ids pass, for a
    check that counts them.
    """
    return Reading(path, fields or {}, skip_bad, lenient)


@cache
def tell_reading(path: str, told: str) -> None:
    """Say once in a process how a file was read."""
    print(f"{path}: {told}. --fields maps other columns.", file=sys.stderr)
