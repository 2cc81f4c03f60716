"""Where a model's positions end, and where its rotary ones turn: lengths that are not to be mixed."""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import LoadedModel

CHANGES = re.compile("window|chunk|block|topk|local|floor|original_max")  # in the names of lengths
SIZES = re.compile("expert|layer|dim|head|pattern")  # in those of other numbers


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


def changing_length(model: Any, longest: int) -> int:
    """The greatest length below `longest` that the config names as one from which attention is another: that
    of a sliding window, of a chunk, of the keys that an indexer picks. 0 where it names none."""
    return max((n for n in _lengths(model.config.get_text_config().to_dict()) if n < longest), default=0)


def _lengths(config: Mapping[str, Any]) -> Iterator[int]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _lengths(value)
        elif CHANGES.search(str(name)) and not SIZES.search(str(name)):
            values = value if isinstance(value, (list, tuple)) else [value]
            yield from (n for n in values if isinstance(n, int) and n > 0)


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
