"""How much a mean changed between two measurements of the same items: of all items, and of each group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..records import Estimate
from .share_change import share_change
from .statistics import Floats, Ints, Labels, cluster_codes, mean_estimate


@dataclass(frozen=True, slots=True)
class MeanChange:
    """The mean of after − before in one group (`all`: of all items), with the means it lies between.

    `differences` [items of the group] and their cluster codes are kept for tests against an allowance.
    """

    estimate: Estimate
    before: float
    after: float
    differences: Floats
    clusters: Ints

    @property
    def group(self) -> str:
        """The group's name, `all` for all items."""
        return self.estimate.group


def mean_changes(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    groups: Sequence[str | None],
    clusters: Labels | None,
    *,
    name: str,
    units: str,
    alpha: float = 0.05,
    shared: bool = False,
) -> list[MeanChange]:
    """The change over all items first, then in each group by name, with cluster-robust intervals.

    `before` and `after` [items] are of the same items in the same order; `clusters` has a label per item that
    is equal for items that depend on each other (None: each stands alone). The intervals have 1 − `alpha`
    each, or with `shared` all together (Bonferroni); of shares they end at ±1. None without an item.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (before, after))
    codes, found = cluster_codes(clusters, first.size), []
    parts = list(_parts(groups)) if first.size else []
    for group, members in parts:
        moved, own = (second - first)[members], codes[members]
        level = alpha / len(parts) if shared else alpha
        estimate = mean_estimate(moved, name=name, units=units, clusters=own, alpha=level, group=group)
        means = float(first[members].mean()), float(second[members].mean())
        found.append(MeanChange(estimate, *means, moved, own))
    return found


def share_changes(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    groups: Sequence[str | None],
    clusters: Labels | None,
    *,
    name: str,
    alpha: float = 0.05,
    shared: bool = False,
) -> list[MeanChange]:
    """`mean_changes` of a share, from values of 0 and 1.

    Where no two items of a group are of one cluster, by McNemar's exact test (`share_change`).
    """
    found = mean_changes(
        before, after, groups, clusters, name=name, units="share", alpha=alpha, shared=shared
    )
    level = alpha / max(len(found), 1) if shared else alpha
    return [_exact(change, level) for change in found]


def before_after_row(name: str, change: Estimate, before: float, after: float) -> dict[str, Any]:
    """A row of a run's `details["before_after"]`: a change and the two values that it lies between."""
    return {
        "name": name, "group": change.group, "before": before, "after": after, "change": change.value,
        "low": change.low, "high": change.high, "p": change.p, "units": change.units,
    }  # fmt: skip


def _parts(groups: Sequence[str | None]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """`all` with every item, then each group's name with its items [items]."""
    names = np.array([group or "all" for group in groups], dtype=object)
    yield "all", np.ones(len(names), dtype=bool)
    yield from ((group, names == group) for group in sorted(set(names) - {"all"}))


def _exact(change: MeanChange, alpha: float) -> MeanChange:
    e, n = change.estimate, change.differences.size
    if np.unique(change.clusters).size < n:
        return change
    up, down = (int((change.differences == turn).sum()) for turn in (1, -1))
    return replace(change, estimate=share_change(up, down, n, name=e.name, alpha=alpha, group=e.group))
