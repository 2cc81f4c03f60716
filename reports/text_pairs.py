"""Pairs in a terminal: where the model leans most, in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ..records import Run
from .numbers import number
from .text_page import Page
from .view import details, sides

MOST = 3


def pair_lines(run: Run, page: Page) -> list[Text]:
    """The worst pairs, then the best, a few of each unless everything is asked for."""
    first, second = sides(run)
    lines: list[Text] = []
    for key, side in (("worst", second), ("best", first)):
        rows = details(run, key)
        shown = rows if page.everything else rows[:MOST]
        if shown:
            lines += (
                [Text(), page.line((f"leaning most to {side}", "bold"))]
                if lines
                else [page.line((f"leaning most to {side}", "bold"))]
            )
            lines += [line for row in shown for line in _pair(row, (first, second), page)]
    return lines


def _pair(row: Mapping[str, Any], names: tuple[str, str], page: Page) -> list[Text]:
    place = [f"line {row['line']}"] if row.get("line") else []
    place += [str(row["group"])] if row.get("group") else []
    head = page.line(
        "  ", (number(row.get("gap"), "nats"), "bold"), f"  {row.get('id')}", (f"  {', '.join(place)}", "dim")
    )
    wide = max(len(page.text(name)) for name in names)
    lines = [head]
    rows = 0 if page.everything else 2
    if row.get("prompt"):
        lines += page.wrap(
            str(row["prompt"]), first=f"    {'prompt'.ljust(wide)}  ", style="dim", rows=rows and 1
        )
    for key, name in zip(("chosen", "rejected"), names, strict=True):
        text = str((row.get(key) or {}).get("text") or "")
        lines += page.wrap(text, first=f"    {page.text(name).ljust(wide)}  ", rows=rows)
    return lines
