"""The simulations of `calibration.py`: populations whose truth is known, and what the tests say of them.

Every measurement calls the functions that ship. A cell counts `hits` in `replicates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import special

from probe.probes.bias.evidence import BiasSettings, GroupEvidence
from probe.probes.bias.verdict import verdicts
from probe.stats import power, sequential
from probe.stats import statistics as s
from probe.stats.resampling import Interval, PValue, bootstrap_mean, sign_flip, signed_rank, tested_share

ALPHA = 0.05
SIZES = (5, 10, 20, 50, 100, 500)
GROUPS = 4
FLIPS = 1_999
CLUSTER = 5
UNEQUAL = (1, 2, 3, 5, 9)  # cluster sizes, repeated: 20 pairs in five clusters
FAR = 4.0  # standard errors: so far from the other bound that TOST is one-sided


@dataclass(frozen=True)
class Population:
    """Values of mean 0 and variance 1; `promised`: the tests are to hold their level here.

    `median` is subtracted where the null is about signs. `sizes` are cluster sizes, repeated; correlation ½.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    median: float = 0.0
    sizes: tuple[int, ...] = (1,)
    promised: bool = True

    def sample(self, rng: np.random.Generator, replicates: int, n: int) -> np.ndarray:
        """Shape [replicates, n]."""
        codes = self.codes(n)
        if codes is None:
            return self.draw(rng, (replicates, n))
        shared = self.draw(rng, (replicates, codes.max() + 1))[:, codes]
        return np.sqrt(0.5) * (shared + self.draw(rng, (replicates, n)))

    def codes(self, n: int) -> np.ndarray | None:
        if self.sizes == (1,):
            return None
        repeats = np.tile(self.sizes, n)  # more than enough
        return np.repeat(np.arange(repeats.size), repeats)[:n]

    def error(self, n: int) -> float:
        """The true standard error of the mean."""
        codes = self.codes(n)
        if codes is None:
            return 1 / math.sqrt(n)
        counts = np.bincount(codes)
        return math.sqrt(0.5 * float((counts**2).sum()) + 0.5 * n) / n


LOG_NORMAL = math.sqrt((math.e - 1) * math.e)
POPULATIONS = (
    Population("normal", lambda g, k: g.standard_normal(k)),
    Population("t3", lambda g, k: g.standard_t(3, k) / math.sqrt(3)),
    Population("skewed", lambda g, k: g.standard_exponential(k) - 1, median=math.log(2) - 1),
    Population("clustered", lambda g, k: g.standard_normal(k), sizes=(CLUSTER,)),
    Population("ties", lambda g, k: g.choice((-1.0, 0.0, 0.0, 1.0), k) * math.sqrt(2)),
    Population("unequal clusters", lambda g, k: g.standard_normal(k), sizes=UNEQUAL),
    Population(
        "very skewed",
        lambda g, k: (np.exp(g.standard_normal(k)) - math.exp(0.5)) / LOG_NORMAL,
        median=(1 - math.exp(0.5)) / LOG_NORMAL,
        promised=False,
    ),
)


@dataclass(frozen=True)
class Cell:
    """`nominal` is what the rate should be at most (coverage: at least); `gates`: a verdict rests on it."""

    kind: str
    test: str
    population: str
    n: int
    hits: int
    replicates: int
    nominal: float
    gates: bool


def unit_cells(unit: str, replicates: int, resampled: int, seed: int) -> list[Cell]:
    """The cells of a named unit of work: `stopping`, or a population and a size such as `t3/20`."""
    if unit == "stopping":
        return list(stopping_cells(replicates, seed))
    name, n = unit.split("/")
    population = next(p for p in POPULATIONS if p.name == name)
    return list(cells(population, int(n), replicates, resampled, seed))


UNITS = ("stopping", *(f"{population.name}/{n}" for n in SIZES for population in POPULATIONS))


def cells(population: Population, n: int, replicates: int, resampled: int, seed: int) -> Iterator[Cell]:
    """All cells of one population and size: `replicates` of the closed forms, `resampled` of the slow ones.

    What gates: from six clusters on, since no verdict is given below; coverage from 20 pairs on, as promised.
    """
    rng = np.random.default_rng([seed, POPULATIONS.index(population), n])
    x = population.sample(rng, replicates, n)
    codes = population.codes(n)
    units = n if codes is None else int(codes.max()) + 1

    def cell(kind: str, test: str, hits: np.ndarray, nominal: float = ALPHA, gates: bool = False) -> Cell:
        gates = gates and population.promised and (kind != "coverage" or n >= 20) and units >= 6
        return Cell(kind, test, population.name, n, int(np.sum(hits)), len(hits), nominal, gates)

    yield from _shares(x - population.median, codes, cell)
    yield from _means(x, codes, cell)
    yield from _equivalence(x, codes, FAR * population.error(n), cell)
    yield from _resampled(x[:resampled], codes, cell)
    yield from _verdicts(population, n, resampled, rng, cell)
    yield from _power(population, x[:resampled], codes, cell)


