"""Which attributes the chosen sides have more of than the rejected ones, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pairs.record import Pair, text_of
from ...records import Estimate, Finding, Measured
from ...stats.resampling import sign_flip
from ...stats.several import holm
from ...stats.statistics import Floats, mean_estimate
from ..clusters import prompt_clusters
from .attributes import ATTRIBUTE_NAMES, ATTRIBUTES, Attribute, attribute_counts, estimate_name

PAIRS_OF_ATTRIBUTE = 5  # pairs named an attribute
ATTRIBUTES_NAMED = 4  # attributes named in the finding
ROUNDED_SPREAD = 1e-9  # of a mean: what sums of floats differ by
LEAST_D = 0.2  # Cohen's d from which a difference is worth a finding


@dataclass(frozen=True, slots=True)
class Counted:
    """Attributes of both sides, each [pairs, attributes]; `clusters`: pairs that share a prompt."""

    chosen: Floats
    rejected: Floats
    lines: Sequence[int]
    clusters: npt.NDArray[np.int64]


def count_attributes(pairs: Iterable[Pair]) -> Counted:
    """Read the file once. Memory: two rows of numbers per pair, not the text."""
    chosen, rejected, lines = [], [], []

    def counted() -> Iterable[Pair]:
        for pair in pairs:
            chosen.append(attribute_counts(text_of(pair.chosen)))
            rejected.append(attribute_counts(text_of(pair.rejected)))
            lines.append(pair.line)
            yield pair

    clusters = prompt_clusters(counted())
    shape = (len(lines), len(ATTRIBUTES))
    return Counted(np.array(chosen).reshape(shape), np.array(rejected).reshape(shape), lines, clusters)


def judge_attributes(
    read: Counted, intended: Sequence[str] = (), *, alpha: float = 0.05, seed: int = 0
) -> Measured:
    """A row an attribute that occurs, the largest paired effect first.

    The effect size is d = mean / standard deviation of chosen − rejected (Cohen's d for pairs); the test
    exchanges the sides of whole prompts, under Holm over all attributes that occur.
    """
    difference = read.chosen - read.rejected
    seen = [k for k in range(len(ATTRIBUTES)) if np.any(read.chosen[:, k]) or np.any(read.rejected[:, k])]
    adjusted = holm([sign_flip(difference[:, k], read.clusters, seed=seed).p for k in seen])
    rows: list[dict[str, Any]] = []
    estimates = []
    for k, p in zip(seen, adjusted, strict=True):
        values, attribute = difference[:, k], ATTRIBUTES[k]
        found = mean_estimate(
            values,
            name=estimate_name("attribute", attribute.name),
            units=attribute.units,
            clusters=read.clusters,
            alpha=alpha,
        )
        found = replace(found, p=float(p), method=f"{found.method}; sides exchanged, Holm")
        row = _row(attribute, read, k, values, found)
        rows.append({**row, "intended": attribute.name in intended})
        estimates.append(found)
    rows.sort(key=lambda row: -_size(row))
    absent = [ATTRIBUTE_NAMES[k] for k in range(len(ATTRIBUTE_NAMES)) if k not in seen]
    found_one = check_attributes(rows, alpha)
    return Measured(
        tuple(estimates), (found_one,) if found_one else (), {"attributes": rows, "absent": absent}
    )


def _row(attribute: Attribute, read: Counted, k: int, values: Floats, found: Estimate) -> dict[str, Any]:
    mean, spread = float(values.mean()), spread_of(values)
    sign = np.sign(found.value or 0.0)
    order = np.argsort(-values * sign, kind="stable")[:PAIRS_OF_ATTRIBUTE]
    return {
        "attribute": attribute.name,
        "rule": attribute.told,
        "units": attribute.units,
        "chosen": float(read.chosen[:, k].mean()),
        "rejected": float(read.rejected[:, k].mean()),
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "d": mean / spread if spread else None,
        "more": int((values > 0).sum()),
        "less": int((values < 0).sum()),
        "n": len(values),
        "p": found.p,
        "lines": [int(read.lines[i]) for i in order if values[i] * sign > 0],
    }


def spread_of(values: Floats) -> float:
    """Their standard deviation; 0 where they differ by rounding alone."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return spread if spread > ROUNDED_SPREAD * max(1.0, abs(float(values.mean()))) else 0.0


def check_attributes(rows: Sequence[dict[str, Any]], alpha: float) -> Finding | None:
    """PB251 attributes differ: the chosen sides have more, or less, of something than the rejected ones.

    Means: counted by a fixed rule, an attribute differs between the sides by at least {LEAST_D} standard
    deviations of the differences, by an exact test under Holm's correction over all attributes.
    Why: training cannot tell a wanted difference from one that came along with it; length, lists and
    flattery are what preference data is known to teach beside its purpose.
    Do: nothing where it is the purpose (`--intended NAME` says so); else match the sides on it.
    Source: Singhal et al. 2023 (length); Cohen 1988 for d = .2 as the least effect named small (convention).
    """
    differ = [r for r in rows if differs(r, alpha) and not r["intended"]]
    if not differ:
        return None
    told = [f"{r['attribute']} ({_told(r)})".replace("-", "−") for r in differ]
    more = f" and {len(told) - ATTRIBUTES_NAMED} more" if len(told) > ATTRIBUTES_NAMED else ""
    return Finding(
        "PB251",
        "info",
        f"chosen and rejected differ in {', '.join(told[:ATTRIBUTES_NAMED])}{more}",
        "Match the sides on what is not the purpose; --intended NAME accepts what is.",
        lines=tuple(differ[0]["lines"]),
    )


def differs(row: dict[str, Any], alpha: float) -> bool:
    """Whether the difference is shown and not negligible."""
    return row["p"] is not None and row["p"] <= alpha and _size(row) >= LEAST_D


def _size(row: dict[str, Any]) -> float:
    """The size of d; of a difference that is the same in every pair, beyond any."""
    same = inf if row["difference"] else 0.0
    return same if row["d"] is None else abs(row["d"])


def _told(row: dict[str, Any]) -> str:
    same = f"{row['difference']:+.3g} in every pair"
    return same if row["d"] is None else f"d {row['d']:+.2f}"
