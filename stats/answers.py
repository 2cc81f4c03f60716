"""What sampled answers look like, whatever they say: length, repetition, variety. No model, no torch.

Degenerate text is short of distinct words: it says the same again within an answer (repetition), or the same
in all answers (distinct-n). Both can fall while every held-out log-prob rises.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import special

from ..records import Estimate

GRAM = 3  # tokens of a phrase that counts as repeated

Text = Sequence[Hashable]


def repeated_share(texts: Sequence[Text]) -> float:
    """The share of 3-grams that stood in the same text before; 0 where no text has one."""
    total = repeated = 0
    for text in texts:
        grams = _grams(text, GRAM)
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / total if total else 0.0


def distinct(texts: Sequence[Text], n: int) -> float | None:
    """Distinct n-grams over all n-grams of all texts; None where there is none. Source: Li et al. 2016."""
    counts = Counter(gram for text in texts for gram in _grams(text, n))
    return len(counts) / counts.total() if counts else None


def distinct_change(
    base: Sequence[Text], tuned: Sequence[Text], n: int, *, alpha: float = 0.05
) -> Estimate | None:
    """The change of distinct-n, tuned − base, the answers paired by prompt; None without any n-gram.

    The measure falls with the length of the text, so both sides need the same limit on tokens. Its interval
    is the delete-one-prompt jackknife's with Student's t (df = prompts − 1): a bootstrap repeats whole
    answers, which lowers it by itself. Source of the jackknife: Tukey 1958.
    """
    whole = _difference(base, tuned, n)
    if whole is None:
        return None
    count = len(base)
    without = [
        _difference([*base[:i], *base[i + 1 :]], [*tuned[:i], *tuned[i + 1 :]], n) for i in range(count)
    ]
    known = np.array([value for value in without if value is not None])
    low = high = None
    if count > 1 and len(known) == count and np.ptp(known) > 0:
        se = math.sqrt((count - 1) / count * float(((known - known.mean()) ** 2).sum()))
        reach = float(special.stdtrit(count - 1, 1 - alpha / 2)) * se
        low, high = whole - reach, whole + reach
    method = f"jackknife t (df {max(count - 1, 0)})"
    return Estimate(f"distinct_{n}_change", whole, low, high, count, None, method, "share")


def _difference(base: Sequence[Text], tuned: Sequence[Text], n: int) -> float | None:
    first, second = distinct(base, n), distinct(tuned, n)
    return None if first is None or second is None else second - first


def _grams(text: Text, n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
