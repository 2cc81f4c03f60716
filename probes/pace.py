"""How fast this machine is with this model: seconds per token from a warm-up batch, tokens of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .cost import clocked, distinct_tokens

if TYPE_CHECKING:
    from ..scoring.scores import EncodedPair, EncodedSide
    from ..scoring.session import Session

WARM_UP_SIDES, PACE_PAIRS = 4, 24  # sides scored to warm up, pairs scored to measure the pace
TRIAL_PROMPTS, TRIAL_TOKENS = 8, 6  # prompts and tokens of the trial writing


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds per token forward, of reading a pair's line, and of writing a token; tokens of a pair.

    `pair` and `alone`: distinct tokens of a pair given its prompt and without it; `longest`: of any pair;
    `plain`: tokens of its two sequences, one by one; `scoring`: as `forward`, where a gate scores pairs;
    `sample`: tokens of a trial's sample.
    """

    forward: float
    writing: float
    reading: float
    pair: float
    alone: float
    longest: int
    plain: float
    scoring: float
    sample: int


def pace(session: Session, *, writes: bool = True) -> Pace:
    """Measured on some pairs, whose scores are kept. `writes` False: nothing is written, which takes 0."""
    coded = session.encoder.many(session.survey.sample)
    some = session.survey.sample[:PACE_PAIRS]
    given = [c for c in coded if len(c.chosen.ids) > c.chosen.start]
    alone = session.encoder.many([session.encoder.neutral(pair) for pair in some])
    sizes = [distinct_tokens([c.chosen.ids, c.rejected.ids]) for c in given]
    sides = scored_sides(coded[:PACE_PAIRS])
    _, read = clocked(lambda: sum(1 for _ in session.source.pairs()))
    forward = forward_pace(session, sides, longest_side(coded))
    return Pace(
        forward,
        _writing(session, [side.ids[: side.start] for side in sides[::2][:TRIAL_PROMPTS]]) if writes else 0.0,
        read / max(session.survey.n, 1),
        sum(sizes) / max(len(sizes), 1),
        sum(distinct_tokens([c.chosen.ids, c.rejected.ids]) for c in alone) / max(len(alone), 1),
        max(sizes, default=0),
        sum(len(c.chosen.ids) + len(c.rejected.ids) for c in given) / max(len(given), 1),
        forward,
        sample_length(coded),
    )


def sample_length(coded: Sequence[EncodedPair]) -> int:
    """Tokens of a sample in a trial of such responses."""
    from ..training.behaviour import Sampling

    return Sampling().fitted(scored_sides(coded)).tokens


def longest_side(coded: Sequence[EncodedPair]) -> int:
    """Tokens of the longest sequence: the self-proof goes as far."""
    return max((len(side.ids) for c in coded for side in (c.chosen, c.rejected)), default=1)


def scored_sides(coded: Sequence[EncodedPair]) -> list[EncodedSide]:
    """The sides that have a token to score."""
    return [side for c in coded for side in (c.chosen, c.rejected) if len(side.ids) > side.start]


def forward_pace(session: Session, sides: Sequence[EncodedSide], longest: int) -> float:
    """Seconds per distinct token of a forward, after one over a few of the sides to warm up. What comes out
    is kept as the sides' scores. `longest`: tokens that the self-proof goes up to."""
    import torch

    from ..scoring.engine import token_logps

    if not sides:
        return 0.0
    scorer = session.scorer
    plain = scorer.prove(longest).plain
    with torch.no_grad():
        token_logps(session.loaded.model, sides[:WARM_UP_SIDES], plain=plain)
        found, taken = clocked(lambda: token_logps(session.loaded.model, sides, plain=plain))
    known = scorer.store.get(sides) if scorer.store else []
    made = [logps.cpu().numpy() for logps in found]
    new = [i for i, logps in enumerate(known) if logps is None and np.isfinite(made[i]).all()]
    scorer.keep([sides[i] for i in new], [made[i] for i in new])
    return taken / distinct_tokens([side.ids for side in sides])


def _writing(session: Session, contexts: Sequence[Sequence[int]]) -> float:
    """Seconds per token that the model writes after its first, so without reading the prompts.

    As many answers are written side by side as a trial of the file would: one alone takes longer per token.
    """
    from ..scoring.positions import room
    from ..scoring.sampling import Draw, draw_samples
    from ..training.behaviour import PROMPT_BATCH

    some = [tuple(context) for context in contexts if context and room(session.loaded, context) > 0]
    rows = min(PROMPT_BATCH, max(session.survey.n, len(some))) if some else 0
    draws = [Draw(some[i % len(some)], 1.0, i) for i in range(rows)]
    if not draws:
        return 0.0
    read, taken = (
        clocked(lambda n=n: list(draw_samples(session.loaded, draws, tokens=n, batch=len(draws))))[1]  # type: ignore[misc]
        for n in (1, 1 + TRIAL_TOKENS)
    )
    return max(taken - read, 0.0) / (len(draws) * TRIAL_TOKENS)
