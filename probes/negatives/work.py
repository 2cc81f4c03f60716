"""What `probe negatives` is asked for, what it has measured so far, and what measuring costs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...pairs.record import Pair
from ...records import Measured
from ...scoring.scores import EncodedPair
from ..cost import clocked
from ..numerics.judge import Plan
from .flip_budget import budget_beta


@dataclass(frozen=True, slots=True)
class NegativesOptions:
    """What is measured, on how many pairs: see `probe negatives --help`.

    `plan` None: no numerics. `beta` None: no flip budget.
    """

    alpha: float = 0.05
    seed: int = 0
    permutations: int = 199
    strip: bool = False
    surface: bool = True
    states: bool = True
    alone: bool = True
    gradients: int = 0
    ches: bool = True  # from states that are read anyway
    samples: int = 0
    most: int = 300
    plan: Plan | None = field(default_factory=Plan)
    beta: float | None = None


def negatives_options(
    *, numerics: bool, method: str, learning_rate: float, beta: float, train_dtype: str, full: bool,
    fused: bool, **measured: Any,
) -> NegativesOptions:  # fmt: skip
    """The options as the flags of `probe negatives` say them: the run to be made, and what is measured.

    Raises `ProbeError` for a method that is none.
    """
    plan = Plan.of(method, learning_rate, beta, train_dtype, full, fused) if numerics else None
    return NegativesOptions(plan=plan, beta=budget_beta(method, beta), **measured)


@dataclass
class NegativesWork:
    """One run under way: what it measured so far and what that cost."""

    options: NegativesOptions
    pairs: Sequence[Pair]
    sides: tuple[str, str]
    parts: list[Measured] = field(default_factory=list)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)

    def timed(self, probe: str, what: str, measure: Callable[[], Measured]) -> None:
        """State the cost, spend it, note the seconds."""
        print(f"{probe}: {what}", file=sys.stderr)
        part, seconds = clocked(measure)
        cost = {"probe": probe, "what": what, "seconds": round(seconds, 2)}
        self.parts += [part, Measured(details={"costs": [cost]})]

    def score(self, name: str, pairs: Sequence[Pair], values: Iterable[float]) -> None:
        """Keep a number per pair, by the pair's line."""
        self.scores[name] = {p.line: float(v) for p, v in zip(pairs, values, strict=True)}


def token_count(codes: Iterable[EncodedPair]) -> int:
    """Tokens to be computed for pairs: the prompt that both sides share once."""
    return sum(len(c.chosen.ids) + len(c.rejected.ids) - c.rejected.start for c in codes)
