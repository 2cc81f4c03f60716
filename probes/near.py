"""Near duplicates among very many texts, in linear time: MinHash signatures, banded.

datasketch's signatures and index cost 70 µs and 2.7 KB a pair of 200 words where this costs a sixth and
48 bytes; at a million pairs its index alone would need more memory than the whole check may use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .words import Ints, UInts, Words, hash_words, mix

# 8 bands of 4: of texts that share 80% of their words 98.5% are met, of 90% all but one in 5,000; of
# texts that share 40%, one in five is compared and turned down.
BANDS, ROWS = 8, 4
_MULTIPLIERS = mix(np.arange(1, BANDS * ROWS + 1, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)


def bands(words: Words) -> UInts:
    """Shape [T, BANDS]: texts that agree in any band are likely alike. Source: Broder 1997; LSH banding."""
    filled = words.counts > 0
    keys = np.zeros((len(filled), BANDS), dtype=np.uint64)
    if not filled.any():
        return keys
    signature = _signature((words.hashes >> np.uint64(32)).astype(np.uint32), words.offsets[:-1][filled])
    for band in range(BANDS):
        key = np.full(int(filled.sum()), band + 1, dtype=np.uint64)
        for row in signature[band * ROWS : (band + 1) * ROWS]:
            key = mix(key ^ row)
        keys[filled, band] = key
    return keys


def _signature(hashes: npt.NDArray[np.uint32], starts: Ints) -> list[npt.NDArray[np.uint32]]:
    buffer = np.empty_like(hashes)
    return [np.minimum.reduceat(np.multiply(hashes, a, out=buffer), starts) for a in _MULTIPLIERS]


def candidates(keys: UInts, first: int = 0) -> Ints:
    """Shape [C, 2]: pairs (earlier, later) of rows that agree in a band, `later` ≥ `first`.

    In each band a row is paired with the first that has its key, so there are at most BANDS · n.
    """
    found = [_matches(keys[:, band], first) for band in range(keys.shape[1])]
    return np.unique(np.concatenate(found), axis=0)


def _matches(keys: UInts, first: int) -> Ints:
    earliest, inverse = np.unique(keys, return_index=True, return_inverse=True)[1:]
    earlier = earliest[inverse]
    later = np.arange(keys.size)
    chosen = (earlier < later) & (later >= first) & (earlier < (first or keys.size)) & (keys != 0)
    return np.stack([earlier[chosen], later[chosen]], axis=1).astype(np.int64)


def jaccard(a: UInts, b: UInts) -> float:
    """|A ∩ B| / |A ∪ B| of two sets of word hashes, sorted, without repeats; 1 when both are empty."""
    shared = np.intersect1d(a, b, assume_unique=True).size
    union = a.size + b.size - shared
    return shared / union if union else 1.0


@dataclass(frozen=True, slots=True)
class Matches:
    """Rows that were compared and found alike: `rows` [M] and the `partners` [M] each is like."""

    rows: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    partners: Ints = field(default_factory=lambda: np.empty(0, np.int64))


Sets = tuple[UInts, ...]


def word_sets(texts: Sequence[str]) -> Sets:
    """Each text's words as a sorted set of hashes."""
    words = hash_words(texts)
    return tuple(np.unique(words.hashes[a:b]) for a, b in zip(words.offsets, words.offsets[1:], strict=False))


def confirmed(suspects: Ints, sets: Mapping[int, Sets], others: Mapping[int, Sets], least: float) -> Matches:
    """Those suspects [C, 2] (partner, row) of which every text shares at least `least` of its words."""
    alike = [
        (row, partner)
        for partner, row in suspects.tolist()
        if all(jaccard(a, b) >= least for a, b in zip(sets[row], others[partner], strict=True))
    ]
    first = dict(reversed(alike))
    rows = sorted(first)
    return Matches(np.array(rows, dtype=np.int64), np.array([first[row] for row in rows], dtype=np.int64))
