"""What training changed: the same items before and after, quantity by quantity, group by group.

Whether a change is more than is allowed is judged in `gate.promotion`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...shared_limits import BOUND, PERPLEXITY_RATIO
from ...stats.mean_change import MeanChange, before_after_row, mean_changes, share_changes
from ...stats.resampling import sign_flip
from ...stats.statistics import Floats


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
class QuantityChange(MeanChange):
    """The mean change, tuned − base, of one quantity in one group."""

    quantity: Quantity


def quantity_changes(paired: Paired, alpha: float = 0.05) -> list[QuantityChange]:
    """The change over all items first, then in each group by name, with 1 − alpha intervals of their own.

    Of the accuracy by McNemar's exact test where each item stands alone (`share_changes`).
    """
    quantity, items = paired.quantity, (paired.base, paired.tuned, paired.groups, paired.clusters)
    name = f"{quantity.name}_change"
    if quantity.name == "accuracy":
        found = [_by_signs(change) for change in share_changes(*items, name=name, alpha=alpha)]
    else:
        found = mean_changes(*items, name=name, units=quantity.units, alpha=alpha)
    return [QuantityChange(c.estimate, c.before, c.after, c.differences, c.clusters, quantity) for c in found]


def _by_signs(change: MeanChange) -> MeanChange:
    """Where all clusters changed alike there is no variance for t: signs alone give the p."""
    if change.estimate.p is not None:
        return change
    flipped = sign_flip(change.differences, change.clusters)
    return replace(change, estimate=replace(change.estimate, p=flipped.p, method=flipped.method))


def change_rows(changed: Sequence[QuantityChange]) -> list[Mapping[str, Any]]:
    """Rows of `details["before_after"]`."""
    return [before_after_row(c.quantity.name, c.estimate, c.before, c.after) for c in changed]
