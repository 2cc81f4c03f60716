"""Entries whose metrics stand in several rows: a logger that is called twice an entry writes two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .rows import PLACES, SUMMARY, Raw

FEWEST_PARTED = 3  # entries that must be parted alike
PARTED_ALIKE = 0.9  # of the entries have as many rows as most


def whole_entries(rows: list[Raw]) -> list[Raw]:
    """The rows with those of one entry joined, at the place of its first, where all entries are parted alike.

    So in a W&B log whose loss and accuracies are of two calls, each counted as a step. Joined are only rows
    of training that have no metric in common, one of which has the loss; else `rows` come back as they are.
    """
    own = [i for i, row in enumerate(rows) if _of_training(row)]
    heads = [n for n, i in enumerate(own) if "loss" in rows[i]]
    if len(heads) < FEWEST_PARTED:
        return rows
    # The loss may stand in the first row of an entry or in its last.
    starts = heads if not heads[0] else [0, *(n + 1 for n in heads if n + 1 < len(own))]
    groups = [own[a:b] for a, b in pairwise([*starts, len(own)])]
    if not _parted_alike(rows, groups):
        return rows
    joined = {group[0]: _joined([rows[i] for i in group]) for group in groups}
    gone = {i for group in groups for i in group[1:]}
    return [joined.get(i, row) for i, row in enumerate(rows) if i not in gone]


def _of_training(row: Raw) -> bool:
    return bool(row.keys() - PLACES) and not any(k.startswith("eval_") or k in SUMMARY for k in row)


def _parted_alike(rows: Sequence[Raw], groups: Sequence[Sequence[int]]) -> bool:
    most = max(map(len, groups))
    alike = sum(len(group) == most for group in groups)
    return (
        most > 1
        and alike >= PARTED_ALIKE * (len(groups) - 1)
        and all(_apart(rows, group) for group in groups)
    )


def _apart(rows: Sequence[Raw], group: Sequence[int]) -> bool:
    """Whether no metric stands in two rows of a group."""
    names = [rows[i].keys() - PLACES for i in group]
    return sum(map(len, names)) == len(frozenset().union(*names))


def _joined(rows: Sequence[Raw]) -> Raw:
    whole: Raw = {}
    for row in rows:
        whole |= {k: v for k, v in row.items() if k not in whole}
    return whole
