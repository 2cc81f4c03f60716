"""Rows that a bench has measured, one JSON object a line, and the block of a page that is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def stored(path: Path) -> list[Row]:
    """The rows so far; none where nothing is stored."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def model_name(model: str | None) -> str:
    """How a row names its model: by its file or directory, wherever that lies; `embedded` for None."""
    return Path(model).name.removesuffix(".gguf") if model else "embedded"


def append(path: Path, row: Row) -> None:
    """Add one row, so that a bench that is killed goes on after it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(row))


def rewrite(path: Path, rows: Iterable[Row]) -> None:
    """Put these rows in place of those stored."""
    path.write_text("".join(map(_line, rows)), encoding="utf-8")


def with_block(page: str, name: str, text: str) -> str:
    """The page with `text` between its marks `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def write_block(page: Path, name: str, text: str) -> None:
    """Make the block of that name on the page anew."""
    page.write_text(with_block(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def provenance() -> Row:
    """When and of which commit a row was made."""
    from probe.runs import environment, now

    found = environment()
    return {"created": now(), "git": found["git"], **found["packages"]}


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
