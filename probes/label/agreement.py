"""Coefficients of agreement between labellers: Cohen's κ for two, Krippendorff's α for any number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from scipy import special

from ...records import Estimate

JudgeLabels = Sequence[Hashable | None]


def cohen_kappa(
    first: JudgeLabels, second: JudgeLabels, *, alpha: float = 0.05, group: str = "all"
) -> Estimate:
    """κ = (p_o − p_e)/(1 − p_e) of two labellers of the same items, with its large-sample interval.

    p_o is the observed agreement, p_e that of independent labellers with the same habits. No value when both
    use one label only; no interval when they never differ, where the formula would give zero width.
    Sources: Cohen 1960; standard error by Fleiss, Cohen and Everitt 1969, eq. 13.
    """
    table = Counter(zip(first, second, strict=True))
    n = len(first)
    rows, columns = Counter(first), Counter(second)
    method = "Cohen's kappa, large-sample interval"
    chance = sum(rows[label] * columns[label] for label in rows) / n**2 if n else 1.0
    if chance == 1:
        return Estimate("kappa", None, None, None, n, None, method, "kappa", group)
    observed = sum(count for (a, b), count in table.items() if a == b) / n
    kappa = (observed - chance) / (1 - chance)
    # n(1 − p_e)⁴ var κ = Σ_i p_ii[(1 − p_e) − (p_i. + p_.i)(1 − p_o)]²
    #                   + (1 − p_o)² Σ_i≠j p_ij(p_.i + p_j.)² − (p_o p_e − 2p_e + p_o)²
    variance = -((observed * chance - 2 * chance + observed) ** 2)
    for (a, b), count in table.items():
        if a == b:
            term = (1 - chance) - (rows[a] + columns[a]) / n * (1 - observed)
        else:
            term = (1 - observed) * (columns[a] + rows[b]) / n
        variance += count / n * term**2
    se = math.sqrt(max(variance, 0) / n) / (1 - chance) ** 2
    low, high = _around(kappa, se if observed < 1 else 0.0, float(special.ndtri(1 - alpha / 2)))
    return Estimate("kappa", kappa, low, high, n, None, method, "kappa", group)


def krippendorff_alpha(units: Sequence[JudgeLabels], *, alpha: float = 0.05, group: str = "all") -> Estimate:
    """α = 1 − D_o/D_e for nominal labels, with a jackknife interval over units.

    `units` holds the labels that each item got, None (or absence) where a labeller gave none; items with
    fewer than two labels say nothing and are left out. `n` counts the others. No value when all labels are
    the same; no interval when leaving any unit out changes nothing. Sources: Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability"; Efron and Stein 1981 (jackknife).
    """
    tables = [Counter(label for label in unit if label is not None) for unit in units]
    tables = [table for table in tables if table.total() > 1]
    n = len(tables)
    whole = _alpha(tables)
    method = "Krippendorff's alpha (nominal), jackknife over pairs"
    if whole is None:
        return Estimate("krippendorff_alpha", None, None, None, n, None, method, "alpha", group)
    left_out = [_alpha(tables[:i] + tables[i + 1 :]) for i in range(n)]
    low, high = _around(whole, _jackknife_se(left_out), float(special.stdtrit(n - 1, 1 - alpha / 2)))
    return Estimate("krippendorff_alpha", whole, low, high, n, None, method, "alpha", group)


def _alpha(tables: Sequence[Counter[Hashable]]) -> float | None:
    """α from the label counts of each unit: disagreeing pairs of labels, seen against expected.

    A unit with m labels weighs its ordered pairs by 1/(m − 1), so that it counts m labels in all.
    """
    totals: Counter[Hashable] = Counter()
    seen = 0.0
    for table in tables:
        m = table.total()
        seen += sum(k * (m - k) for k in table.values()) / (m - 1)
        totals.update(table)
    n = totals.total()
    expected = sum(k * (n - k) for k in totals.values()) / (n - 1) if n > 1 else 0.0
    return 1 - seen / expected if expected else None


def _jackknife_se(left_out: Sequence[float | None]) -> float:
    values = [value for value in left_out if value is not None]
    if len(values) < max(len(left_out), 2):  # without some unit there is no α: nothing to build on
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt((len(values) - 1) / len(values) * sum((v - mean) ** 2 for v in values))


def _around(value: float, se: float, reach: float) -> tuple[float, float] | tuple[None, None]:
    """value ± reach·se, cut at the coefficients' range; None when it would have no width."""
    if not se > 0:
        return None, None
    return max(-1.0, value - reach * se), min(1.0, value + reach * se)
