"""How far bfloat16 moves the gaps of pairs, and whether it may be used: what a gate and its trial ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared_limits import WIDENED as WIDENED
from .processes import world
from .products import has_bfloat16_units

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True, slots=True)
class Rounding:
    """Gaps of one model, in nats/token, by bfloat16 products beside those by float32's.

    `noise`: standard deviation of the difference; `largest`: the largest; `widened`: how much wider the
    difference makes the interval of a mean gap, as a share; `turned`: pairs that are ranked otherwise.
    """

    pairs: int
    noise: float
    largest: float
    widened: float
    turned: int

    @property
    def taken(self) -> bool:
        """Whether the difference is small enough."""
        return self.widened <= WIDENED

    def facts(self) -> dict[str, Any]:
        """As `run.json` has it."""
        return {"products": "bfloat16" if self.taken else "float32", **asdict(self)}

    def told(self) -> str:
        """The difference in words."""
        turned = f", {self.turned} of {self.pairs} pairs are ranked otherwise" if self.turned else ""
        return (
            f"gaps differ by {self.noise:.2g} nats/token from float32's (standard deviation of {self.pairs} "
            f"pairs; {self.largest:.2g} at most){turned}"
        )


def rounding(exact: Sequence[float], half: Sequence[float]) -> Rounding:
    """The gaps of the same pairs, computed both ways."""
    gaps, others = np.asarray(exact, dtype=np.float64), np.asarray(half, dtype=np.float64)
    apart = others - gaps
    spread = float(gaps.var()) if len(gaps) else 0.0
    ratio = float(apart.var()) / spread if spread > 0 else math.inf
    return Rounding(
        len(gaps), float(apart.std()), float(np.abs(apart).max(initial=0.0)), math.sqrt(1 + ratio) - 1,
        int(np.sum(np.sign(gaps) != np.sign(others))),
    )  # fmt: skip


def allowed(session: Session) -> bool:
    """Whether bfloat16 may be tried: no --dtype was given, one process, and a processor with units for it."""
    return not session.exact and world() == 1 and has_bfloat16_units()
