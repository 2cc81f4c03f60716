"""What one reading of a pair file leaves behind: columns of numbers, a row per pair, no texts.

The checks in `data_rows`, `data_file` and `data_shape` are functions of these columns, so a million pairs
take a few hundred megabytes and most checks are a line or two of NumPy.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Indel

from ...pairs.identity import options_key
from ...pairs.ordered import contradicts
from ...pairs.record import Pair, exact_text, text_of
from ...stats.scripts import length_in_words
from ...stats.statistics import Ints
from .limits import LEAST_ALIKE
from .near import bands
from .row_flags import HOLDING_BACK, Flag, chat_flags
from .said import OURS, SideColumns, said_flags
from .turns import turn_flags
from .words import UInts, WordHashes, fold, hash_words, shared_at_most

BATCH_PAIRS = 256  # pairs; what fits a core's cache
TEMPLATE_SAMPLE = 256  # pairs whose texts are kept for the checks of templates
STRANGERS = 16  # beyond the first batches, one pair in so many is compared with another pair's side
CATEGORIES = ("category", "topic", "type", "label", "domain", "subset", "bias_type", "source", "task")
MOST_CATEGORIES = 50  # more values than that are no grouping
SHORT_ANSWER = 5  # words: a side that may be an answer of its own, and no cut text
ECHO_WORDS = 5  # a shorter prompt may well open an answer by chance

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_CONTROL_BYTES = bytes({*range(32), 127} - {9, 10, 13})
# UTF-8 of Western letters and punctuation that was read as Windows-1252 or Latin-1; other lead bytes are
# left out, since "é »" in French has that form too. And what cannot be text in any encoding.
BROKEN_TEXT = re.compile(r"[\x80-\x9f\ufffd]")
MISREAD = re.compile(r"[ÂÃâ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]{1,2}")

OPENING_WORDS = 12  # words
_ALL_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Columns:
    """One row per pair. The last axis of [n, 3] is prompt, chosen, rejected."""

    lines: Ints  # [n]
    ids: Ints  # [n] hashes, which differ between processes
    keys: UInts  # [n, 3] equal for equal words in equal order; a prompt's with its tools and template options
    exact: UInts  # [n, 3] the same for texts that are equal but for white space at their ends
    words: Ints  # [n, 3]
    chars: Ints  # [n, 3]
    echo: npt.NDArray[np.bool_]  # [n] a response opens with the whole prompt
    alike: npt.NDArray[np.float32]  # [n] 2·LCS/(n + m) of the two sides' words; see `contrasts`
    stranger: npt.NDArray[np.float32]  # [n] the same with another pair's rejected; NaN: not looked at
    bands: UInts  # [n, BANDS]
    flags: npt.NDArray[np.int64]  # [n]
    groups: Ints  # [n] index into Facts.groups

    def has(self, flag: Flag) -> npt.NDArray[np.bool_]:
        """Which rows carry any of the flags; shape [n]."""
        return np.asarray((self.flags & int(flag)) != 0)

    @staticmethod
    def joined(parts: Sequence[Columns]) -> Columns:
        """The rows of all parts, in order."""
        names = [f.name for f in dataclasses.fields(Columns)]
        return Columns(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass
class StreamSample:
    """Every k-th pair of a stream, k doubling so that at most `most` are kept; all pairs of a small file."""

    most: int = TEMPLATE_SAMPLE
    pairs: list[Pair] = field(default_factory=list)
    _stride: int = 1
    _seen: int = 0

    def add(self, batch: Iterable[Pair]) -> None:
        """Pass some more pairs of the stream."""
        for pair in batch:
            if self._seen % self._stride == 0:
                self.pairs.append(pair)
            self._seen += 1
            if len(self.pairs) > self.most:
                self.pairs, self._stride = self.pairs[::2], 2 * self._stride


@dataclass
class ColumnReader:
    """Reads pairs into columns. `groups` are the names met; `categories` the values of group-like fields."""

    sample: StreamSample = field(default_factory=StreamSample)
    groups: dict[str, int] = field(default_factory=dict)
    categories: dict[str, Counter[str]] = field(default_factory=dict)
    grouped: int = 0  # pairs that name a group
    sides: SideColumns = OURS  # the columns of the two sides

    def read(self, pairs: Iterable[Pair], advance: Callable[[int], None] = lambda _: None) -> Columns:
        """The columns of all pairs. Raises whatever the iteration raises."""
        parts = []
        for number, batch in enumerate(_batches(pairs)):
            self.sample.add(batch)
            parts.append(self._columns(batch, 1 if number < 16 else STRANGERS))
            advance(len(batch))
        return Columns.joined(parts)

    def _columns(self, batch: list[Pair], stride: int) -> Columns:
        texts = [text_of(side) for pair in batch for side in (pair.prompt, pair.chosen, pair.rejected)]
        words = hash_words(texts)
        counts = words.counts.reshape(-1, 3)
        keys = words.keys().reshape(-1, 3)
        flags = _flags(batch, texts, keys) | _stances(words) | self._ordered(batch)
        # Rows without a prompt have not the same one.
        prompts = np.where(counts[:, 0] > 0, keys[:, 0], np.arange(len(batch), dtype=np.uint64))
        alike, stranger = contrasts(words, prompts, stride)
        echo = _echoes(words, counts, keys)
        sides = (side for pair in batch for side in (pair.prompt, pair.chosen, pair.rejected))
        exact = _hashes(exact_text(side).strip() for side in sides).view(np.uint64).reshape(-1, 3)
        near = bands(WordHashes(words.hashes, words.offsets[::3]))
        _tell_apart(batch, keys, exact, near)
        return Columns(
            lines=np.array([pair.line for pair in batch], np.int64),
            ids=_hashes(pair.id for pair in batch),
            keys=keys,
            exact=exact,
            words=counts,
            chars=np.fromiter(map(len, texts), np.int64, len(texts)).reshape(-1, 3),
            echo=echo,
            alike=alike,
            stranger=stranger,
            bands=near,
            flags=flags,
            groups=np.fromiter(map(self._group, batch), np.int64, len(batch)),
        )

    def _ordered(self, batch: list[Pair]) -> npt.NDArray[np.int64]:
        """What the rows' own columns say of which side is better."""
        swapped = [contradicts(pair.meta, self.sides) * Flag.SCORES_SWAPPED for pair in batch]
        said = [said_flags(pair.meta, self.sides) for pair in batch]
        return np.array(swapped, np.int64) | np.array(said, np.int64)

    def _group(self, pair: Pair) -> int:
        self.grouped += pair.group is not None
        for name in CATEGORIES:
            if name in pair.meta and isinstance(value := pair.meta[name], str):
                counter = self.categories.setdefault(name, Counter())
                if len(counter) <= MOST_CATEGORIES:
                    counter[value] += 1
        return self.groups.setdefault(pair.group or "all", len(self.groups))


