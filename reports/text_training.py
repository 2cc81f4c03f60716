"""Training in a terminal: curves as one line each, the diagnosis of a log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.text import Text

from ..number_format import number, plain
from ..records import Run
from .curves import BOTH, Panel, Point, Series, logged, panels
from .text_page import PageLayout
from .view import details

BARS = "▁▂▃▄▅▆▇█"


def autopsy_lines(run: Run, page: PageLayout) -> list[Text]:
    """What a log's diagnosis rests on, and what to do next."""
    autopsy = run.details.get("autopsy") or {}
    if not autopsy:
        return []
    tags = ", ".join(str(tag) for tag in autopsy.get("tags") or ())
    parts = (
        ("signs", tags),
        ("evidence", plain(autopsy.get("evidence") or "")),
        ("next", plain(autopsy.get("next") or "")),
    )
    return [line for name, text in parts if text for line in page.wrap(text, first=f"{name.ljust(8)}  ")]


def curve_lines(run: Run, page: PageLayout) -> list[Text]:
    """A line for each curve: first value, shape, last value."""
    found = panels(logged(run))
    series = {_name(panel, one): one for panel in found for one in panel.series}
    wide = max((len(name) for name in series), default=0)
    room = max(4, min(48, page.width - wide - 25))
    lines = [page.line(f"{name.ljust(wide)}  ", *_shape(one.points, room)) for name, one in series.items()]
    section = "training" if "training" in run.details else "a short trial"
    return [page.line((section, "bold")), *lines] if lines else []


def _name(panel: Panel, series: Series) -> str:
    return panel.title if series.name == BOTH[0] else f"{panel.title}, {series.name}"


def _shape(points: Sequence[Point], width: int) -> list[str]:
    values = [value for _, value in points]
    ends = [number(value if math.isfinite(value) else None) for value in (values[0], values[-1])]
    return [f"{ends[0]:>10} ", sparkline(values, width), f" {ends[1]}"]


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as at most `width` bars, each the last of its share; `×` where one of them is no number."""
    if len(values) > width:
        cuts = [i * len(values) // width for i in range(width + 1)]
        values = [_last(values[a:b]) for a, b in pairwise(cuts)]
    finite = [value for value in values if math.isfinite(value)]
    low, span = (min(finite), (max(finite) - min(finite)) or 1.0) if finite else (0.0, 1.0)
    return "".join(BARS[round((v - low) / span * 7)] if math.isfinite(v) else "×" for v in values)


def _last(values: Sequence[float]) -> float:
    return values[-1] if all(map(math.isfinite, values)) else math.nan


def axis_lines(run: Run, page: PageLayout) -> list[Text]:
    """Where these pairs stand between no signal and trivial, and the texts that give a side away."""
    axis = run.details.get("axis") or {}
    lines: list[Text] = []
    if axis.get("regions") and axis.get("position") is not None:
        width = min(page.width, 96)
        bars = "".join(_region(str(name), float(a), float(b), width) for name, a, b in axis["regions"])
        lines += [page.line(bars), page.line(_pointer(axis, width))]
    giveaways = [str(text) for text in details(run, "giveaways")]
    shown = giveaways if page.everything else giveaways[:5]
    lines += [line for text in shown for line in page.wrap(text, first="  · ")]
    hidden = len(giveaways) - len(shown)
    return lines + ([page.line((f"  {hidden} more giveaways: --all", "dim"))] if hidden else [])


def _region(name: str, start: float, end: float, width: int) -> str:
    cells = round(end * width) - round(start * width)
    label = f" {name} " if len(name) + 3 <= cells else name
    return ("│" + label[: cells - 1].center(cells - 1, "─"))[:cells]


def _pointer(axis: Mapping[str, Any], width: int) -> str:
    position = float(axis.get("position") or 0.0)
    place = min(round(position * width), width - 1)
    note = f" {position:.2f}"
    return " " * place + "▲" + note if place + len(note) < width else note.rjust(place) + "▲"
