"""Checks across the file: pairs that repeat, contradict or leak, prompts, groups, and how many there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...number_format import count
from ...records import Estimate, Finding, Severity
from ...stats.power import least_clusters, sign_test_power
from ...stats.statistics import Bools, share
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .row_flags import Flag
from .words import UInts, mix, repeats

FEW_PAIRS = 20  # pairs; below, only win rates above .8 can be shown


def combined(*columns: UInts) -> UInts:
    """One key for several, in their order."""
    key = np.zeros_like(columns[0])
    for column in columns:
        key = mix((key * np.uint64(3)) ^ column)
    return key


def contradictions(data: Data) -> Bools:
    """Which rows have their sides the other way round in another row of the same prompt."""
    return _contradict(data.columns.exact)


def _contradict(keys: UInts) -> Bools:
    prompt, chosen, rejected = keys.T
    swapped = np.isin(combined(prompt, chosen, rejected), combined(prompt, rejected, chosen))
    return np.asarray(swapped & (chosen != rejected))


def contradicting_labels(data: Data, limits: DataLimits) -> CheckResult:
    """The same pair with its sides swapped.

    PB320 contradicting labels: the same prompt and sides appear with the labels swapped.

    Means: One row prefers A to B, another row of the same prompt prefers B to A. Where they are the same but
    for case, character width or spacing, which a question may turn on, it is a warning.
    Why: Their gradients cancel; they show that labels are noisy, or that two files were joined the wrong
    way round.
    Do: Decide each case; `--fix` drops both rows where they are the same to the letter, since neither can be
    trusted.
    Source: by definition of a preference.
    """
    certain, loose = contradictions(data), _contradict(data.columns.keys)
    sure, alike = bool(certain.any()), int((loose & ~certain).sum())
    but = "but for case or spacing"
    more = f", {but}" if not sure else f"; {alike:,} more {but}" if alike else ""
    return counted_check(
        "contradicting_labels",
        certain if sure else loose,
        data.columns.lines,
        limits,
        severity="error" if sure else "warning",
        what=f"say the opposite of another pair{more}",
        remedy="Decide which label holds, or drop both by --fix." if sure else "Decide which label holds.",
    )


def duplicated(data: Data) -> Bools:
    """Which rows repeat prompt and both sides of an earlier row."""
    return repeats(combined(*data.columns.exact.T))


def duplicates(data: Data, limits: DataLimits) -> CheckResult:
    """Pairs that are there twice.

    PB321 duplicates: pairs repeat an earlier pair.

    Means: Prompt and both sides are the same as in an earlier row, white space at their ends aside.
    Why: They count double in training, and leak between halves when the file is split at random.
    Do: Drop the repeats with `--fix`.
    Source: Lee et al. 2022, "Deduplicating training data makes language models better".
    """
    return counted_check(
        "duplicates",
        duplicated(data),
        data.columns.lines,
        limits,
        severity="warning",
        what="repeat an earlier pair",
        remedy="Drop the repeats with --fix.",
    )


def _rows(data: Data, rows: npt.NDArray[np.int64]) -> Bools:
    hits = np.zeros(data.n, dtype=bool)
    hits[rows] = True
    return hits


def near_duplicates(data: Data, limits: DataLimits) -> CheckResult:
    """Pairs that are nearly there twice.

    PB322 near duplicates: pairs are nearly the same as an earlier pair.

    Means: The prompt, the chosen and the rejected side each share at least 80% of their words (as sets)
    with those of an earlier row.
    Why: The file is smaller than it looks, and a random split of it leaks.
    Do: Keep one of each cluster, or split by cluster.
    Source: candidates by MinHash (Broder 1997), each confirmed by its exact Jaccard similarity; the .8 is
    Lee et al. 2022.
    """
    return counted_check(
        "near_duplicates",
        _rows(data, data.near.rows),
        data.columns.lines,
        limits,
        severity="warning",
        what="are nearly the same as an earlier one",
        remedy="Keep one of each, or split the file by such clusters.",
    )


def leaked(data: Data, limits: DataLimits) -> CheckResult:
    """Prompts that stand in the file that must be apart.

    PB323 leaked: prompts of this file also stand in the --against file.

    Means: The same prompt, or for pairs without prompts the same two sides, is a row of the other file.
    Why: One file for training and one for testing must not share prompts, or the test measures memory.
    Do: Drop these prompts from one of the files.
    Source: by definition of a held-out set; words are compared without case and spacing.
    """
    assert data.leaked is not None
    return counted_check(
        "leaked",
        data.leaked,
        data.columns.lines,
        limits,
        severity="error",
        what=f"have a prompt that also stands in {data.against}",
        remedy="Drop these prompts from one of the two files.",
    )


def near_leaked(data: Data, limits: DataLimits) -> CheckResult:
    """Pairs that nearly stand in the file that must be apart.

    PB324 near leak: pairs are nearly the same as one of the --against file.

    Means: Prompt and both sides each share at least 80% of their words with a row of the other file.
    Why: A test on such pairs measures memory for the most part.
    Do: Drop them from one of the files.
    Source: as PB322.
    """
    assert data.near_leaked is not None
    return counted_check(
        "near_leaked",
        _rows(data, data.near_leaked.rows),
        data.columns.lines,
        limits,
        severity="warning",
        what=f"are nearly the same as one of {data.against}",
        remedy="Drop them from one of the two files.",
    )


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

    Means: The largest group has many times the pairs of the smallest, a group has fewer pairs than any test
    can use, or a field that should distinguish groups has the same value in every row.
    Why: The large group decides what is learned and measured; small ones remain "undetermined".
    Do: Add pairs to the small groups, or name the field that groups them by `--fields group=FIELD`.
    Source: six pairs are the least that a two-sided sign test at .05 can use.
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
    """What to say of groups that have fewer pairs than any test can use."""
    few = [int(i) for i in np.argsort(sizes, kind="stable") if sizes[i] < least_clusters()]
    if not few or data.n < least_clusters():  # of such a file PB327 says it
        return None
    which = f'group "{data.groups[few[0]]}" has' if len(few) == 1 else f"{len(few)} groups have at most"
    held = count(int(sizes[few[-1]]), "pair")
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

    PB327 few pairs: the number of pairs bounds what can be measured and learned.

    Means: With this many pairs only large effects can be told from none; the message says how large.
    Why: An undetermined result on few pairs is no sign of neutrality, and few pairs are soon memorised.
    Do: Add pairs if smaller effects matter; `probe bias` says how many more would settle an open case.
    Below {FEW_PAIRS} pairs it is a warning.
    Source: exact power of the two-sided sign test at .05; 199 pairs tell a share of .6 from one half with
    80% power. Prompts shared by several pairs lower it further.
    """
    if data.n >= limits["too_few_pairs"]:
        return CheckResult("too_few_pairs", data.n, limits["too_few_pairs"])
    estimate = Estimate("pairs", float(data.n), None, None, data.n, None, "count", "pairs")
    few = data.n < FEW_PAIRS
    severity: Severity = "warning" if few else "info"
    remedy = (
        f"Add pairs on other prompts: {FEW_PAIRS} show a clear effect, about {10 * FEW_PAIRS} most others."
        if few
        else ""
    )
    finding = Finding("PB327", severity, _reach(data.n), remedy, estimate=estimate)
    return CheckResult("too_few_pairs", data.n, limits["too_few_pairs"], (), finding)


def _reach(n: int) -> str:
    """The least win rate that n pairs tell from one half with 80% power, in words."""
    if n < least_clusters():
        return (
            f"{count(n, 'pair')} cannot show a preference, however clear; {least_clusters()} are the least "
            "that can"
        )
    rates = np.arange(0.505, 1.0001, 0.005)
    rate = next((rate for rate in rates if sign_test_power(n, float(rate)) >= 0.8), 1.0)
    return (
        f"with {n:,} pairs the tests have 80% power only for a preference that wins {100 * rate:.0f}% of "
        "them or more"
    )


FILE_CHECKS = (contradicting_labels, duplicates, near_duplicates, prompts, unequal_groups, too_few_pairs)
AGAINST_CHECKS = (leaked, near_leaked)
