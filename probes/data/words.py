"""Texts as arrays of word hashes: what makes the checks of a file linear and fast.

A word is what white space parts, compared without case and in Unicode's compatible form (NFKC); the
characters of scripts that are written without spaces are words of their own. Hashes are 64 bits, the same in
every process.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stats.statistics import Ints

UInts = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)
_WORD_BASE = np.uint64(0xD1342543DE82EF95)
_SPACE = 32  # this byte and those below part words
_BUCKETS = 4096  # of hashes a text, for the bound on what two texts share
_EAST_ASIAN = (0xE3, 0xED)  # UTF-8 lead bytes of U+3000 … U+DFFF: kana, Han, Hangul
# The first two bytes of Thai and Lao, of Burmese, of Khmer.
_SOUTH_EAST_ASIAN = ((0xE0, 0xB8, 0xBB), (0xE1, 0x80, 0x82), (0xE1, 0x9E, 0x9F))


@dataclass(frozen=True)  # without slots, so that `places` is computed once
class WordHashes:
    """The words of T texts: `hashes` [W] one after the other, `offsets` [T + 1] where each text's begin."""

    hashes: UInts
    offsets: Ints

    @property
    def counts(self) -> Ints:
        """Words in each text, shape [T]."""
        return np.diff(self.offsets)

    @cached_property
    def places(self) -> Ints:
        """Each word's place in its own text, from 0; shape [W]."""
        return np.arange(self.hashes.size) - np.repeat(self.offsets[:-1], self.counts)

    def prefix_keys(self, lengths: Ints) -> UInts:
        """A hash of the first `lengths` [T] words of each text, in their order; 0 for none."""
        terms = self.hashes * _powers(int(_WORD_BASE), int(self.counts.max(initial=0)) + 1)[self.places]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        stops = self.offsets[:-1] + np.minimum(lengths, self.counts)
        return np.asarray(sums[stops] - sums[self.offsets[:-1]], dtype=np.uint64)

    def keys(self) -> UInts:
        """A hash of each text, equal for texts of the same words in the same order; shape [T]."""
        return self.prefix_keys(self.counts)

    def sequence(self, text: int) -> array[int]:
        """One text's words as numbers, in a form that rapidfuzz compares without Python objects."""
        return array("Q", self.hashes[self.offsets[text] : self.offsets[text + 1]].tobytes())


def hash_words(texts: Sequence[str]) -> WordHashes:
    """The words of each text, hashed in one pass over their bytes."""
    joined = "\n".join((*texts, ""))
    if joined.isascii():
        encoded, lengths = joined.lower().encode(), map(len, texts)
    else:
        parts = [_normalised(text).encode("utf-8", "surrogatepass") for text in texts]
        encoded, lengths = b"\n".join((*parts, b"")), map(len, parts)
    data = np.frombuffer(encoded, dtype=np.uint8)
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(texts)) + 1)
    starts, stops = _word_spans(data)
    offsets = np.concatenate([np.zeros(1, np.int64), np.searchsorted(starts, ends)])
    return WordHashes(_span_hashes(data, starts, stops), offsets)


def shared_at_most(words: WordHashes) -> npt.NDArray[np.float64]:
    """An upper bound of 2·LCS/(n + m) of texts 1 and 2, 4 and 5, … of triples; shape [T / 3].

    LCS is at most the number of words of the one that occur in the other; hash collisions only raise it.
    """
    counts = words.counts.reshape(-1, 3)
    n = len(counts)
    bucket = (words.hashes & np.uint64(_BUCKETS - 1)).astype(np.int64)
    text = np.repeat(np.arange(3 * n), words.counts)
    place = text // 3 * _BUCKETS + bucket
    there = np.zeros(n * _BUCKETS, dtype=bool)
    there[place[text % 3 == 2]] = True
    mine = text % 3 == 1
    common = np.bincount(text[mine][there[place[mine]]] // 3, minlength=n)
    total = counts[:, 1] + counts[:, 2]
    return np.asarray(2 * np.minimum(common, counts[:, 2]) / np.maximum(total, 1))


def fold(texts: Sequence[str]) -> UInts:
    """Hashes of single words, as `hash_words` gives them."""
    return hash_words(texts).hashes


def _normalised(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _word_spans(data: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Where words start, and the index behind each. `data` ends in white space."""
    solid = data > _SPACE
    edges = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    if solid[:1].any():
        edges = np.concatenate([np.zeros(1, np.int64), edges])
    starts, stops = edges[::2], edges[1::2]
    if data.max(initial=0) >= _SOUTH_EAST_ASIAN[0][0]:
        lone = np.flatnonzero(_unspaced(data))
        more = np.union1d(starts, lone)
        stops = np.minimum(stops[np.searchsorted(stops, more, side="right")], np.append(more[1:], data.size))
        starts = more
    return starts, stops


def _unspaced(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where a character begins that is a word of its own. `data` ends in white space."""
    found = (data >= _EAST_ASIAN[0]) & (data <= _EAST_ASIAN[1])
    for lead, first, last in _SOUTH_EAST_ASIAN:
        found[:-1] |= (data[:-1] == lead) & (data[1:] >= first) & (data[1:] <= last)
    return np.asarray(found)


def _span_hashes(data: npt.NDArray[np.uint8], starts: Ints, stops: Ints) -> UInts:
    """Σ byte·baseⁱ over each span, from differences of one cumulative sum, then mixed."""
    sums = np.zeros(data.size + 1, dtype=np.uint64)
    np.multiply(data, _powers(_BASE, data.size), out=sums[1:])
    np.cumsum(sums[1:], out=sums[1:])
    hashes = (sums[stops] - sums[starts]) * _powers(_INVERSE, data.size)[starts]
    return mix(hashes)


def mix(hashes: UInts) -> UInts:
    """Spread every bit over all 64 (the finaliser of MurmurHash3), in place."""
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes


def repeats(keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which rows have the key of an earlier row; shape [n]."""
    first, inverse = np.unique(keys, return_index=True, return_inverse=True)[1:]
    return np.asarray(first[inverse] < np.arange(keys.size))


def _powers(base: int, n: int) -> UInts:
    """base⁰ … baseⁿ⁻¹ modulo 2**64."""
    return _power_table(base, 1 << max(n - 1, 0).bit_length())[:n]


@cache
def _power_table(base: int, n: int) -> UInts:
    table = np.full(n, base, dtype=np.uint64)
    table[:1] = 1
    return np.cumprod(table, dtype=np.uint64)


def combined(*columns: UInts) -> UInts:
    """One key for several, in their order."""
    key = np.zeros_like(columns[0])
    for column in columns:
        key = mix((key * np.uint64(3)) ^ column)
    return key
