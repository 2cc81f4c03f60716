"""The journal of `probe sample`: every candidate that was drawn, on the disk as soon as its batch is.

Its first line says what was drawn from and how; only the same settings may go on with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import CannotMeasure, ProbeError
from ...files import writable
from .select import SampledResponse


def read_journal(path: Path, head: Mapping[str, Any]) -> list[SampledResponse]:
    """The candidates of an earlier, unfinished run; a last line that was cut off by a kill is left out.

    Raises `ProbeError` for a journal that was drawn with other settings.
    """
    if not path.exists():
        return []
    whole = _without_torn_line(path)
    try:
        first, *rows = [json.loads(line) for line in whole.split("\n")[:-1]] or [head]
        if not isinstance(first, dict):
            raise TypeError("no settings in its first line")
        found = [SampledResponse(**row) for row in rows]
    except (ValueError, TypeError) as error:
        raise ProbeError(f"{path}: not candidates of `probe sample` ({error}). Move it away.") from error
    if first != json.loads(json.dumps(head)):
        other = [key for key in head if first.get(key) != json.loads(json.dumps(head[key]))]
        named = ", ".join(other) or "setting"
        raise ProbeError(f"{path}: drawn with another {named}. Move it away, or choose another --to.")
    return found


def _without_torn_line(path: Path) -> str:
    """The text of the journal; what a kill left of a last line is cut off on the disk too."""
    with path.open("r+b") as file:
        whole = b"".join(file.read().rpartition(b"\n")[:2])
        file.truncate(len(whole))
    return whole.decode("utf-8")


def append(path: Path, candidates: Iterable[SampledResponse], head: Mapping[str, Any]) -> None:
    """Add candidates to the journal, opening a new one with `head`, and wait for the disk."""
    try:
        path = writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for row in [*([] if file.tell() else [head]), *map(_row, candidates)]:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CannotMeasure(f"{path}: {error.strerror}. Free space; the same command goes on.") from error


def _row(candidate: SampledResponse) -> dict[str, Any]:
    drawn = asdict(candidate)
    return {key: drawn[key] for key in ("line", "text", "temperature", "draw", "seed", "ended")}
