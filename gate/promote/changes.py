"""What training changed: the same items before and after, quantity by quantity, group by group.

Whether a change is more than is allowed is judged in `gate.promotion`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...records import Estimate
from ...shared_limits import BOUND, PERPLEXITY_RATIO
from ...stats.resampling import sign_flip
from ...stats.statistics import Floats, Ints, cluster_codes, mean_estimate


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that could get worse. `better` is +1 where more is better, −1 where less is, 0 where neither.

    `allowance` is how far it may get worse, in `units`; None: shown and not judged.
    """

    name: str
    units: str
    better: Literal[-1, 0, 1]
    allowance: float | None
    help: str


QUANTITIES = {
    q.name: q
    for q in (
        Quantity("grade", "grades", 1, 1.0, "grades"),
        Quantity("gap", "nats/token", 1, BOUND, "mean logp/token of chosen − rejected"),
        Quantity("accuracy", "share", 1, None, "share of pairs whose chosen side is the likelier one"),
        Quantity("chosen", "nats/token", 1, None, "mean logp/token of the chosen side"),
        Quantity("rejected", "nats/token", 0, None, "mean logp/token of the rejected side"),
        Quantity("watched", "nats/token", 1, math.log(PERPLEXITY_RATIO), "logp/token of --watch texts"),
        Quantity("repetition", "share", -1, None, "share of repeated 3-grams in a sampled answer"),
        Quantity("length", "tokens", 0, None, "tokens of a sampled answer"),
    )
}


@dataclass(frozen=True, slots=True)
class Paired:
    """One quantity of the same items under both models: `base`, `tuned` [items], a group or None each, and
    a label each that is equal for items that depend on each other (None: each stands alone)."""

    quantity: Quantity
    base: Floats
    tuned: Floats
    groups: Sequence[str | None]
    clusters: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class MeanChange:
    """The mean change, tuned − base, of one quantity in one group, with the means it lies between.

    `differences` [items of the group] and their clusters are kept for tests against an allowance.
    """

    quantity: Quantity
    estimate: Estimate
    base: float
    tuned: float
    differences: Floats
    clusters: Ints

    @property
    def group(self) -> str:
        """The group's name, `all` for all items."""
        return self.estimate.group


def changes(paired: Paired, alpha: float = 0.05) -> list[MeanChange]:
    """The change over all items first, then in each group by name, with 1 − alpha intervals of their own."""
    names = np.array([str(group) if group else "" for group in paired.groups])
    codes = cluster_codes(paired.clusters, len(names))
    groups = [name for name in np.unique(names) if name and name != "all"]
    everything = np.ones(len(names), dtype=bool)
    members = [("all", everything), *((str(group), names == group) for group in groups)]
    return [_change(paired, group, rows, codes, alpha) for group, rows in members]


def _change(
    paired: Paired, group: str, rows: np.typing.NDArray[np.bool_], codes: Ints, alpha: float
) -> MeanChange:
    quantity, clusters = paired.quantity, codes[rows]
    base, tuned = paired.base[rows], paired.tuned[rows]
    moved = tuned - base
    estimate = mean_estimate(
        moved,
        name=f"{quantity.name}_change",
        units=quantity.units,
        clusters=clusters,
        alpha=alpha,
        group=group,
    )
    if quantity.name == "accuracy":  # of turned pairs all signs are counted: McNemar's exact test
        flipped = sign_flip(moved, clusters)
        estimate = _tested(estimate, flipped.p, f"{estimate.method}; McNemar: {flipped.method}")
    return MeanChange(quantity, estimate, float(base.mean()), float(tuned.mean()), moved, clusters)


def _tested(e: Estimate, p: float, method: str) -> Estimate:
    return Estimate(e.name, e.value, e.low, e.high, e.n, p, method, e.units, e.group)


def rows(changed: Sequence[MeanChange]) -> list[Mapping[str, Any]]:
    """Rows of `details["before_after"]`."""
    return [
        {
            "name": c.quantity.name, "group": c.group, "before": c.base, "after": c.tuned,
            "change": c.estimate.value, "low": c.estimate.low, "high": c.estimate.high, "p": c.estimate.p,
            "units": c.quantity.units,
        }
        for c in changed
    ]  # fmt: skip
