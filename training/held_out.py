"""The pairs that a training run held out: drawn again from its record, and as a file of their own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import atomic
from ..pairs.formats import rows_of
from ..pairs.record import Pair
from ..records import Run
from .data import prompt_key, split_by_prompt

HELD_OUT_FILE = "held-out.jsonl"


@dataclass(frozen=True, slots=True)
class Drawable:
    """What a split needs of a pair."""

    prompt: str
    line: int


def drawable(run: Run, pairs: Iterable[Pair]) -> list[Drawable]:
    """The pairs that a run could train on: those that had a score."""
    scores = run.inputs.get("scores") or {}
    excluded = {row["line"] for row in scores.get("excluded") or ()}
    return [Drawable(prompt_key(pair), pair.line) for pair in pairs if pair.line not in excluded]


def trained_lines(run: Run, pairs: Sequence[Pair]) -> frozenset[int]:
    """The lines that a run of `probe train` trained on, `pairs` being those of its file."""
    share, seed = float(run.config.get("held_out") or 0.0), int(run.config.get("seed") or 0)
    return frozenset(item.line for item in split_by_prompt(drawable(run, pairs), share, seed)[0])


def write_held_out(source: Path, directory: Path, lines: Collection[int]) -> Path:
    """The rows of `source` at `lines`, as they are, in a file of `directory`: nothing there was trained on.

    Raises `ProbeError` where the source cannot be read any more.
    """
    target = directory / HELD_OUT_FILE
    with atomic(target) as out:
        for line, row in rows_of(source):
            if line in lines:
                out.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    return target
