"""Is the file fit to train on? One pass for the columns, further ones only where something is suspected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...pairs.misread import unread_prompt_names
from ...pairs.read import Reading
from ...pairs.record import Pair, text_of
from ...progress import progress
from ...stats.statistics import Bools, Ints
from .chat_checks import CHAT_CHECKS
from .columns import ColumnReader, Columns
from .file_checks import AGAINST_CHECKS, FILE_CHECKS
from .limits import DataLimits
from .near import Matches, Sets, confirmed, near_candidates, with_mates, word_sets
from .result import CheckResult, Data
from .row_checks import ROW_CHECKS
from .row_flags import Flag
from .shape_checks import SHAPE_CHECKS
from .size_checks import SIZE_CHECKS
from .token_checks import TOKEN_CHECKS
from .tokens import token_columns
from .words import UInts, combined

if TYPE_CHECKING:
    from ...scoring.encode import Encoder

Reopened = Callable[[], Reading]  # a fresh reading of the file
Check = Callable[[Data, DataLimits], CheckResult]
NEAR_SHARE = 0.8  # share of words, of each text, that makes a near duplicate


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was measured, an even sample of the pairs, and how many seconds each step took."""

    data: Data
    sample: Sequence[Pair]
    results: Sequence[CheckResult]
    seconds: Mapping[str, float]


def survey(
    source: Reopened,
    limits: DataLimits,
    *,
    against: Reopened | None = None,
    encoder: Callable[[Iterable[Pair]], Encoder] | None = None,
) -> Surveyed:
    """Read the file and run every check that its contents and the options allow.

    `source` must allow empty sides and skip bad lines. `encoder` makes an encoder from a sample of pairs.
    Raises `ProbeError` when nothing can be read.
    """
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    reading = source()
    mapped = reading.fields
    facts = ColumnReader(sides=(mapped.get("chosen", "chosen"), mapped.get("rejected", "rejected")))
    with progress("reading", None) as advance:
        columns = facts.read(reading, advance)
    clock.lap("reading and columns")
    near = _near(columns, source)
    clock.lap("near duplicates")
    leaks = _leaks(columns, source, against) if against else _Leaks()
    clock.lap("against")
    tokens = token_columns(source(), encoder(source())) if encoder else None
    clock.lap("tokens")
    data = Data(
        columns=columns,
        groups=list(facts.groups),
        grouped=facts.grouped == columns.lines.size,
        categories=facts.categories,
        bad=reading.bad,
        near=near,
        leaked=leaks.exact,
        near_leaked=leaks.near,
        tokens=tokens,
        against=leaks.name,
        unread=unread_prompt_names(facts.sample.pairs),
    )
    checks = _checks(data)
    results = [check(data, limits) for check in checks]
    clock.lap("checks")
    return Surveyed(data, facts.sample.pairs, results, seconds)


def _checks(data: Data) -> list[Check]:
    checks: list[Check] = [*ROW_CHECKS, *CHAT_CHECKS, *FILE_CHECKS, *SIZE_CHECKS, *SHAPE_CHECKS]
    if data.leaked is not None:
        checks += AGAINST_CHECKS
    if data.tokens is not None:
        checks += TOKEN_CHECKS
    return checks


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.started = seconds, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self.started = now - self.started, now


def _near(columns: Columns, source: Reopened) -> Matches:
    """Near duplicates within the file, without those that repeat or swap an earlier pair exactly."""
    found = near_candidates(columns.bands)
    prompt, chosen, rejected = columns.exact.T
    straight, swapped = combined(prompt, chosen, rejected), combined(prompt, rejected, chosen)
    earlier, later = found.T
    fresh = (straight[earlier] != straight[later]) & (straight[earlier] != swapped[later])
    found = found[fresh]
    if not found.size:
        return Matches()
    sets = _sets(source, columns.lines, np.unique(found))
    return confirmed(found, sets, sets, NEAR_SHARE)


@dataclass(frozen=True, slots=True)
class _Leaks:
    """What of the file also stands in the other: by prompt, shape [n], and nearly."""

    exact: Bools | None = None
    near: Matches | None = None
    name: str = ""


def _leaks(columns: Columns, source: Reopened, against: Reopened) -> _Leaks:
    reading = against()
    with progress("reading the other file", None) as advance:
        other = ColumnReader().read(reading, advance)
    leaked = np.isin(_identity(columns), _identity(other))
    m = other.lines.size
    found = near_candidates(np.concatenate([other.bands, columns.bands]), first=m)
    found[:, 1] -= m
    found = found[~leaked[found[:, 1]]]
    if not found.size:
        return _Leaks(leaked, Matches(), str(reading.path))
    sets = _sets(source, columns.lines, np.unique(found[:, 1]))
    others = _sets(against, other.lines, with_mates(other.bands, np.unique(found[:, 0])))
    return _Leaks(leaked, confirmed(found, sets, others, NEAR_SHARE), str(reading.path))


def _identity(columns: Columns) -> UInts:
    """What must not stand in two files: the prompt, or both sides where there is none."""
    prompt, chosen, rejected = columns.keys.T
    return np.where(columns.has(Flag.NO_PROMPT), combined(prompt, chosen, rejected), prompt)


def _sets(source: Reopened, lines: Ints, rows: Ints) -> dict[int, Sets]:
    """The word sets of some rows, by row; one more pass over the file."""
    row_of = {int(lines[row]): int(row) for row in rows}
    return {
        row_of[pair.line]: word_sets([text_of(pair.prompt), text_of(pair.chosen), text_of(pair.rejected)])
        for pair in source()
        if pair.line in row_of
    }
