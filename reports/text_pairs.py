"""Pairs in a terminal: where the model leans most, in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..number_format import number
from ..records import Run
from .command_line import show_command
from .text_page import PageLayout
from .view import details, sides

PAIRS_SHOWN = 3
NAME_CELLS = 14  # cells of a side's name


def pair_lines(run: Run, page: PageLayout) -> list[Text]:
    """The worst pairs, then the best, a few of each unless everything is asked for."""
    first, second = sides(run)
    lines: list[Text] = []
    for key, side in (("worst", second), ("best", first)):
        rows = details(run, key)
        shown = rows if page.everything else rows[:PAIRS_SHOWN]
        if shown:
            lines += [Text()] if lines else []
            lines += page.wrap(f"leaning most to {side}", style="bold")
            lines += [line for row in shown for line in _pair(row, (first, second), page)]
            lines += show_line(run, page) if key == "worst" else []
    return lines


def show_line(run: Run, page: PageLayout) -> list[Text]:
    """The command that shows the worst pair as the model reads it."""
    command = show_command(run)
    return page.command(command, "worst pair: ", "dim") if command else []


def _pair(row: Mapping[str, Any], sides: tuple[str, str], page: PageLayout) -> list[Text]:
    place = [f"line {row['line']}"] if row.get("line") else []
    place += [str(row["group"])] if row.get("group") else []
    gap = f"  {number(row.get('gap'), 'nats')}  "
    lines = page.wrap(f"{row.get('id')}  {', '.join(place)}", first=gap)
    lines[0].stylize("bold", 0, len(gap))
    names = [page.clip(side, NAME_CELLS) for side in sides]
    wide = max(map(cell_len, ["prompt" if row.get("prompt") else "", *names]))
    rows = 0 if page.everything else 2
    if row.get("prompt"):
        lead = f"    {set_cell_size('prompt', wide)}  "
        lines += page.wrap(str(row["prompt"]), first=lead, style="dim", rows=rows and 1)
    for key, name in zip(("chosen", "rejected"), names, strict=True):
        text = str((row.get(key) or {}).get("text") or "")
        lines += page.wrap(text, first=f"    {set_cell_size(name, wide)}  ", rows=rows)
    return lines