def _hashes(texts: Iterable[str]) -> Ints:
    return np.fromiter(map(hash, texts), np.int64)


def _tell_apart(batch: list[Pair], keys: UInts, exact: UInts, near: UInts) -> None:
    """Change, in place, what names the prompt and the pair of rows with tools or template options."""
    for row, pair in enumerate(batch):
        if options := options_key(pair.meta):
            told = np.uint64(hash(options) & _ALL_BITS)
            keys[row, 0], exact[row, 0] = keys[row, 0] ^ told, exact[row, 0] ^ told
            near[row] ^= told * (near[row] != 0)  # 0: no words to compare


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    stream = iter(pairs)
    while batch := list(islice(stream, BATCH_PAIRS)):
        yield batch


def contrasts(
    words: WordHashes, prompts: UInts, stride: int = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How alike each pair's sides are, and its chosen side and the rejected of the next pair of another
    prompt; shapes [n], as that of `prompts`, their keys.

    Exact for every `stride`-th pair and wherever sides may share half of their words; elsewhere an upper
    bound below one half.
    """
    alike = shared_at_most(words).astype(np.float32)
    n = len(alike)
    exact = alike >= LEAST_ALIKE
    exact[::stride] = True
    for i in np.flatnonzero(exact).tolist():
        alike[i] = _likeness(words, i, i)
    stranger = np.full(n, np.nan, dtype=np.float32)
    others = _next_of_another(prompts)
    for i in range(0, n, stride):
        if others[i] >= 0:
            stranger[i] = _likeness(words, i, int(others[i]))
    return alike, stranger


def _next_of_another(keys: UInts) -> Ints:
    """The next row, from the last on to the first, that has another key; −1 where all have one. Shape [n]."""
    n = len(keys)
    starts = np.flatnonzero(keys != np.roll(keys, 1))  # where runs of equal keys begin, around the end too
    if not starts.size:
        return np.full(n, -1)
    return np.asarray(starts[np.searchsorted(starts, np.arange(n), side="right") % starts.size])


def _likeness(words: WordHashes, pair: int, other: int) -> float:
    """2·LCS/(n + m) of one pair's chosen side and another's rejected."""
    chosen, rejected = words.sequence(3 * pair + 1), words.sequence(3 * other + 2)
    return float(Indel.normalized_similarity(chosen, rejected))


def _echoes(words: WordHashes, counts: Ints, keys: UInts) -> npt.NDArray[np.bool_]:
    lengths = counts[:, 0]
    opening = words.prefix_keys(np.repeat(lengths, 3)).reshape(-1, 3)
    echoed = (opening[:, 1:] == keys[:, :1]) & (counts[:, 1:] >= lengths[:, None])
    return np.asarray((lengths >= ECHO_WORDS) & echoed.any(axis=1))


def _stances(words: WordHashes) -> npt.NDArray[np.int64]:
    """HOLDS_CHOSEN and HOLDS_REJECTED, by the first words of each side."""
    early = np.flatnonzero(words.places < OPENING_WORDS)
    early = early[np.isin(words.hashes[early], _HOLDING_BACK)]
    holds = np.zeros(len(words.counts), dtype=bool)
    holds[np.searchsorted(words.offsets, early, side="right") - 1] = True
    sides = holds.reshape(-1, 3)
    held = sides[:, 1] * int(Flag.HOLDS_CHOSEN) + sides[:, 2] * int(Flag.HOLDS_REJECTED)
    return np.asarray(held, dtype=np.int64)


_HOLDING_BACK = fold(HOLDING_BACK)


def _flags(batch: list[Pair], texts: list[str], keys: UInts) -> npt.NDArray[np.int64]:
    flags = np.fromiter(map(_form, batch), np.int64, len(batch))
    for i, (chosen, rejected) in enumerate(zip(texts[1::3], texts[2::3], strict=True)):
        if _begins_with(chosen, rejected) or _begins_with(rejected, chosen):
            flags[i] |= Flag.PREFIX
    for same in np.flatnonzero(keys[:, 1] == keys[:, 2]):
        if batch[same].chosen == batch[same].rejected:
            flags[same] |= Flag.IDENTICAL
    for i, text in _suspects(texts):
        if CONTROL.search(text):
            flags[i // 3] |= Flag.CONTROL
        if not text.isascii() and misread(text):
            flags[i // 3] |= Flag.MOJIBAKE
    return flags


def _begins_with(text: str, other: str) -> bool:
    """Whether a text begins with all of another, which a short one does by chance inside a word."""
    if not text.startswith(other):
        return False
    inside = other[-1:].isalnum() and text[len(other) :][:1].isalnum()
    return not (inside and length_in_words(other) < SHORT_ANSWER)


def _suspects(texts: list[str]) -> Iterator[tuple[int, str]]:
    """Texts worth a closer look; most batches are cleared by one pass over their bytes."""
    data = "".join(texts).encode("utf-8", "surrogatepass")
    dirty = len(data) != len(data.translate(None, _CONTROL_BYTES))
    return ((i, text) for i, text in enumerate(texts) if dirty or not text.isascii())


def misread(text: str) -> bool:
    """Whether some of the text was decoded with the wrong encoding."""
    return bool(BROKEN_TEXT.search(text)) or any(map(_is_utf8, MISREAD.findall(text)))


def _is_utf8(run: str) -> bool:
    for encoding in ("cp1252", "latin-1"):
        for stop in (2, 3):
            try:
                if len(run[:stop].encode(encoding).decode("utf-8")) == 1:
                    return True
            except UnicodeError:
                continue
    return False


def _form(pair: Pair) -> int:
    return turn_flags(pair) | chat_flags(pair)
