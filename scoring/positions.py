"""Where a model's positions end, and where its rotary ones turn: lengths that are not to be mixed."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import LoadedModel


def turning_lengths(model: Any) -> tuple[int, ...]:
    """The lengths beyond which a model's rotary positions are others, in order; none for most models.

    "longrope" (Phi-3, MiniCPM) has two sets of factors, and transformers takes for all sequences of a forward
    those that the longest one asks for. "dynamic" turns beyond `max_position_embeddings`, where every
    sequence is cut.
    """
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    # Some models have a set of parameters for each kind of layer.
    sets = [rope, *(part for part in rope.values() if isinstance(part, Mapping))]
    own = getattr(config, "original_max_position_embeddings", None)
    turns = [one.get("original_max_position_embeddings", own) for one in sets if _kind(one) == "longrope"]
    return tuple(sorted({int(length) for length in turns if length}))


def _kind(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type", rope.get("type"))


def side_of(turns: Sequence[int], length: int) -> int:
    """How many of the turns a sequence of that length is beyond: those of one number may share a forward."""
    return bisect_left(turns, length)


def room(loaded: LoadedModel, context: Sequence[int]) -> int:
    """The tokens that the model's positions leave for an answer; 0 or less where the context fills them.

    An answer ends where rotary positions turn too: what was read before is of other positions.
    """
    n = len(context)
    ends = sys.maxsize if loaded.max_length is None else loaded.max_length
    turn = next((length for length in turning_lengths(loaded.model) if length >= n), ends)
    return min(ends - n, max(turn - n, 1))
