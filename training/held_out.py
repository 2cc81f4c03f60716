"""The rows that a training run held out, as a file of their own."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from ..files import atomic
from ..pairs.formats import rows_of

HELD_OUT_FILE = "held-out.jsonl"


def write_held_out(source: Path, directory: Path, lines: Collection[int]) -> None:
    """Write the rows of `source` at `lines`, as they are, to `HELD_OUT_FILE`: none of them is trained on.

    Called before training, so that a source that goes away loses nothing. Raises `ProbeError` where it has.
    """
    with atomic(directory / HELD_OUT_FILE) as out:
        for line, row in rows_of(source):
            if line in lines:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