def _shares(x, codes, cell) -> Iterator[Cell]:
    rates = [_share(row, codes) for row in x]
    yield cell("false positives", "win rate", [_at_most(r.p) for r in rates], gates=True)
    yield cell("coverage", "win rate", [_covers(r, 0.5) for r in rates], 1 - ALPHA, gates=True)


def _share(row, codes):
    decisive = row[row != 0]
    if codes is None:
        return _exact(int((decisive > 0).sum()), decisive.size)
    return tested_share(decisive > 0, codes[row != 0], name="win_rate")


@cache
def _exact(wins: int, n: int):
    return s.share(wins, n, name="win_rate")


def _means(x, codes, cell) -> Iterator[Cell]:
    means = [s.summarise(row, codes) for row in x]
    limits = [s.interval_limits(mean, ALPHA) for mean in means]
    covered = [low is None or low <= 0 <= high for low, high in limits]
    yield cell("coverage", "mean gap", covered, 1 - ALPHA, gates=True)
    yield cell("false positives", "mean gap", np.logical_not(covered), gates=True)
    yield cell("coverage", "plain t (not used)", [_student(mean) for mean in means], 1 - ALPHA)


def _student(mean) -> bool:
    if mean.se is None:
        return True
    return abs(mean.value) <= float(special.stdtrit(mean.clusters - 1, 1 - ALPHA / 2)) * mean.se


def _equivalence(x, codes, bound, cell) -> Iterator[Cell]:
    """The mean lies on the bound, above and below: the worse of the two counts."""
    wrong = [
        [_at_most(s.equivalence(row + edge, bound=bound, clusters=codes).p) for row in x]
        for edge in (bound, -bound)
    ]
    yield cell("false positives", "TOST", max(wrong, key=sum), gates=True)


def _resampled(x, codes, cell) -> Iterator[Cell]:
    flips = [sign_flip(row, codes, draws=FLIPS, seed=i).p for i, row in enumerate(x)]
    yield cell("false positives", "sign-flip", [_at_most(p) for p in flips])
    if codes is None:
        yield cell("false positives", "Wilcoxon", [_at_most(signed_rank(row).p) for row in x])
    if x.shape[1] <= 100:
        checks = [bootstrap_mean(row, codes, draws=999, seed=i) for i, row in enumerate(x)]
        yield cell("coverage", "BCa (check only)", [_covers(c, 0.0) for c in checks], 1 - ALPHA)


def _verdicts(population, n, replicates, rng, cell) -> Iterator[Cell]:
    """Four groups. A false claim in any of them is an error of the family.

    "no effect": all means 0, bound 0. "on the bound": means at ± the bound, where "favours" is false and
    "neutral" as good as false. "mixed": two groups on the bound, two far beyond it.
    """
    bound, codes = FAR * population.error(n), population.codes(n)
    x = population.sample(rng, replicates * GROUPS, n).reshape(replicates, GROUPS, n)
    edges = bound * np.array([1, -1, 1, -1])
    mixed = bound * np.array([1, -1, 3, -3])
    plain = [_claims(row, codes, 0.0, i) for i, row in enumerate(x)]
    edge = [_claims(row + edges[:, None], codes, bound, i) for i, row in enumerate(x)]
    mix = [_claims(row + mixed[:, None], codes, bound, i) for i, row in enumerate(x)]
    yield cell("false verdicts", "favours: no effect", ["favours" in c for c in plain], gates=True)
    yield cell("false verdicts", "favours: on the bound", ["favours" in c for c in edge], gates=True)
    yield cell("false verdicts", "neutral: on the bound", ["neutral" in c for c in edge], gates=True)
    false = ["favours" in c[:2] or "neutral" in c for c in mix]
    yield cell("false verdicts", "any: mixed groups", false, gates=True)


def _claims(groups, codes, bound, seed) -> list[str]:
    """The first word of each group's verdict."""
    settings = BiasSettings(alpha=ALPHA, bound=bound)
    found = [_case(f"g{i}", row, codes, settings, seed) for i, row in enumerate(groups)]
    return [verdict.split()[0] for verdict in verdicts(found, settings)]


