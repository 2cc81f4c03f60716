"""What a probe will cost, said before it is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..pairs.record import Pair

if TYPE_CHECKING:
    from ..scoring.session import Session

T = TypeVar("T")
WARM_UP = 2  # pairs scored or read to estimate the seconds


def clocked(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def about_time(expected: float) -> str:
    """`about 3 min`, `about 12 s`: what a warm-up lets expect."""
    return f"about {expected / 60:.0f} min" if expected >= 120 else f"about {max(expected, 1):.0f} s"


def distinct_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens that a prefix tree over these sequences computes: shared beginnings once."""
    from ..scoring.tree import build_tree

    return len(build_tree(sequences).ids) if sequences else 0


def added(session: Session, passes: Sequence[Sequence[Pair]]) -> str:
    """`120,000 tokens forward, about 40 s`, from the distinct tokens of each pass and a short warm-up.

    Scores that are stored already cost nothing; this is what an empty store costs.
    """
    known: dict[int, int] = {}
    total = sum(known.setdefault(id(pairs), _tokens(session, pairs)) for pairs in passes)
    pace = _pace(session, passes[0][:WARM_UP]) if passes and passes[0] else 0.0
    return f"{total:,} tokens forward at most, {about_time(pace * total)}"


def _tokens(session: Session, pairs: Sequence[Pair]) -> int:
    codes = session.encoder.many(pairs)
    return distinct_tokens([side.ids for c in codes for side in (c.chosen, c.rejected)])


def _pace(session: Session, pairs: Sequence[Pair]) -> float:
    """Seconds per token, by a forward past the store: the second of two, since the first one warms up."""
    from ..scoring.engine import token_logps

    codes = session.encoder.many(pairs)
    sides = [side for c in codes for side in (c.chosen, c.rejected) if len(side.ids) > side.start]
    if not sides:
        return 0.0
    taken = [clocked(lambda: _forward(token_logps, session, sides))[1] for _ in range(2)]
    return taken[-1] / sum(len(side.ids) for side in sides)


def _forward(token_logps: Callable[..., object], session: Session, sides: Sequence[object]) -> None:
    import torch

    with torch.no_grad():
        token_logps(session.loaded.model, sides, plain=True)
