"""A prefix tree over token sequences, laid flat in one row. Pure NumPy.

Sequences that begin alike (the two sides of a pair, pairs that share a prompt, a template, few-shot text)
share the tokens they begin with, so a model computes each distinct prefix once. The row holds every node of
the tree depth first; a token may attend to its own node and to its ancestors, never to a sibling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..stats.statistics import Ints


@dataclass(frozen=True, slots=True)
class Node:
    """A run of tokens without a branch: row positions [start, stop), the first at depth `depth`."""

    start: int
    stop: int
    depth: int
    parent: int  # index of the node above, -1 at a root


@dataclass(frozen=True, slots=True)
class Tree:
    """Sequences packed in one row.

    `ids`, `depths`: [row] token ids and their positions in their own sequences. `nodes`: depth first.
    `where[s]`: [len(sequence s)] row position of each of its tokens, in the order the sequences were given.
    """

    ids: Ints
    depths: Ints
    nodes: tuple[Node, ...]
    where: tuple[Ints, ...]


def build_tree(sequences: Sequence[Sequence[int]]) -> Tree:
    """Pack non-empty token sequences into one row of distinct prefixes.

    Sorting brings sequences with equal beginnings together; then each shares with the row exactly what it
    shares with its predecessor, and adds the rest.
    """
    arrays = [np.asarray(s, dtype=np.int64) for s in sequences]
    order = sorted(range(len(arrays)), key=lambda s: tuple(sequences[s]))
    row: list[Ints] = []
    depths: list[Ints] = []
    where: list[Ints] = [np.empty(0, np.int64)] * len(arrays)
    size, last = 0, np.empty(0, np.int64)
    places = np.empty(0, np.int64)
    for s in order:
        shared = common_prefix(last, arrays[s])
        fresh = len(arrays[s]) - shared
        places = np.concatenate([places[:shared], np.arange(size, size + fresh)])
        row.append(arrays[s][shared:])
        depths.append(np.arange(shared, shared + fresh))
        where[s], last, size = places, arrays[s], size + fresh
    ids = np.concatenate(row) if row else np.empty(0, np.int64)
    nodes = _nodes([where[s] for s in order], size)
    return Tree(ids, np.concatenate(depths) if depths else ids, nodes, tuple(where))


def common_prefix(a: Ints, b: Ints) -> int:
    """How many leading tokens two sequences share."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


def _nodes(paths: Sequence[Ints], size: int) -> tuple[Node, ...]:
    """Cut the row into nodes: one starts where a path leaves the row's order or another path branches off."""
    parent = np.full(size, -1, dtype=np.int64)  # row position of the token before, -1 at a root
    depth = np.zeros(size, dtype=np.int64)
    for path in paths:
        parent[path[1:]] = path[:-1]
        depth[path] = np.arange(len(path))
    children = np.bincount(parent[parent >= 0], minlength=size)
    previous = np.arange(size) - 1
    starts = np.flatnonzero((parent != previous) | (parent < 0) | (children[previous] > 1))
    stops = np.append(starts[1:], size)
    owner = np.searchsorted(starts, np.arange(size), side="right") - 1
    return tuple(
        Node(int(a), int(b), int(depth[a]), int(owner[parent[a]]) if parent[a] >= 0 else -1)
        for a, b in zip(starts, stops, strict=True)
    )


def ancestors(nodes: Sequence[Node], index: int) -> list[int]:
    """Indices of the nodes above `index`, root first."""
    chain: list[int] = []
    while (index := nodes[index].parent) >= 0:
        chain.append(index)
    return chain[::-1]