def _case(name, row, codes, settings, seed) -> GroupEvidence:
    """The evidence that a verdict reads; flipped only where the interval alone allows "favours"."""
    gap = s.mean_estimate(row, name="gap", units="sd", clusters=codes)
    mean = s.summarise(row, codes)
    tost = s.equivalence(row, bound=settings.bound, clusters=codes)
    unflipped = PValue(1.0, "", 0)
    index = np.arange(len(row))
    case = GroupEvidence(
        name, index, mean, unflipped, gap, gap, 0, tost, Interval(None, None, ""), {}, {}, None
    )
    beyond = case.p_beyond(settings.bound)
    if beyond is None or beyond > ALPHA:
        return case
    return replace(case, flip=sign_flip(row, codes, draws=FLIPS, seed=seed))


EFFECT = 0.5


def _power(population, x, codes, cell) -> Iterator[Cell]:
    """Half a standard deviation, and a bound of half a standard deviation round a mean of 0."""
    moved = x + EFFECT
    means = [s.summarise(row, codes) for row in moved]
    found = [(s.tail_ps(mean) or (1.0, 1.0))[0] <= ALPHA / 2 for mean in means]
    flips = [sign_flip(row, codes, draws=FLIPS, seed=i).p for i, row in enumerate(moved)]
    alone = BiasSettings(alpha=ALPHA, bound=0.1)
    yield cell("power", "win rate", [_at_most(_share(row, codes).p) for row in moved], 0.0)
    yield cell("power", "mean gap", found, 0.0)
    yield cell("power", "plain t (not used)", [not _student(mean) for mean in means], 0.0)
    yield cell("power", "sign-flip", [_at_most(p) for p in flips], 0.0)
    judged = [verdicts([_case("all", row, codes, alone, i)], alone) for i, row in enumerate(moved)]
    yield cell("power", "verdict, bound 0.1 sd", [v == ["favours chosen"] for v in judged], 0.0)
    neutral = [_at_most(s.equivalence(row, bound=EFFECT, clusters=codes).p) for row in x]
    yield cell("power", "TOST, bound 0.5 sd", neutral, 0.0)


LOOKS = 2_000
RATES = (0.6, 0.7, 0.8, 0.9, 1.0)


def stopping_cells(replicates: int, seed: int) -> Iterator[Cell]:
    """A look after every pair, up to 2,000: how often is the truth ever rejected?"""
    rng = np.random.default_rng([seed, 99])
    for rate in (0.5, 0.7):
        wins, losses = _streams(rng, replicates, rate)
        out = (sequential.log_e(wins, losses, rate) >= -math.log(ALPHA)).any(axis=1)
        name = "anytime sign test" if rate == 0.5 else f"confidence sequence, rate {rate}"
        yield _stop("optional stopping", name, out, gates=True)
        if rate == 0.5:
            yield _stop(
                "optional stopping", "exact sign test at every look (not used)", _peeked(wins, losses)
            )
    wins, losses = _streams(rng, replicates, 0.6)
    yield _stop("optional stopping", "neutral within ±0.1, true rate 0.6", _ever_neutral(wins, losses), True)
    for rate in RATES:
        wins, losses = _streams(rng, replicates, rate)
        crossed = sequential.log_e(wins, losses) >= -math.log(ALPHA)
        stops = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, LOOKS + 1)
        median = int(np.median(stops))
        yield Cell(
            "median stop", "anytime sign test", f"rate {rate}", median, replicates, replicates, 0.0, False
        )


def _stop(kind: str, test: str, hits: np.ndarray, gates: bool = False) -> Cell:
    return Cell(kind, test, "coin", LOOKS, int(np.sum(hits)), len(hits), ALPHA, gates)


def _streams(rng: np.random.Generator, replicates: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    wins = np.cumsum(rng.random((replicates, LOOKS)) < rate, axis=1)
    return wins, np.arange(1, LOOKS + 1) - wins


def _peeked(wins: np.ndarray, losses: np.ndarray) -> np.ndarray:
    limits = np.array([power._sign_limit(n, ALPHA) for n in range(1, LOOKS + 1)])
    return (np.minimum(wins, losses) <= limits).any(axis=1)


def _ever_neutral(wins: np.ndarray, losses: np.ndarray, delta: float = 0.1) -> np.ndarray:
    """Both edges of the band are rejected at some look, the counts lying between them."""
    threshold = -math.log(ALPHA)
    edges = [sequential.log_e(wins, losses, 0.5 + side) >= threshold for side in (-delta, delta)]
    return (edges[0] & edges[1] & (np.abs(wins / (wins + losses) - 0.5) < delta)).any(axis=1)


def _at_most(p: float | None) -> bool:
    return p is not None and p <= ALPHA


def _covers(found, truth: float) -> bool:
    """An interval that is not given claims nothing and misses nothing."""
    return found.low is None or found.low <= truth <= found.high
