"""`--fix`: the file without the rows that are certainly broken, and a log of what was left out and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...files import atomic
from ...pairs.formats import rows_of
from ...pairs.read import Strict
from ...pairs.rows import BadRow
from .file_checks import contradictions, duplicated
from .result import Data
from .row_flags import Flag

DROP_REASONS = {
    "PB300": "holds no pair",
    "PB301": "has an empty side",
    "PB302": "has identical sides",
    "PB320": "says the opposite of another pair",
    "PB321": "repeats an earlier pair",
}


def certainly_broken(data: Data) -> dict[int, str]:
    """The lines that no decision can save, each with the code of the first reason."""
    columns = data.columns
    empty = (columns.words[:, 1:] == 0).any(axis=1)
    unread = columns.has(Flag.UNREAD)  # what is not read may tell such rows apart
    found = {
        "PB321": duplicated(data) & ~unread,
        "PB320": contradictions(data) & ~unread,
        "PB302": columns.has(Flag.IDENTICAL),
        "PB301": empty,
    }
    broken = {int(line): code for code, hits in found.items() for line in columns.lines[hits]}
    return broken | {bad.line: "PB300" for bad in data.bad}


def write_fixed(
    source: Path, target: Path, broken: Mapping[int, str], fields: Mapping[str, str] | None = None
) -> tuple[Path, int, int]:
    """Write the rows of `source` that are not broken as JSON Lines to `target`.

    Returns the log's path, and how many rows were kept and dropped. What `probe` would refuse to read under
    the same `fields` is dropped as well.

    The log `TARGET.dropped.jsonl` has a row per dropped line: line, code, reason and the row itself.
    Raises `ProbeError` when `target` is `source`, or nothing would be left.
    """
    log = target.with_name(f"{target.name}.dropped.jsonl")
    if source.exists() and any(path.exists() and path.samefile(source) for path in (target, log)):
        raise ProbeError(f"--fix {target}: is the file itself. Give another name; the original is kept.")
    kept, lost, strict = 0, 0, Strict(fields or {})
    with atomic(target) as good, atomic(log) as dropped:
        for line, row in rows_of(source):
            code, reason = broken.get(line), ""
            if code is None:
                try:
                    strict.check(text := _json(row), kept + 1)
                    good.write(text)
                    kept += 1
                    continue
                except (BadRow, ValueError) as error:
                    code, reason = "PB300", str(error)
            lost += 1
            reason = reason or (str(row) if isinstance(row, BadRow) else DROP_REASONS[code])
            plain = None if isinstance(row, BadRow) else row
            dropped.write(_json({"line": line, "code": code, "reason": reason, "row": plain}))
        if not kept:
            raise ProbeError(f"--fix {target}: nothing would be left of {source}. Correct the rows by hand.")
    return log, kept, lost


def _json(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
