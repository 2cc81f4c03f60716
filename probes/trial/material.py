"""What the judge of a trial reads: both halves' pairs and all samples, with the starting model's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...scoring.model import LoadedModel
from ...stats.behaviour import Half, Writing
from ...training.behaviour import Sampling, Written, as_writing, context, with_states
from ...training.data import Example


@dataclass(frozen=True, slots=True)
class Material:
    """What the judge reads: both halves' pairs and all samples, with the starting model's states."""

    loaded: LoadedModel
    pairs: Sequence[Sequence[Example]]
    questions: Sequence[Sequence[Example]]
    before: Sequence[Written]
    how: Sampling
    plain: bool

    def halves(self, after: Mapping[str, Sequence[Written]]) -> dict[str, list[Half]]:
        """By method the two unseen halves, in the order in which they were measured."""
        sides = [self._sides(half) for half in self.pairs]
        before = [self._read(some, ask) for some, ask in zip(self.before, self.questions, strict=True)]
        return {
            method: [
                Half(
                    *sides[1 - o], *sides[o], [item.prompt for item in self.pairs[o]], before[o],
                    self._read(mine, self.questions[o]),
                )
                for o, mine in zip((1, 0), some, strict=True)
            ]
            for method, some in after.items()
        }  # fmt: skip

    def _sides(self, items: Sequence[Example]) -> tuple[list[Writing], list[Writing]]:
        """Chosen and rejected of one half, cut to a sample's length."""
        sides = [side for item in items for side in (item.codes.chosen, item.codes.rejected)]
        cut = [as_writing(self.loaded, side, self.how) for side in sides]
        read = with_states(self.loaded, [side.ids[: side.start] for side in sides], cut, plain=self.plain)
        return read[::2], read[1::2]

    def _read(self, some: Written, ask: Sequence[Example]) -> Written:
        flat = [one for samples in some for one in samples]
        contexts = [context(item) for item, samples in zip(ask, some, strict=True) for _ in samples]
        read = with_states(self.loaded, contexts, flat, plain=self.plain)
        return [read[i : i + self.how.samples] for i in range(0, len(read), self.how.samples)]
