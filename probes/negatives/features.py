"""Text features of a response alone, as Gram matrices of the differences between the two sides.

No feature sees the prompt, and none lower-cases, strips or stems: a space in front of every rejected response
is as good a giveaway to a model as a phrase is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from ...stats.scripts import TOKEN
from ...stats.statistics import Floats
from .classify import gram

EDGE = 5  # tokens at either end that `opening` and `ending` see


def split_tokens(text: str) -> list[str]:
    """Words, runs of white space and single signs; joined, they are the text again.

    A character of a script that is written without spaces is a token of its own (`scripts.words_in`).
    """
    return TOKEN.findall(text)


def text_grams(chosen: Sequence[str], rejected: Sequence[str]) -> dict[str, Floats]:
    """The Gram matrix [pairs, pairs] of each feature set; `surface` is the mean of all of them.

    `length`: log of the number of characters, and which tenths of all lengths it exceeds. `opening`,
    `ending`: which one to five tokens stand at that end. `words`: word 1- and 2-grams, and white space that
    is not one space. `characters`: character 1- to 4-grams. The n-grams are tf-idf weighted, each response
    scaled to length 1, so that they do not stand in for the length.
    """
    grams = {
        "length": _length_gram(chosen, rejected),
        "opening": _sparse_gram(chosen, rejected, analyzer=prefixes),
        "ending": _sparse_gram(chosen, rejected, analyzer=suffixes),
        "words": _sparse_gram(chosen, rejected, analyzer=_word_ngrams),
        "characters": _sparse_gram(chosen, rejected, analyzer=_character_ngrams),
    }
    grams["surface"] = np.mean([_unit(g) for g in grams.values()], axis=0)
    return grams


def prefixes(text: str) -> Iterator[str]:
    """The openings of one to `EDGE` tokens."""
    head = split_tokens(text[:400])[:EDGE]
    return ("".join(head[:k]) for k in range(1, len(head) + 1))


def suffixes(text: str) -> Iterator[str]:
    """The endings of one to `EDGE` tokens."""
    tail = split_tokens(text[-400:])[-EDGE:]
    return ("".join(tail[-k:]) for k in range(1, len(tail) + 1))


def _word_ngrams(text: str) -> list[str]:
    words = [token for token in split_tokens(text) if token != " "]
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _character_ngrams(text: str) -> Iterator[str]:
    """As they stand: scikit-learn's own make one space of every run of white space."""
    for n in range(1, 5):
        yield from (text[i : i + n] for i in range(len(text) - n + 1))


def _length_gram(chosen: Sequence[str], rejected: Sequence[str]) -> Floats:
    """The log alone would miss a side that is cut to a limit, or is longer often and far shorter seldom."""
    lengths = np.array([[len(text) for text in side] for side in (chosen, rejected)], dtype=np.float64)
    tenths = np.quantile(lengths, np.linspace(0.1, 0.9, 9)) if lengths.size else np.zeros(9)
    features = np.concatenate([np.log1p(lengths)[..., None], lengths[..., None] > tenths], axis=-1)
    return gram(features[0] - features[1])


def _sparse_gram(
    chosen: Sequence[str],
    rejected: Sequence[str],
    *,
    analyzer: Callable[[str], Iterable[str]],
) -> Floats:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # A feature of a single response cannot carry over to a held-out pair; min_df leaves it out.
    vectorizer = TfidfVectorizer(analyzer=analyzer, min_df=2, sublinear_tf=True)
    try:
        vectors = vectorizer.fit_transform([*chosen, *rejected])
    except ValueError:  # no feature occurs twice
        return np.zeros((len(chosen), len(chosen)))
    differences = vectors[: len(chosen)] - vectors[len(chosen) :]
    return np.asarray((differences @ differences.T).toarray(), dtype=np.float64)


def _unit(g: Floats) -> Floats:
    size = np.trace(g) / max(len(g), 1)
    return g / size if size > 0 else g
