"""What a trial measured of pairs and of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...stats.statistics import Floats as Floats


@dataclass(frozen=True, slots=True)
class Pass:
    """Pairs that a trial measured while they were unseen; arrays [pairs].

    `margins`: Δ log p(chosen) − Δ log p(rejected) from the starting model, in nats; `token_margins`: the same
    difference in nats/token. `changes`: Δ log p of chosen, in nats/token. `rates`: Σ of the learning rates of
    the updates before a pair was scored. `prompts` are the clusters, `lines` the lines of the file. `gaps`:
    mean log p(chosen) − mean log p(rejected) of the starting model, in nats/token. `folds`: trainings that
    measured them, each on pairs that another one was trained on.
    """

    margins: Floats
    token_margins: Floats
    changes: Floats
    rates: Floats
    prompts: Sequence[str]
    lines: Sequence[int]
    gaps: Floats = field(default_factory=lambda: np.zeros(0))
    folds: int = 1

    @classmethod
    def empty(cls) -> Pass:
        """No pair at all."""
        none = np.zeros(0)
        return cls(none, none, none, none, (), ())


@dataclass(frozen=True, slots=True)
class Noise:
    """Squared gradient norms of single pairs [pairs], and of their mean."""

    singles: Floats
    mean: float
