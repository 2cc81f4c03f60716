"""Checks that need a tokenizer, and no model: truncation and the boundary in tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...pairs.record import Pair

if TYPE_CHECKING:
    from ...scoring.encode import Encoder

Bools = npt.NDArray[np.bool_]
BATCH = 256
FLAGS = ("identical", "truncated_chosen", "truncated_rejected", "merged")


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """What the tokenizer made of each pair, in the file's order; `tokens` [n, 2] counts the responses."""

    tokens: npt.NDArray[np.int64]
    identical: Bools
    cut_chosen: Bools
    cut_rejected: Bools
    merged: Bools
    max_length: int | None


def token_columns(pairs: Iterable[Pair], encoder: Encoder) -> TokenColumns:
    """Encode all pairs as the scorer would, and keep the counts and flags."""
    stream = iter(pairs)
    counts: list[tuple[int, int]] = []
    flags: list[list[bool]] = []
    while batch := list(islice(stream, BATCH)):
        for pair in encoder.many(batch):
            counts.append(
                (len(pair.chosen.ids) - pair.chosen.start, len(pair.rejected.ids) - pair.rejected.start)
            )
            flags.append([flag in pair.flags for flag in FLAGS])
    identical, chosen, rejected, merged = np.array(flags, dtype=bool).reshape(-1, len(FLAGS)).T
    tokens = np.array(counts, dtype=np.int64).reshape(-1, 2)
    return TokenColumns(tokens, identical, chosen, rejected, merged, encoder.max_length)
