"""Checks of how many independent pairs the file has: on how many prompts, in which groups, for what power."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...number_format import count
from ...records import Estimate, Finding, Severity
from ...stats.power import least_clusters, sign_test_power
from ...stats.statistics import share
from .limits import DataLimits
from .result import CheckResult, Data
from .row_flags import Flag

FEW_PAIRS = 20  # independent pairs; below, only win rates above .8 can be shown


def prompts(data: Data, limits: DataLimits) -> CheckResult:
    """How many different prompts the pairs really have.

    PB325 few prompts: the pairs come from few different prompts.

    Means: The effective number of prompts (1 / Σ share², so n when all differ) is a small part of the
    number of pairs, or one prompt has a large part of them.
    Why: Pairs that share a prompt are not independent: intervals widen, and training sees little variety.
    Do: Add prompts rather than further responses to the same ones.
    Source: Hill 1973, number of order 2; clusters as in Miller 2024.
    """
    own = data.columns.keys[~data.columns.has(Flag.NO_PROMPT), 0]
    sizes = np.unique(own, return_counts=True)[1]
    if own.size < 2:
        return CheckResult("effective_prompts", None, limits["effective_prompts"])
    effective = float(own.size**2 / np.square(sizes.astype(float)).sum())
    largest = share(int(sizes.max()), int(own.size), name="largest_prompt")
    diversity = Estimate(
        "effective_prompts", effective, None, None, int(own.size), None, "1/Σ share²", "prompts"
    )
    few = effective < limits["effective_prompts"] * own.size
    crowded = sizes.max() > max(limits["largest_prompt"] * own.size, 1)
    finding = None
    if few or crowded:
        finding = Finding(
            "PB325",
            "warning",
            f"{own.size:,} pairs have {sizes.size:,} prompts, as good as {effective:,.1f} of equal weight; "
            f"one prompt has {int(sizes.max()):,} pairs",
            "Add prompts rather than further responses to the same ones.",
            estimate=largest,
        )
    return CheckResult(
        "largest_prompt", int(sizes.max()), limits["largest_prompt"], (largest, diversity), finding
    )


def unequal_groups(data: Data, limits: DataLimits) -> CheckResult:
    """Groups that are too unequal to compare, or only one where a field promises several.

    PB326 unbalanced groups: groups are of very different sizes, or there is just one.

    Means: The largest group has many times the pairs of the smallest, a group has fewer prompts than any test
    can use, or a field that should distinguish groups has the same value in every row.
    Why: The large group decides what is learned and measured; small ones remain "undetermined".
    Do: Add pairs to the small groups, or name the field that groups them by `--fields group=FIELD`.
    Source: six independent pairs are the least that a two-sided sign test at .05 can use.
    """
    sizes = np.bincount(data.columns.groups, minlength=len(data.groups))
    small, large = int(sizes.argmin()), int(sizes.argmax())
    ratio = float(sizes[large] / sizes[small])
    severity: Severity = "warning"
    if len(sizes) == 1:
        severity, message = "info", _single(data)
    elif ratio > limits["group_ratio"]:
        message = (
            f'group "{data.groups[small]}" has {count(int(sizes[small]), "pair")}, '
            f'"{data.groups[large]}" has {sizes[large]:,}'
        )
    else:
        message = _too_small(data, sizes)
    finding = None
    if message:
        remedy = "Balance the groups, or name the field that groups the pairs by --fields group=FIELD."
        finding = Finding("PB326", severity, message, remedy)
    return CheckResult("group_ratio", len(sizes), limits["group_ratio"], (), finding)


def _too_small(data: Data, sizes: npt.NDArray[np.int64]) -> str | None:
    """What to say of groups that have fewer pairs of different prompts than any test can use."""
    asked = [np.unique(data.prompts[data.columns.groups == i]).size for i in range(len(sizes))]
    few = [int(i) for i in np.argsort(asked, kind="stable") if asked[i] < least_clusters()]
    if not few or independent(data) < least_clusters():  # of such a file PB327 says it
        return None
    which = f'group "{data.groups[few[0]]}" has' if len(few) == 1 else f"{len(few)} groups have at most"
    last = few[-1]
    held = count(int(sizes[last]), "pair") if asked[last] == sizes[last] else count(asked[last], "prompt")
    return f"{which} {held}; {least_clusters()} is the least number that can show anything"


def _single(data: Data) -> str | None:
    """What to say of one group: its name if the file gives one, else a field that never varies."""
    if data.n < 2:
        return None
    if data.grouped:
        return f'all {data.n:,} pairs are of one group, "{data.groups[0]}"'
    for name, values in data.categories.items():
        if len(values) == 1 and sum(values.values()) == data.n:
            return f'"{name}" says "{next(iter(values))}" in all {data.n:,} pairs: a single group'
    return None


def too_few_pairs(data: Data, limits: DataLimits) -> CheckResult:
    """What this many pairs can show.

    PB327 few pairs: the number of independent pairs bounds what can be measured and learned.

    Means: With this many pairs only large effects can be told from none; the message says how large. Pairs
    that share a prompt may lean alike, and how far cannot be known from the file: they are taken for one, so
    that the effective number of prompts is what counts.
    Why: An undetermined result on few pairs is no sign of neutrality, and few pairs are soon memorised.
    Do: Add pairs on other prompts if smaller effects matter; `probe bias` says how many more would settle an
    open case. Below {FEW_PAIRS} independent pairs it is a warning.
    Source: exact power of the two-sided sign test at .05; 199 independent pairs tell a share of .6 from one
    half with 80% power. Pairs of a prompt count as one where nothing else is known: Miller 2024.
    """
    n = independent(data)
    if n >= limits["too_few_pairs"]:
        return CheckResult("too_few_pairs", n, limits["too_few_pairs"])
    estimate = Estimate(
        "pairs", float(n), None, None, data.n, None, "pairs of one prompt count as one", "pairs"
    )
    few = n < FEW_PAIRS
    severity: Severity = "warning" if few else "info"
    remedy = (
        f"Add pairs on other prompts: {FEW_PAIRS} show a clear effect, about {10 * FEW_PAIRS} most others."
        if few
        else ""
    )
    finding = Finding("PB327", severity, _reach(data, n), remedy, estimate=estimate)
    return CheckResult("too_few_pairs", n, limits["too_few_pairs"], (), finding)


def independent(data: Data) -> int:
    """How many independent pairs there are at the least: the effective number of prompts, rounded down.

    Six prompts or more count as six at least, since a unanimous result on them is one, however unequal their
    shares.
    """
    sizes = np.unique(data.prompts, return_counts=True)[1].astype(float)
    effective = int(sizes.sum() ** 2 / np.square(sizes).sum()) if sizes.size else 0
    return max(effective, min(sizes.size, least_clusters()))


def _reach(data: Data, n: int) -> str:
    """The least win rate that n independent pairs tell from one half with 80% power, in words."""
    held = count(data.n, "pair")
    prompts = int(np.unique(data.prompts).size)
    if n < least_clusters():
        on, unit = (f" on {count(prompts, 'prompt')}", " prompts") if prompts < data.n else ("", "")
        return (
            f"{held}{on} cannot show a preference, however clear; {least_clusters()}{unit} are the least "
            "that can"
        )
    rates = np.arange(0.505, 1.0001, 0.005)
    rate = next((rate for rate in rates if sign_test_power(n, float(rate)) >= 0.8), 1.0)
    power = f"the tests have 80% power only for a preference that wins {100 * rate:.0f}% of them or more"
    if prompts == data.n:
        return f"with {held} {power}"
    return (
        f"with {held} on {prompts:,} prompts, taken for {n:,} independent ones since nothing is known of how "
        f"alike the pairs of a prompt are, {power}"
    )


SIZE_CHECKS = (prompts, unequal_groups, too_few_pairs)
