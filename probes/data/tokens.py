"""Checks that need a tokenizer, and no model: truncation and the boundary in tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...pairs.record import Pair
from ...scoring.told import example_of
from ...stats.statistics import Bools

if TYPE_CHECKING:
    from ...scoring.encode import Encoder

ENCODED_PAIRS = 256  # at once


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """What the tokenizer made of each pair, in the file's order; `tokens` [n, 2] counts the responses.

    `flagged` says for each of the encoder's flags which pairs carry it, `examples` what one of them shows.
    """

    tokens: npt.NDArray[np.int64]
    flagged: Mapping[str, Bools]
    max_length: int | None
    examples: Mapping[str, str]


def token_columns(pairs: Iterable[Pair], encoder: Encoder) -> TokenColumns:
    """Encode all pairs as the scorer would, and keep the counts and flags."""
    from ...scoring.flags import FLAGS

    stream = iter(pairs)
    counts: list[tuple[int, int]] = []
    flags: list[list[bool]] = []
    examples: dict[str, str] = {}
    while batch := list(islice(stream, ENCODED_PAIRS)):
        for read, pair in zip(batch, encoder.many(batch), strict=True):
            counts.append(
                (len(pair.chosen.ids) - pair.chosen.start, len(pair.rejected.ids) - pair.rejected.start)
            )
            flags.append([flag in pair.flags for flag in FLAGS])
            for flag in pair.flags:
                if flag not in examples:
                    examples[flag] = example_of(flag, encoder, read)
    columns = np.array(flags, dtype=bool).reshape(-1, len(FLAGS)).T
    tokens = np.array(counts, dtype=np.int64).reshape(-1, 2)
    return TokenColumns(tokens, dict(zip(FLAGS, columns, strict=True)), encoder.max_length, examples)
