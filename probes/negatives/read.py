"""What `probe negatives` reads from the model, and the seconds that a warm-up lets expect of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...pairs.record import Pair
from ...progress import progress
from ...scoring.generate import answered_side, answers
from ...scoring.readout import Readout, depths, read_out
from ...scoring.sampling import Draw, end_ids
from ...scoring.scores import EncodedPair, EncodedSide
from ...scoring.service import Scorer, out_of_memory
from ...scoring.session import Session
from ..cost import WARM_UP, clocked
from .work import token_count

CHUNK_SIDES = 32  # sides read between two steps of the progress bar
TEMPERATURES = {"sample": 1.0, "greedy": 0.0}


def reading_pace(session: Session, codes: Sequence[EncodedPair]) -> float:
    """Seconds per token of a forward pass, from a warm-up on the first pairs."""
    some, plain = codes[:WARM_UP], must_be_plain(session, codes)
    _, seconds = clocked(lambda: _read(session.scorer, both(some), plain))
    return seconds / max(token_count(some), 1)


def both(codes: Sequence[EncodedPair]) -> list[EncodedSide]:
    """Chosen and rejected side of each pair in turn."""
    return [side for pair in codes for side in (pair.chosen, pair.rejected)]


def read_sides(
    scorer: Scorer, sides: Sequence[EncodedSide], name: str, *, plain: bool = False
) -> list[Readout]:
    """The readouts of all sides in their order, with progress on stderr."""
    result: list[Readout] = []
    with progress(f"reading {name}", len(sides), "responses") as advance:
        while some := sides[len(result) : len(result) + CHUNK_SIDES]:
            result += _read(scorer, some, plain)
            advance(len(some))
    return result


def _read(scorer: Scorer, sides: Sequence[EncodedSide], plain: bool) -> list[Readout]:
    """In packs of the scorer's budget, which out of memory halves."""
    model = scorer.loaded.model
    while True:
        try:
            read = dict(read_out(model, sides, depths(model), budget=scorer.budget, plain=plain))
            return [read[i] for i in range(len(sides))]
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        scorer.halve()


def read_own(
    session: Session, pairs: Sequence[Pair], given: Sequence[Readout], seed: int
) -> dict[str, list[Readout]]:
    """The model's own responses to the pairs' prompts, sampled and greedy, no longer than `given` are."""
    codes = session.encoder.many(pairs)
    contexts = [c.chosen.ids[: c.chosen.start] for c in codes]
    longest, plain = int(np.median([len(r.logps) for r in given])), must_be_plain(session, codes)
    loaded, ends = session.loaded, [closing_token(session, [own, *codes]) for own in codes]
    read = {}
    for name, temperature in TEMPERATURES.items():
        draws = [Draw(context, temperature, seed + i) for i, context in enumerate(contexts)]
        with progress(f"generating {name}", len(draws), "responses") as advance:
            found = answers(loaded, draws, tokens=longest, advance=advance)
        sides = [answered_side(loaded, *whole) for whole in zip(contexts, found, ends, strict=True)]
        read[name] = read_sides(session.scorer, sides, name, plain=plain)
    return read


def closing_token(session: Session, codes: Sequence[EncodedPair]) -> int:
    """The token that closes an answer of the model's own, for which several may stand.

    The one that ends the file's responses, the first pair's at best, where it ends an answer of the model
    too; else the tokenizer's end token. −1 for a model without any, whose answers never end.
    """
    loaded, own = session.loaded, session.loaded.tokenizer.eos_token_id
    theirs = (
        side.ids[-1]
        for side in both(codes)
        if side.ends and side.ids[-1] in end_ids(loaded, side.ids[: side.start])
    )
    return next(theirs, min(end_ids(loaded), default=-1) if own is None else own)


def must_be_plain(session: Session, codes: Sequence[EncodedPair]) -> bool:
    """Whether this model must be run one sequence at a time; the self-proof is made once a session."""
    return session.scorer.prove(max((len(side.ids) for side in both(codes)), default=1)).plain
