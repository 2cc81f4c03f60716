"""Near duplicates among very many texts, in linear time: MinHash signatures, banded.

datasketch's index takes 2.7 KB a pair where this takes 96 bytes: at a million pairs it alone would need more
memory than the whole check may use. `bench/data.py` times both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...stats.statistics import Ints
from .words import UInts, WordHashes, hash_words, mix

# Of pairs with one word in twenty replaced (82% of word pairs shared) 99.6% are met, with one in ten (67%)
# 82%. Unrelated English of 200 words shares 2–3% of its word pairs: less than one row in a million is met.
BANDS, BAND_ROWS = 12, 5
PROMPT_TEXT, ANSWER_TEXTS = slice(0, 1), slice(1, 3)  # the texts of a row
_MULTIPLIERS = mix(np.arange(1, BANDS * BAND_ROWS + 1, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)


def bands(words: WordHashes) -> UInts:
    """Shape [T, BANDS]: texts that agree in any band likely share most pairs of neighbouring words.

    Single words would not do: what English texts share of them by chance fills every band of a large file.
    Source: MinHash, Broder 1997; banding as in locality-sensitive hashing.
    """
    return _banded(_neighbours(words), words.offsets) if words.hashes.size else _no_bands(len(words.counts))


def _no_bands(rows: int) -> UInts:
    return np.zeros((rows, BANDS), dtype=np.uint64)


def _banded(hashes: npt.NDArray[np.uint32], offsets: Ints) -> UInts:
    """The bands of rows of hashes, of which one at least is not empty."""
    filled = np.diff(offsets) > 0
    keys = _no_bands(len(filled))
    signature = _signature(hashes, offsets[:-1][filled])
    for band in range(BANDS):
        key = np.full(int(filled.sum()), band + 1, dtype=np.uint64)
        for row in signature[band * BAND_ROWS : (band + 1) * BAND_ROWS]:
            key = mix(key ^ row)
        keys[filled, band] = key
    return keys


def _neighbours(words: WordHashes) -> npt.NDArray[np.uint32]:
    """A hash of each word with the next of its text; of the last with nothing."""
    following = np.zeros_like(words.hashes)
    following[:-1] = words.hashes[1:]
    following[words.offsets[1:][words.counts > 0] - 1] = 0
    return (mix(words.hashes * np.uint64(3) ^ following) >> np.uint64(32)).astype(np.uint32)


def _signature(hashes: npt.NDArray[np.uint32], starts: Ints) -> list[npt.NDArray[np.uint32]]:
    buffer = np.empty_like(hashes)
    return [np.minimum.reduceat(np.multiply(hashes, a, out=buffer), starts) for a in _MULTIPLIERS]


def near_candidates(keys: UInts, first: int = 0) -> Ints:
    """Shape [C, 2]: pairs (earlier, later) of rows that agree in a band, `later` ≥ `first` > `earlier`.

    `first` 0: all rows. In each band a row is paired with the first that has its key, so there are at most
    BANDS · n.
    """
    found = [_matches(keys[:, band], first) for band in range(keys.shape[1])]
    return np.unique(np.concatenate(found), axis=0)


def with_mates(keys: UInts, rows: Ints) -> Ints:
    """These rows, and those that share a band of which one of them is the first."""
    earlier, later = near_candidates(keys).T
    return np.union1d(rows, later[np.isin(earlier, rows)])


def _matches(keys: UInts, first: int) -> Ints:
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starting = np.ones(keys.size, dtype=bool)
    starting[1:] = ordered[1:] != ordered[:-1]
    earliest = order[starting][np.cumsum(starting) - 1]
    chosen = ~starting & (order >= first) & (earliest < (first or keys.size)) & (ordered != 0)
    return np.stack([earliest[chosen], order[chosen]], axis=1).astype(np.int64)


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
    """Those suspects [C, 2] (partner, row) of which every text shares at least `least` of its words.

    Rows of one band are held against its first alone. So where a long prompt or answer that many rows have
    filled the bands, the rows that are not confirmed are held against all of `others` again, by their other
    texts. `sets` and `others` are the same object where one file is held against itself.
    """
    first: dict[int, int] = {}
    rows = np.unique(suspects[:, 1]).tolist()
    for part in (None, ANSWER_TEXTS, PROMPT_TEXT):
        left = [row for row in rows if row not in first]
        for partner, row in suspects.tolist() if part is None else _again(left, part, sets, others):
            if row not in first and _alike(sets[row], others[partner], least):
                first[row] = partner
    rows = sorted(first)
    return Matches(np.array(rows, dtype=np.int64), np.array([first[row] for row in rows], dtype=np.int64))


def _alike(row: Sets, partner: Sets, least: float) -> bool:
    return all(jaccard(a, b) >= least for a, b in zip(row, partner, strict=True))


def _again(
    rows: Sequence[int], part: slice, sets: Mapping[int, Sets], others: Mapping[int, Sets]
) -> list[tuple[int, int]]:
    """Suspects (partner, row) of these rows among all `others`, by some of the texts alone."""
    partners, one = sorted(others), sets is others
    names = partners if one else [*partners, *rows]
    keys = [_set_bands([others[row][part] for row in partners])]
    if not one:
        keys.append(_set_bands([sets[row][part] for row in rows]))
    found = near_candidates(np.concatenate(keys), first=0 if one else len(partners))
    wanted = set(rows)
    return [(names[a], names[b]) for a, b in found.tolist() if names[b] in wanted]


def _set_bands(texts: Sequence[Sets]) -> UInts:
    """The bands of texts by their words; rows without any meet nothing."""
    joined = [np.unique(np.concatenate(row)) for row in texts]
    offsets = np.cumsum([0, *map(len, joined)], dtype=np.int64)
    if not offsets[-1]:
        return _no_bands(len(texts))
    return _banded((mix(np.concatenate(joined)) >> np.uint64(32)).astype(np.uint32), offsets)
