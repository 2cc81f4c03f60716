"""Can the two sides be told apart? Cross-validated logistic regression on differences, with its null.

A pair enters as d = φ(chosen) − φ(rejected), and a classifier w without intercept is right where w·d > 0.
Everything depends on the differences through their Gram matrix K = DDᵀ alone, and exchanging the sides of
pair i only flips its label from +1 to −1. So labels are a matrix here, [pairs, relabellings], and hundreds of
relabellings are fitted at once, each by the very procedure that the true labels go through: choice of
features and penalty inside the folds, then the fit. That makes the sign-flip test exact although the
predictions of different folds depend on each other (a binomial test on them would be too sure).

Where several feature maps compete they are a list of Gram matrices of the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...errors import CannotMeasure
from ...stats.statistics import Floats

Clusters = npt.NDArray[np.int64]

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # relative to the mean squared length of a difference
CLASSIFIER_FOLDS = 5
NEWTON_STEPS = 100
NEWTON_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Separation:
    """Out-of-fold predictions of one feature set.

    `margins` [pairs] are log-odds that the pair is the right way round (> 0: told apart, 0: no idea);
    `null` [relabellings] are the accuracies that the same procedure reaches with exchanged sides.
    """

    margins: Floats
    clusters: Clusters
    null: Floats

    @cached_property
    def hits(self) -> Floats:
        """1 where the pair was told apart, 0 where not, ½ where the features are silent."""
        return _hits(self.margins)

    @cached_property
    def bits(self) -> Floats:
        """1 + log₂ P(right way round): the label's entropy less what the classifier leaves open."""
        return np.asarray(1 - np.logaddexp(0, -self.margins) / np.log(2))

    @property
    def p(self) -> float:
        """One-sided p of the sign-flip test that the accuracy is ½; never 0."""
        reached = np.count_nonzero(self.null >= self.hits.mean() - 1e-9)
        return float((1 + reached) / (1 + len(self.null)))


def separate(
    grams: Sequence[Floats], clusters: Clusters, *, permutations: int = 199, seed: int = 0
) -> Separation:
    """Cross-validate the classifier on Gram matrices [pairs, pairs], best one chosen inside each fold.

    Folds never split a cluster, and a relabelling exchanges the sides of a whole cluster at once. Raises
    `CannotMeasure` when there are fewer than two clusters, since then nothing can be held out.
    """
    count = int(clusters.max(initial=-1)) + 1
    if count < 2:
        raise CannotMeasure(
            "All pairs share one prompt, so nothing can be held out. Give pairs of two prompts or more."
        )
    rng = np.random.default_rng(seed)
    folds = rng.permutation(np.arange(count) % min(CLASSIFIER_FOLDS, count))[clusters]
    flips = rng.choice([-1.0, 1.0], size=(count, permutations))
    labels = np.column_stack([np.ones(len(clusters)), flips[clusters]])
    margins = labels * _held_out([_scaled(gram) for gram in grams], labels, folds)
    return Separation(margins[:, 0], clusters, _hits(margins[:, 1:]).mean(axis=0))


def gram(differences: Floats) -> Floats:
    """DDᵀ of dense differences [pairs, features], each feature scaled to root mean square 1 (no centring:
    that would not survive an exchange of sides)."""
    scale = np.sqrt(np.mean(np.square(differences), axis=0))
    scaled = differences / np.where(scale > 0, scale, 1)
    return np.asarray(scaled @ scaled.T)


def _hits(margins: Floats) -> Floats:
    return np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, 0.5))


def _scaled(gram: Floats) -> Floats:
    size = np.trace(gram) / max(len(gram), 1)
    return gram / size if size > 0 else gram


def _held_out(grams: Sequence[Floats], labels: Floats, folds: Clusters) -> Floats:
    """Scores w·d of every pair under each relabelling, by classifiers that saw none of its fold."""
    scores = np.zeros_like(labels)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        spectra = [np.linalg.eigh(g[np.ix_(train, train)]) for g in grams]
        choice = _choose(spectra, labels[train])
        for number in np.unique(choice):
            which, strength = divmod(int(number), len(PENALTIES))
            columns = choice == number
            weights = _fit(spectra[which], labels[train][:, columns], PENALTIES[strength])
            scores[np.ix_(test, columns)] = grams[which][np.ix_(test, train)] @ weights
    return scores


def _choose(spectra: Sequence[tuple[Floats, Floats]], labels: Floats) -> Clusters:
    """For each relabelling the index of the Gram matrix and penalty with the least leave-one-out error of
    ridge regression on the labels, which is closed form (and the first step of the logistic fit)."""
    errors = []
    for values, vectors in spectra:
        rotated = vectors.T @ labels
        for penalty in PENALTIES:
            inverse = 1 / (np.maximum(values, 0) + 4 * penalty)
            residual = vectors @ (inverse[:, None] * rotated)
            leverage = np.square(vectors) @ inverse
            errors.append(np.mean(np.square(residual / leverage[:, None]), axis=0))
    return np.asarray(np.argmin(errors, axis=0), dtype=np.int64)


def _fit(spectrum: tuple[Floats, Floats], labels: Floats, penalty: float) -> Floats:
    """Dual weights a [pairs, relabellings] of L2-penalised logistic regression, w = Dᵀa.

    Minimises Σ log(1 + exp(−y·w·d)) + penalty/2·‖w‖² by steps against the fixed curvature ¼DᵀD + penalty,
    which bounds the true one (Böhning and Lindsay 1988), with Nesterov's momentum. One eigendecomposition
    serves every penalty and every relabelling.
    """
    values, vectors = spectrum
    values = np.maximum(values, 0)[:, None]
    rotated = np.zeros_like(labels)  # the weights in the eigenbasis
    ahead, pace = rotated, 1.0
    for _ in range(NEWTON_STEPS):
        scores = vectors @ (values * ahead)
        pull = labels * _sigmoid(-labels * scores)
        step = (vectors.T @ pull - penalty * ahead) / (values / 4 + penalty)
        following = ahead + step
        quicker = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        ahead = following + (pace - 1) / quicker * (following - rotated)
        rotated, pace = following, quicker
        if np.max(np.abs(step)) <= NEWTON_TOLERANCE * max(np.max(np.abs(rotated)), 1e-12):
            break
    return np.asarray(vectors @ rotated)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
