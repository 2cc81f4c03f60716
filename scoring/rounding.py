"""How far bfloat16 moves the gaps of pairs, and whether it may be used: what a gate and its trial ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared_limits import WIDENED as WIDENED
from .machine import free_bytes
from .processes import world
from .products import has_bfloat16_units

if TYPE_CHECKING:
    from .model import LoadedModel
    from .session import Session

BYTES = 2  # a parameter in bfloat16


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

    def told(self, *, ranked: bool = True) -> str:
        """The difference in words; `ranked`: with the pairs that are ranked otherwise by it."""
        told = ranked and self.turned
        turned = f", {self.turned} of {self.pairs} pairs are ranked otherwise" if told else ""
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


def has_room(loaded: LoadedModel) -> bool:
    """Whether a copy of the weights in bfloat16 fits into the free memory; True where that is unknown."""
    free = free_bytes(loaded.device)
    return free is None or BYTES * int(loaded.facts.get("parameters") or 0) < free


def allowed(session: Session) -> bool:
    """Whether bfloat16 may be tried: float32 is not held to, one process, a processor with units for it."""
    return not session.exact and world() == 1 and has_bfloat16_units()
