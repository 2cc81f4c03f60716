"""Checks across the file: pairs that repeat, contradict or leak."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...stats.statistics import Bools
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .words import UInts, combined, repeats


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


FILE_CHECKS = (contradicting_labels, duplicates, near_duplicates)
AGAINST_CHECKS = (leaked, near_leaked)
