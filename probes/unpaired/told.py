"""How well the labels of unpaired answers can be told, in folds that share no prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...pairs.record import text_of
from ...pairs.unpaired import UnpairedAnswer
from ...records import Estimate
from ...stats.parted import parted_words
from ...stats.two_groups import group_difference

PROMPT_FOLDS = 5
LEAST_ANSWERS = 20  # answers of either label below which nothing is told


@dataclass(frozen=True, slots=True)
class UnpairedOptions:
    """`model` False: the answers are read and checked, and no model is loaded.

    `trial_steps`: updates of a short KTO run; 0: none is made.
    """

    model: bool = True
    alpha: float = 0.05
    seed: int = 0
    trial_steps: int = 0


def surface_of(answers: Sequence[UnpairedAnswer], options: UnpairedOptions) -> Estimate:
    """How well wanted and unwanted answers are told apart without their prompts: balanced accuracy.

    Logistic regression on word 1- and 2-grams and the length, in folds that share no prompt.
    """
    texts = [text_of(answer.completion) for answer in answers]
    return label_accuracy(
        "surface_accuracy",
        answers,
        lambda wanted, keys: _by_words(texts, wanted, keys, options.seed),
        options,
    )


def label_accuracy(
    name: str, answers: Sequence[UnpairedAnswer], hits_of: Callable[[Any, Any], Any], options: UnpairedOptions
) -> Estimate:
    """Balanced accuracy of telling the labels, from whether each answer's label was told out of fold.

    The interval is that of the two recalls' mean over prompts, given the fitted classifiers; no test is made.
    """
    units = "share"
    wanted = np.array([a.wanted for a in answers])
    keys = np.array([a.key for a in answers])
    prompts = min(len(np.unique(keys[label])) for label in (wanted, ~wanted))
    few = min(wanted.sum(), (~wanted).sum()) < LEAST_ANSWERS or len(np.unique(keys)) < 2 * PROMPT_FOLDS
    if few or prompts < 2:
        why = f"not measured: fewer than {LEAST_ANSWERS} answers of a label, or {2 * PROMPT_FOLDS} prompts"
        why = why if few else "not measured: all answers of a label are to one prompt"
        return Estimate(name, None, None, None, len(answers), None, why, units)
    hits = hits_of(wanted, keys)
    # recall₁ − (1 − recall₀) = 2·balanced accuracy − 1, which is a difference of two groups' means.
    called = np.where(wanted, hits, ~hits).astype(float)
    apart = group_difference(called, wanted, list(keys), name=name, units=units, alpha=options.alpha)
    value, low, high = (None if x is None else (x + 1) / 2 for x in (apart.value, apart.low, apart.high))
    method = f"balanced accuracy, {PROMPT_FOLDS}-fold by prompt; {apart.method}"
    if value == 1.0:  # nothing varies; exact for prompts without an error among them (Clopper and Pearson)
        low, high = (options.alpha / 2) ** (1 / len(np.unique(keys))), 1.0
        method = f"balanced accuracy, {PROMPT_FOLDS}-fold by prompt; Clopper-Pearson over prompts, none wrong"
    low, high = (None if x is None else min(max(x, 0.0), 1.0) for x in (low, high))
    return Estimate(name, value, low, high, len(answers), None, method, units)


def folds_of(wanted: Any, keys: Any, seed: int) -> Iterator[tuple[Any, Any]]:
    """Indices to fit and to ask, in folds that share no prompt."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(PROMPT_FOLDS, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(wanted)), wanted, keys)


def _by_words(texts: Sequence[str], wanted: Any, keys: Any, seed: int) -> Any:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    hits = np.zeros(len(texts), dtype=bool)
    lengths = np.log1p([[len(text)] for text in texts])
    for train, test in folds_of(wanted, keys, seed):
        grams = TfidfVectorizer(
            lowercase=False, tokenizer=parted_words, token_pattern=None, ngram_range=(1, 2)
        )
        fitted = grams.fit_transform([texts[i] for i in train])
        scale = lengths[train].std() or 1.0
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(hstack([fitted, csr_matrix(lengths[train] / scale)]), wanted[train])
        seen = hstack([grams.transform([texts[i] for i in test]), csr_matrix(lengths[test] / scale)])
        hits[test] = model.predict(seen) == wanted[test]
    return hits
