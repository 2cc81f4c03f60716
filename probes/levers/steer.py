"""The steering lever: cross-fitted over prompts, its layer chosen inside the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...errors import ProbeError
from ...progress import progress
from ...scoring.scores import EncodedPair, EncodedSide, SideScore
from ...stats.statistics import Floats

if TYPE_CHECKING:
    from ...scoring.session import Session

Vectors = npt.NDArray[np.float32]
STEERING_FOLDS = 3
DEPTHS = (0.25, 0.5, 0.75)  # shares of the blocks: the layers that are tried
INNER = 12  # pairs on which a fold's layers are compared


@dataclass(frozen=True, slots=True)
class Steered:
    """Gaps under vectors of other folds [pairs], mean log-prob of neutral sides, the layers taken."""

    gaps: Floats
    neutral: float
    layers: tuple[int, ...]


def steered_gaps(
    session: Session, codes: Sequence[EncodedPair], neutral: Sequence[EncodedSide],
    clusters: npt.NDArray[np.int64], *, strength: float, seed: int = 0,
) -> Steered:  # fmt: skip
    """Each pair under `strength` times the mean difference of the sides' states over the other folds' pairs.

    In each fold the layer is the one that moves the gap most on half of its training prompts by the vector
    of the other half. `neutral`: nats/token of the neutral sides, the mean over the folds. Raises
    `ProbeError` below six prompts, or for a model without a list of blocks.
    """
    from ...scoring.engine import blocks

    try:
        count = len(blocks(session.loaded.model))
    except LookupError as error:
        raise ProbeError(f"steering: {error}, so no vector can be added. Use --no-steering.") from error
    layers = sorted({min(count - 1, int(depth * count)) for depth in DEPTHS})
    folds = _folds(clusters, seed)
    difference = _differences(session, codes, layers)
    gaps, taken, told = np.zeros(len(codes)), [], []
    with progress("steering", len(codes), "pairs") as advance:
        for fold in range(STEERING_FOLDS):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            layer = _layer(session, codes, difference, train, clusters, layers, strength)
            vector = strength * difference[train, layers.index(layer)].mean(0)
            gaps[test] = _gaps(session, [codes[int(i)] for i in test], layer, vector)
            told.append(_mean(session, neutral, layer, vector))
            taken.append(layer)
            advance(len(test))
    return Steered(gaps, float(np.mean(told)), tuple(taken))


def _folds(clusters: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """The fold of each pair; pairs that share a prompt share it."""
    labels, codes = np.unique(clusters, return_inverse=True)
    if len(labels) < 2 * STEERING_FOLDS:
        raise ProbeError(
            f"steering needs {2 * STEERING_FOLDS} prompts, {len(labels)} are left. Use --no-steering."
        )
    order = np.random.default_rng(seed).permutation(len(labels)) % STEERING_FOLDS
    return np.asarray(order[codes], dtype=np.int64)


def _differences(session: Session, codes: Sequence[EncodedPair], layers: Sequence[int]) -> Vectors:
    """Chosen − rejected mean states of each pair, [pairs, layers, hidden]."""
    from ...scoring.steering import mean_states

    sides = [side for c in codes for side in (c.chosen, c.rejected)]
    with progress("reading states", len(sides), "responses") as advance:
        states = mean_states(session.loaded, sides, layers, advance)
    difference: Vectors = states[::2] - states[1::2]
    return difference


def _layer(
    session: Session, codes: Sequence[EncodedPair], difference: Vectors, train: npt.NDArray[np.int64],
    clusters: npt.NDArray[np.int64], layers: Sequence[int], strength: float,
) -> int:  # fmt: skip
    half = np.isin(clusters[train], np.unique(clusters[train])[::2])
    one, other = train[half], train[~half][:INNER]
    some, moved = [codes[int(i)] for i in other], {}
    for k, layer in enumerate(layers):
        gaps = _gaps(session, some, layer, strength * difference[one, k].mean(0))
        moved[layer] = float(gaps.mean())
    return max(moved, key=lambda layer: moved[layer])


def _gaps(session: Session, codes: Sequence[EncodedPair], layer: int, vector: Vectors) -> Floats:
    sides = [side for c in codes for side in (c.chosen, c.rejected)]
    means = np.array(_means(session, sides, layer, vector))
    gaps: Floats = means[::2] - means[1::2]
    return gaps


def _mean(session: Session, sides: Sequence[EncodedSide], layer: int, vector: Vectors) -> float:
    """Nats/token over all sides together."""
    scores = _scores(session, sides, layer, vector)
    return sum(s.logps for s in scores) / sum(s.tokens for s in scores)


def _means(session: Session, sides: Sequence[EncodedSide], layer: int, vector: Vectors) -> list[float]:
    return [score.mean_logps for score in _scores(session, sides, layer, vector)]


def _scores(session: Session, sides: Sequence[EncodedSide], layer: int, vector: Vectors) -> list[SideScore]:
    from ...scoring.service import side_score
    from ...scoring.steering import steered_logps

    kept = session.scorer.store is not None
    logps = steered_logps(session.loaded, sides, layer, vector.astype(np.float32), store=kept)
    return [side_score(side, values) for side, values in zip(sides, logps, strict=True)]
