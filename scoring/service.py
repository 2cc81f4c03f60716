"""Scoring pairs: from a stream of pairs to a stream of scores, through the store."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ..errors import CannotMeasure, ProbeError
from ..pairs.record import Pair
from ..progress import Advance
from .attention import tree_attention_on
from .encode import Encoder
from .engine import BUDGET, causal_lm, packed_logps, plain_logps, sorted_packs
from .flags import Met, left_out
from .model import LoadedModel
from .numerics import first_bad_module
from .positions import changing_length
from .processes import exchange, rank, world
from .proof import Proof, prove
from .scores import EncodedPair, EncodedSide, LogProbs, PairScore, SideScore
from .store import Store, model_key

WINDOW = 128  # pairs encoded, sorted and packed together; memory grows with this, not with the file
STORE = Path(".probe/scores.sqlite")


@dataclass
class WindowResult:
    """What one process made of its window in one round."""

    pairs: int = 0
    scores: list[PairScore] = field(default_factory=list)
    met: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    new: int = 0
    cached: int = 0
    proof: Proof | None = None
    error: ProbeError | None = None
    rank: int = field(default_factory=rank)


@dataclass
class Scorer:
    """Scores pairs of one model under one encoder and keeps count of what it met.

    `met` names the pairs that have no score: nothing was left of a side, or both are the same tokens.
    """

    loaded: LoadedModel
    encoder: Encoder
    store: Store | None = None
    budget: int = BUDGET
    proof: Proof | None = None
    met: Met = field(default_factory=Met)
    new: int = 0
    cached: int = 0
    longest: int = 1  # tokens of the longest side that was asked for

    def scores(self, pairs: Iterable[Pair], advance: Advance = lambda _: None) -> Iterator[PairScore]:
        """One `PairScore` a pair that can be scored, in the order of the file.

        Raises `CannotMeasure` for a log-prob that is not finite, with the pair and the module it began in.
        Under several processes each scores every n-th window, and all yield all scores.
        """
        for done in self._done(pairs, advance):
            for part in exchange(done, cpu=self.loaded.device.type == "cpu"):
                if part.error:
                    raise part.error
                for line, flags in part.met:
                    self.met.note(line, flags)
                self.new += part.new
                self.cached += part.cached
                self.proof = self.proof or part.proof
                yield from part.scores
                if part.rank != rank():
                    advance(part.pairs)

    def _done(self, pairs: Iterable[Pair], advance: Advance) -> Iterator[WindowResult]:
        """This process's window of each round, scored; an empty part where the file has ended for it."""
        for mine in self._encoded(pairs):
            try:
                yield self._window(*mine, advance)
            except ProbeError as error:
                yield WindowResult(error=error)

    def _encoded(self, pairs: Iterable[Pair]) -> Iterator[tuple[list[Pair], list[EncodedPair]]]:
        """This process's windows with their encodings; the next is tokenised while the model runs."""
        stream, turn, turns = iter(pairs), rank(), world()
        with ThreadPoolExecutor(1) as ahead:

            def encode() -> tuple[bool, list[Pair], list[EncodedPair]]:
                round_ = [list(islice(stream, WINDOW)) for _ in range(turns)]
                return bool(round_[0]), round_[turn], self.encoder.many(round_[turn])

            coming = ahead.submit(encode)
            while (ready := coming.result())[0]:
                coming = ahead.submit(encode)
                yield ready[1:]

    def _window(
        self, pairs: Sequence[Pair], encoded: Sequence[EncodedPair], advance: Advance
    ) -> WindowResult:
        part = WindowResult(pairs=len(pairs))
        part.met = [(pair.line, codes.flags) for pair, codes in zip(pairs, encoded, strict=True)]
        usable = [
            (pair, codes) for pair, codes in zip(pairs, encoded, strict=True) if not left_out(codes.flags)
        ]
        sides = [side for _, codes in usable for side in (codes.chosen, codes.rejected)]
        lines = [pair.line for pair, _ in usable for _ in range(2)]
        before = self.new, self.cached
        logps = self.side_logps(sides, lines, lambda k: advance(k / 2))
        part.new, part.cached = self.new - before[0], self.cached - before[1]
        self.new, self.cached = before
        advance(len(pairs) - len(usable))
        part.proof = self.proof
        for (pair, codes), chosen, rejected in zip(usable, logps[::2], logps[1::2], strict=True):
            sides_scored = side_score(codes.chosen, chosen), side_score(codes.rejected, rejected)
            part.scores.append(PairScore(pair.id, *sides_scored, pair.group, pair.line, codes.flags))
        return part

    def window(self, pairs: Sequence[Pair], encoded: Sequence[EncodedPair]) -> WindowResult:
        """The scores of pairs whose encoding is at hand; what it met in them is not noted."""
        return self._window(pairs, encoded, lambda _: None)

    def under(self, encoder: Encoder, met: Met) -> Scorer:
        """A scorer of the same model, store and proof under another encoder, which counts for itself."""
        return replace(self, encoder=encoder, met=met, new=0, cached=0)

    def floor(self) -> float:
        """Largest packed-to-plain difference seen on this model, nats/token; 0 if unproven."""
        return self.proof.difference if self.proof else 0.0

    @torch.no_grad()
    def side_logps(
        self,
        sides: Sequence[EncodedSide],
        lines: Sequence[int] | None = None,
        advance: Advance = lambda _: None,
    ) -> list[LogProbs]:
        """Log-probs of each side, from the store where it has them; new ones are kept after each forward.

        `lines` name the pairs in errors; `advance` is told how many sides are done.
        """
        self.longest = max([self.longest, *(len(side.ids) for side in sides)])
        known = self.store.get(sides) if self.store else [None] * len(sides)
        missing = [i for i, logps in enumerate(known) if logps is None]
        self.cached += len(sides) - len(missing)
        self.new += len(missing)
        result = {i: logps for i, logps in enumerate(known) if logps is not None}
        advance(len(result))
        for indices, values in self._computed([sides[i] for i in missing]):
            rows = [missing[i] for i in indices]
            for i, logps in zip(rows, values, strict=True):
                if not np.isfinite(logps).all():
                    raise self._not_finite(sides[i], lines[i] if lines else None)
            if self.store:
                self.store.put([sides[i] for i in rows], values)
            result.update(zip(rows, values, strict=True))
            advance(len(rows))
        return [result[i] for i in range(len(sides))]

    def keep(self, sides: Sequence[EncodedSide], logps: Sequence[LogProbs]) -> None:
        """Take log-probs [scored tokens] that another forward over the same tokens gave, and count them."""
        self.new += len(sides)
        if self.store:
            self.store.put(sides, logps)

    def _computed(self, sides: Sequence[EncodedSide]) -> Iterator[tuple[list[int], list[LogProbs]]]:
        """Packs of indices with their log-probs. Out of memory halves the budget and goes on."""
        if not sides:
            return
        self.prove(max(len(side.ids) for side in sides))
        todo = list(range(len(sides)))
        while todo:
            left = set(todo)
            try:
                for pack, values in self._pass([sides[i] for i in todo]):
                    done = [todo[i] for i in pack]
                    left.difference_update(done)
                    yield done, values
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self.halve()
            todo = sorted(left)

    def _pass(self, sides: Sequence[EncodedSide]) -> Iterator[tuple[list[int], list[LogProbs]]]:
        model = causal_lm(self.loaded.model)
        if self.proof is not None and self.proof.plain:
            for i, side in enumerate(sides):
                yield [i], [plain_logps(model, side).cpu().numpy()]
            return
        for pack in sorted_packs(model, sides, self.budget):
            with tree_attention_on(model):
                values = packed_logps(model, [sides[i] for i in pack])
            together = torch.cat(values).cpu().numpy()  # one transfer a pack
            yield pack, np.split(together, np.cumsum([len(logps) for logps in values[:-1]]))

    def prove(self, longest: int) -> Proof:
        """The self-proof for sequences of up to `longest` tokens: made at the first call, and again where
        longer ones pass a length at which attention changes."""
        if self.proof is None or (
            not self.proof.plain
            and self.proof.passed < changing_length(causal_lm(self.loaded.model), longest)
        ):
            self.proof = prove(self.loaded.model, self.loaded.dtype, longest)
            if self.proof.plain:
                print(f"probe: {self.proof.fact}; scoring one sequence at a time.", file=sys.stderr)
        return self.proof

    def plain(self) -> bool:
        """Whether the model takes one sequence at a time; proven now where all scores came from the store."""
        return self.prove(self.longest).plain

    def halve(self) -> None:
        """Half the tokens a pack, told the first time. Raises `CannotMeasure` where none fit."""
        if self.budget <= 16:
            raise CannotMeasure(
                f"out of memory on {self.loaded.device} even for single sequences. "
                "Use --max-length, a smaller --dtype or another --device."
            )
        if self.budget == BUDGET:
            print("probe: out of memory; going on with smaller packs.", file=sys.stderr)
        self.budget //= 2
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()

    def _not_finite(self, side: EncodedSide, line: int | None) -> CannotMeasure:
        place = f"line {line}: " if line else ""
        where = first_bad_module(causal_lm(self.loaded.model), side)
        kind = str(self.loaded.dtype).removeprefix("torch.")
        return CannotMeasure(
            f"{place}the model gives log-probs that are not finite, first in {where} ({kind}). "
            "Try --dtype float32; if that fails too, the weights are damaged."
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory ran out; on a CPU it says so only in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def open_store(loaded: LoadedModel, path: Path = STORE) -> Store:
    """The project's score store for this model."""
    return Store(path, model_key(loaded.facts))


def side_score(side: EncodedSide, logps: LogProbs) -> SideScore:
    """Log-probs of all scored tokens as a score, what closes the response kept apart."""
    stop = len(logps) - side.ends
    end = float(logps[stop:].sum(dtype=np.float64)) if side.ends else None
    return SideScore(logps[:stop], side.bytes, end)
