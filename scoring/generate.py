"""Answers of the model's own in the order they were asked for, and as sequences that can be scored."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import CannotMeasure
from ..progress import Advance
from .model import LoadedModel
from .positions import room
from .sampling import SAMPLE_BATCH, Draw, SampledIds, draw_samples
from .scores import EncodedSide


def with_room(loaded: LoadedModel, contexts: Sequence[Sequence[int]]) -> list[int]:
    """The indices of the contexts after which the model has positions for an answer; says how many have none.

    Raises `CannotMeasure` where that is all of them.
    """
    left = [i for i, context in enumerate(contexts) if room(loaded, context) > 0]
    if contexts and not left:
        raise CannotMeasure(
            f"every prompt fills the model's {loaded.max_length} positions, so that none can be answered. "
            "Give shorter prompts, or a model that reads more."
        )
    if out := len(contexts) - len(left):
        print(
            f"probe: {out} of {len(contexts)} prompts fill the model's {loaded.max_length} positions and are "
            "not asked.",
            file=sys.stderr,
        )
    return left


def answers(
    loaded: LoadedModel,
    draws: Sequence[Draw],
    *,
    tokens: int,
    batch: int = SAMPLE_BATCH,
    advance: Advance = lambda _: None,
) -> list[SampledIds]:
    """One answer of at most `tokens` tokens per draw, as `draw_samples` draws it from the whole distribution.

    `advance` is told how many answers are done after each batch. Raises `CannotMeasure` for logits that are
    not finite.
    """
    found: dict[int, SampledIds] = {}
    for part in draw_samples(loaded, draws, tokens=tokens, batch=batch):
        found |= part
        advance(len(part))
    return [found[i] for i in range(len(draws))]


def answered_side(loaded: LoadedModel, context: Sequence[int], answer: SampledIds, end: int) -> EncodedSide:
    """Context and answer as one sequence; `end` closes an answer that the model ended itself."""
    ids = (*context, *answer.ids, *((end,) if answer.ended else ()))
    text = str(loaded.tokenizer.decode(answer.ids, skip_special_tokens=True))
    return EncodedSide(ids, len(context), len(text.encode()), int(answer.ended))
