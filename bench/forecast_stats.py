"""From stored rows of `forecast.py` to outcomes, and from outcomes to how well something forecast them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]
FEWEST = 6  # cells, below which no correlation or AUC is printed
DRAWS = 1_000
SEED = 8


@dataclass(frozen=True)
class Outcome:
    """Of one training run on its held-out pairs. `won_*`: bool [pairs], by log-probs per token.

    `margins`: [pairs], over the start, in nats of summed log-probs; `token_margins` in nats per token, which
    length alone does not move. `reward_accuracy`, `token_accuracy`: the shares above 0, ties as half. Changes
    in nats/token; `perplexity` and `repetition`: of neutral and of sampled text, last over first.
    """

    won_before: np.ndarray
    won_after: np.ndarray
    margins: np.ndarray
    token_margins: np.ndarray
    reward_accuracy: float
    token_accuracy: float
    margin: float
    chosen_change: float
    rejected_change: float
    perplexity_ratio: float
    repetition_rise: float
    finite: bool


def outcome(row: Row, pairs_of: str = "held_out") -> Outcome:
    """The outcome of a row that holds a run, on its held-out pairs or on the harder ones (`elsewhere`)."""
    pairs = np.array(row[pairs_of], dtype=np.float64)
    before, after, tokens = pairs[:, 0:2], pairs[:, 2:4], pairs[:, 4:6]
    moved = after - before
    margins = moved[:, 0] - moved[:, 1]
    per_token = moved / tokens
    change, token_margins = per_token.mean(axis=0), per_token[:, 0] - per_token[:, 1]
    gaps = [(sums / tokens) @ (1.0, -1.0) for sums in (before, after)]
    first, last = row["evaluations"][0], row["evaluations"][-1]
    return Outcome(
        gaps[0] > 0,
        gaps[1] > 0,
        margins,
        token_margins,
        *(float(((np.sign(m) + 1) / 2).mean()) for m in (margins, token_margins)),
        float(margins.mean()),
        float(change[0]),
        float(change[1]),
        last["perplexity"] / first["perplexity"],
        last["repetition"] - first["repetition"],
        bool(np.isfinite(pairs).all()),
    )


def early_auc(early: Row, late: Row) -> float | None:
    """How well the held-out DPO loss of an early state ranks the pairs that end mis-ranked (Gao et al. 2025).

    Mis-ranked: a margin over the start of at most 0 in `late`. The loss falls with the margin, so that its
    rank is the margin's, reversed.
    """
    margins = []
    for row in (early, late):
        pairs = np.array(row["held_out"])
        margins.append((pairs[:, 2] - pairs[:, 0]) - (pairs[:, 3] - pairs[:, 1]))
    return auc(-margins[0], margins[1] <= 0)


def auc(values: Sequence[float] | np.ndarray, positive: Sequence[bool] | np.ndarray) -> float | None:
    """P(a positive case has the higher value), ties as half; None when one class is empty."""
    values, positive = np.asarray(values, float), np.asarray(positive, bool)
    yes, no = values[positive], values[~positive]
    if not len(yes) or not len(no):
        return None
    return float((np.sign(yes[:, None] - no[None, :]) + 1).mean() / 2)


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float | None:
    """Rank correlation; None where one side does not vary."""
    ranks = np.array([stats.rankdata(x), stats.rankdata(y)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.square(ranks).sum(axis=1)
    if not spread.all():
        return None
    return float(ranks[0] @ ranks[1] / np.sqrt(spread[0] * spread[1]))


Statistic = Callable[[np.ndarray, np.ndarray], float | None]


def bootstrap(
    x: Sequence[float], y: Sequence[float], sets: Sequence[str], of: Statistic
) -> list[float | None]:
    """[value, low, high]: a 95% percentile interval over redrawn *sets*; all None below `FEWEST` cells.

    Draws in which the statistic is not defined are left out; with more than a tenth of them, no interval.
    """
    x, y, names = np.asarray(x, float), np.asarray(y), np.asarray(sets)
    if len(x) < FEWEST or (value := of(x, y)) is None:
        return [None, None, None]
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(sets)]
    draw = np.random.default_rng(SEED)
    found = []
    for _ in range(DRAWS):
        taken = np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))])
        found.append(of(x[taken], y[taken]))
    known = np.array([v for v in found if v is not None])
    if len(known) < 0.9 * DRAWS:
        return [value, None, None]
    low, high = np.quantile(known, (0.025, 0.975))
    return [value, float(low), float(high)]


def left_out(x: Sequence[float], y: Sequence[float], sets: Sequence[str]) -> np.ndarray | None:
    """Absolute errors [runs, 2] when each set is forecast from the others: by a line in x, by their mean."""
    x, y, names = np.asarray(x, float), np.asarray(y, float), np.asarray(sets)
    if len(set(sets)) < FEWEST:
        return None
    errors = np.zeros((len(x), 2))
    for name in set(sets):
        out, rest = names == name, names != name
        slope, intercept = np.polyfit(x[rest], y[rest], 1) if np.ptp(x[rest]) > 0 else (0.0, y[rest].mean())
        errors[out, 0] = np.abs(slope * x[out] + intercept - y[out])
        errors[out, 1] = np.abs(y[rest].mean() - y[out])
    return errors


def mean_over_sets(values: np.ndarray, sets: Sequence[str]) -> list[float | None]:
    """[mean, low, high]: a 95% percentile interval over redrawn sets."""
    return bootstrap(values.tolist(), values.tolist(), sets, lambda x, _: float(x.mean()))


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided exact p that two states of a model rank equally many of the same pairs right."""
    better, worse = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def share(hits: int, n: int) -> str:
    """`k of n [low, high]` with the exact 95% interval."""
    if not n:
        return "–"
    low, high = stats.binomtest(hits, n).proportion_ci()
    return f"{hits} of {n} [{low:.2f}, {high:.2f}]"


def by_cell(rows: Sequence[Row]) -> dict[tuple[str, str], Mapping[str, Row]]:
    """Stored rows of the grid by (model, set), and there by `method/variant/seed`."""
    cells: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["variant"] != "own":
            name = f"{row['method']}/{row['variant']}/{row['seed']}"
            cells.setdefault((row["model"], row["set"]), {})[name] = row
    return cells
