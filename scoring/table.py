"""Scores of very many pairs in little memory: columns instead of objects. No torch."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from .scores import LogProbs, PairScore, SideScore

NO_TOKENS: LogProbs = np.empty(0, np.float32)
NO_TOKENS.setflags(write=False)


class Codes:
    """A column of repeated values (groups, flags) as small integers."""

    def __init__(self) -> None:
        self.values: list[Hashable] = []
        self.codes = array("i")
        self._known: dict[Hashable, int] = {}

    def append(self, value: Hashable) -> None:
        """Add one value."""
        code = self._known.setdefault(value, len(self._known))
        if code == len(self.values):
            self.values.append(value)
        self.codes.append(code)

    def __getitem__(self, index: int) -> Hashable:
        return self.values[self.codes[index]]


class ScoreTable(Sequence[PairScore]):
    """Pair scores without their per-token values: about 100 bytes per pair, whatever the responses' length.

    Indexing gives a `PairScore` whose sides know their totals. Built by appending, read as NumPy columns.
    """

    def __init__(self, scores: Iterable[PairScore] = ()) -> None:
        self.lines = array("q")
        self.groups = Codes()
        self.flags = Codes()
        self._ids: dict[int, str] = {}  # only those that are not simply the line number
        self._sides = {name: _Side() for name in ("chosen", "rejected")}
        for score in scores:
            self.append(score)

    def append(self, score: PairScore) -> None:
        """Add one pair."""
        if score.id != str(score.line):
            self._ids[len(self.lines)] = score.id
        self.lines.append(score.line)
        self.groups.append(score.group)
        self.flags.append(score.flags)
        self._sides["chosen"].append(score.chosen)
        self._sides["rejected"].append(score.rejected)

    def totals(self, side: str) -> npt.NDArray[np.float64]:
        """Σ logps (nats), tokens and bytes of one side, shape [3, pairs]."""
        return self._sides[side].totals()

    def id(self, index: int) -> str:
        """The id of a pair."""
        return self._ids.get(index, str(self.lines[index]))

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[PairScore]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> PairScore: ...
    @overload
    def __getitem__(self, index: slice) -> list[PairScore]: ...
    def __getitem__(self, index: int | slice) -> PairScore | list[PairScore]:
        """One pair, or the pairs of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        return PairScore(
            self.id(i),
            self._sides["chosen"][i],
            self._sides["rejected"][i],
            self.groups[i],  # type: ignore[arg-type]
            self.lines[i],
            self.flags[i],  # type: ignore[arg-type]
        )


class _Side:
    """The columns of one side."""

    def __init__(self) -> None:
        self.logps, self.ends = array("d"), array("d")
        self.tokens, self.bytes = array("q"), array("q")

    def append(self, side: SideScore) -> None:
        self.logps.append(side.logps)
        self.tokens.append(side.tokens)
        self.bytes.append(side.bytes)
        self.ends.append(math.nan if side.end_logp is None else side.end_logp)

    def __getitem__(self, i: int) -> SideScore:
        end = None if math.isnan(self.ends[i]) else self.ends[i]
        return SideScore(NO_TOKENS, self.bytes[i], end, (self.logps[i], self.tokens[i]))

    def totals(self) -> npt.NDArray[np.float64]:
        return np.array([self.logps, self.tokens, self.bytes], dtype=np.float64)
