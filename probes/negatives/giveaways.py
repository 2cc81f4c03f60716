"""The handful of features that give a side away, as sentences a person can check with a text search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy import stats

from .features import prefixes, split_tokens, suffixes

GIVEAWAYS_SHOWN = 5
LEAST_DIFFERENCE = 0.1  # difference between the sides' shares that is worth a sentence
SAME_PAIRS_SHARE = 0.8  # features found in nearly the same pairs are told once
VERBS = {"starts": "start with", "ends": "end with", "contains": "contain"}

Feature = tuple[str, str]  # verb, text


@dataclass(frozen=True, slots=True)
class Giveaway:
    """A text found on one side more than on the other: `chosen` and `rejected` are the sets of pairs (row
    numbers) whose response has it, `n` counts pairs."""

    verb: str
    text: str
    chosen: frozenset[int]
    rejected: frozenset[int]
    n: int

    @property
    def lead(self) -> float:
        """Share of rejected less share of chosen responses that have it."""
        return (len(self.rejected) - len(self.chosen)) / self.n

    @property
    def p(self) -> float:
        """Exact two-sided McNemar p: among pairs where one side alone has it, is it always the same one?"""
        only = len(self.rejected - self.chosen), len(self.chosen - self.rejected)
        return float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0

    def sentence(self, chosen: str = "chosen", rejected: str = "rejected") -> str:
        """E.g. `82% of rejected start with "I can't verify" (chosen: 1%)`."""
        sides = [(len(self.rejected), rejected), (len(self.chosen), chosen)]
        (more, side), (less, other) = sides if self.lead > 0 else sides[::-1]
        quoted = f'"{self.text}"' if self.text.strip() else f"white space ({self.text!r})"
        quoted = f"{quoted.replace(chr(10), chr(92) + 'n')}{_code_point(self.text)}"
        return f"{more / self.n:.0%} of {side} {VERBS[self.verb]} {quoted} ({other}: {less / self.n:.0%})"


def _code_point(text: str) -> str:
    """Of a single letter that may look like one of another alphabet, which it is."""
    return f" (U+{ord(text):04X})" if len(text) == 1 and text.isalpha() and not text.isascii() else ""


def find_giveaways(chosen: Sequence[str], rejected: Sequence[str], *, alpha: float = 0.05) -> list[Giveaway]:
    """The openings, endings and word 1- to 3-grams whose shares differ most between the sides.

    Each differs by at least `LEAST_DIFFERENCE` and passes McNemar's test after Bonferroni over all features
    that occur in `LEAST_DIFFERENCE` of the pairs; of features found in nearly the same pairs the longest is
    kept.
    """
    has_chosen, has_rejected = _index(chosen), _index(rejected)
    n = len(chosen)
    often = [
        Giveaway(
            *feature, frozenset(has_chosen.get(feature, ())), frozenset(has_rejected.get(feature, ())), n
        )
        for feature in has_chosen.keys() | has_rejected.keys()
        if max(len(has_chosen.get(feature, ())), len(has_rejected.get(feature, ()))) >= LEAST_DIFFERENCE * n
    ]
    telling = [g for g in often if abs(g.lead) >= LEAST_DIFFERENCE and g.p * len(often) < alpha]
    # Rounded, so that the longest of the texts that say the same comes first.
    telling.sort(key=lambda g: (-round(abs(g.lead), 1), g.verb == "contains", -len(g.text), g.text))
    kept: list[Giveaway] = []
    for giveaway in telling:
        if len(kept) < GIVEAWAYS_SHOWN and not any(_alike(giveaway, other) for other in kept):
            kept.append(giveaway)
    return kept


def length_sentence(
    chosen: Sequence[str], rejected: Sequence[str], names: tuple[str, str] = ("chosen", "rejected")
) -> str:
    """Which side is the longer and how often, in words."""
    pairs = [(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]
    longer = sum(a > b for a, b in pairs) / len(pairs), sum(a < b for a, b in pairs) / len(pairs)
    side = 0 if longer[0] >= longer[1] else 1
    return f"{names[side]} has more characters in {longer[side]:.0%} of pairs"


def _index(texts: Sequence[str]) -> defaultdict[Feature, set[int]]:
    """For every feature the rows whose text has it."""
    rows: defaultdict[Feature, set[int]] = defaultdict(set)
    for row, text in enumerate(texts):
        for feature in _features(text):
            rows[feature].add(row)
    return rows


def _features(text: str) -> Iterator[Feature]:
    yield from (("starts", prefix) for prefix in prefixes(text))
    yield from (("ends", suffix) for suffix in suffixes(text))
    pieces = split_tokens(text)
    yield from (("contains", piece) for piece in pieces if piece.isspace() and piece != " ")
    words = [i for i, piece in enumerate(pieces) if not piece.isspace()]
    for length in (1, 2, 3):
        for first, last in zip(words, words[length - 1 :], strict=False):
            yield "contains", "".join(pieces[first : last + 1])


def _alike(a: Giveaway, b: Giveaway) -> bool:
    """Whether two features mark nearly the same pairs on the side they mark."""
    if (a.lead > 0) != (b.lead > 0):
        return False
    one, two = (a.rejected, b.rejected) if a.lead > 0 else (a.chosen, b.chosen)
    return len(one & two) >= SAME_PAIRS_SHARE * len(one | two)
