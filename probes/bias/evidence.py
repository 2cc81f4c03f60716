"""The evidence on each group's bias: every gap, its tests and its intervals, before any verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import CannotMeasure
from ...records import Estimate
from ...scoring.scores import PairScore
from ...scoring.table import ScoreTable
from ...shared_limits import BOUND
from ...stats.power import least_clusters
from ...stats.resampling import Interval, PValue, bootstrap_mean, sign_flip, tested_share
from ...stats.statistics import (
    Floats,
    Ints,
    Labels,
    Mean,
    cluster_codes,
    equivalence,
    mean_estimate,
    summarise,
    tail_ps,
)

GAP_UNITS = {"gap_sum": "nats", "gap_byte": "nats/byte"}


@dataclass(frozen=True, slots=True)
class BiasSettings:
    """What the verdicts are judged by: names of the sides, test level, bound and noise floor (nats/token)."""

    sides: tuple[str, str] = ("chosen", "rejected")
    alpha: float = 0.05
    bound: float = BOUND
    noise_floor: float = 0.0
    seed: int = 0

    @property
    def least(self) -> int:
        """The least number of clusters that can settle anything: fewer cannot reject, however unanimous."""
        return least_clusters(self.alpha)

    @property
    def bound_is_noise(self) -> bool:
        """Whether differences as large as the bound arise from the arithmetic alone."""
        return self.bound < self.noise_floor


@dataclass(frozen=True, slots=True)
class GapArrays:
    """The scores as arrays of shape [n]. `other` maps each further way to measure the gap to (gaps, worth).

    `worth` is what one nat/token comes to there, so that the bound can be carried over: tokens for sums,
    tokens a byte for bytes, 1 for templates.
    """

    gap: Floats
    other: Mapping[str, tuple[Floats, Floats]]
    corrected: Floats | None
    codes: Ints

    def at(self, index: Ints) -> GapArrays:
        """The table of these pairs only."""
        other = {name: (gaps[index], worth[index]) for name, (gaps, worth) in self.other.items()}
        corrected = None if self.corrected is None else self.corrected[index]
        return GapArrays(self.gap[index], other, corrected, self.codes[index])


@dataclass(frozen=True, slots=True)
class GroupEvidence:
    """All the evidence on one group, before any correction for the number of groups.

    `bounds` is the bound in the unit of each of `others`; `index` says which scores belong to the group.
    """

    group: str
    index: Ints
    mean: Mean
    flip: PValue
    gap: Estimate
    wins: Estimate
    ties: int
    tost: Estimate
    check: Interval
    others: Mapping[str, Estimate]
    bounds: Mapping[str, float]
    corrected: Estimate | None

    def p_beyond(self, bound: float) -> float | None:
        """Two-sided p, by the interval alone, of H0 |mean| ≤ bound; None: cannot say."""
        tails = tail_ps(self.mean, math.copysign(bound, self.mean.value))
        return None if tails is None else min(1.0, 2 * tails[0 if self.mean.value > 0 else 1])


def make_table(
    scores: ScoreTable,
    by_template: Mapping[str, Sequence[PairScore]],
    neutral: Sequence[PairScore] | None,
    clusters: Labels | None,
) -> GapArrays:
    """All gaps of the scores. Raises `CannotMeasure` naming the first pair without a finite score.

    `by_template` and `neutral` may hold fewer pairs than `scores`; they are matched by line.
    """
    chosen, rejected = _sides(scores)
    tokens, size = chosen[1] + rejected[1], chosen[2] + rejected[2]
    gap = chosen[0] / chosen[1] - rejected[0] / rejected[1]
    other = {
        "gap_sum": (chosen[0] - rejected[0], tokens / 2),
        "gap_byte": (chosen[0] / chosen[2] - rejected[0] / rejected[2], tokens / size),
    }
    for name, again in by_template.items():
        other[f"gap_template:{name}"] = (_gaps(again, scores), np.ones_like(gap))
    corrected = None if neutral is None else gap - _gaps(neutral, scores)
    return GapArrays(gap, other, corrected, cluster_codes(clusters, len(scores)))


def _sides(scores: ScoreTable) -> tuple[Floats, Floats]:
    """Σ logps, tokens and bytes of both sides, each of shape [3, n]."""
    both = scores.totals("chosen"), scores.totals("rejected")
    for name, side in zip(("chosen", "rejected"), both, strict=True):
        bad = np.flatnonzero(~np.isfinite(side[0]) | (side[1:] <= 0).any(axis=0))
        if bad.size:
            first = scores[bad[0]]
            raise CannotMeasure(
                f"pair {first.id} (line {first.line}): its {name} response has no finite score; "
                f"{bad.size} of {len(scores)} pairs are like this. Look for an empty response, one cut to "
                "nothing, or NaN from the model in this dtype."
            )
    return both


def _gaps(again: Sequence[PairScore], scores: ScoreTable) -> Floats:
    """The gaps of `again`, by line of the file; NaN for pairs that were not scored again."""
    chosen, rejected = _sides(ScoreTable(again))
    gaps = dict(zip((s.line for s in again), chosen[0] / chosen[1] - rejected[0] / rejected[1], strict=True))
    return np.array([gaps.get(line, math.nan) for line in scores.lines])


def cases(scores: ScoreTable, table: GapArrays, settings: BiasSettings) -> list[GroupEvidence]:
    """The whole file as group `all` first, then its groups in order of appearance, if there are several."""
    members: dict[str, list[int]] = {}
    for i, code in enumerate(scores.groups.codes):
        if (group := scores.groups.values[code]) is not None:
            members.setdefault("group all" if group == "all" else str(group), []).append(i)
    parts = {"all": np.arange(len(scores))}
    if any(len(index) < len(scores) for index in members.values()):
        parts |= {name: np.array(index) for name, index in members.items()}
    return [_case(name, index, table.at(index), settings) for name, index in parts.items()]


def _case(group: str, index: Ints, table: GapArrays, settings: BiasSettings) -> GroupEvidence:
    gap, codes, alpha, seed = table.gap, table.codes, settings.alpha, settings.seed

    def mean_of(gaps: Floats, name: str) -> Estimate | None:
        # Templates and premises may have been tried on a sample of the pairs only.
        units, tried = GAP_UNITS.get(name, "nats/token"), np.isfinite(gaps)
        if not tried.any():
            return None
        return mean_estimate(
            gaps[tried], name=name, units=units, clusters=codes[tried], alpha=alpha, group=group
        )

    flip = sign_flip(gap, codes, seed=seed)
    estimate = mean_estimate(gap, name="gap", units="nats/token", clusters=codes, alpha=alpha, group=group)
    others = {name: e for name, (gaps, _) in table.other.items() if (e := mean_of(gaps, name))}
    decisive = np.abs(gap) > settings.noise_floor
    return GroupEvidence(
        group=group,
        index=index,
        mean=summarise(gap, codes),
        flip=flip,
        gap=replace(estimate, p=flip.p, method=f"{estimate.method}; {flip.method}"),
        wins=tested_share(
            gap[decisive] > 0, codes[decisive], name="win_rate", alpha=alpha, group=group, seed=seed
        ),
        ties=int((~decisive).sum()),
        tost=equivalence(
            gap, bound=settings.bound, name="gap_equivalence", clusters=codes, alpha=alpha, group=group
        ),
        check=bootstrap_mean(gap, codes, alpha=alpha, draws=1_999, seed=seed),
        others=others,
        bounds={name: settings.bound * float(worth.mean()) for name, (_, worth) in table.other.items()},
        corrected=None if table.corrected is None else mean_of(table.corrected, "gap_prompt_corrected"),
    )
