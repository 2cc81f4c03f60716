"""Training curves: which panels a log has, drawn in characters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..number_format import place_text
from ..records import Run

PAIR_SIDES = ("chosen", "rejected")
Point = tuple[float, float]
BOTH = ("training", "held out")
# Title, columns and what the two curves of a panel are called.
PANELS: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
    ("loss", ("loss", "eval_loss"), BOTH),
    ("accuracy", ("rewards/accuracies", "eval_rewards/accuracies"), BOTH),
    ("margin", ("rewards/margins", "eval_rewards/margins"), BOTH),
    ("logps", ("logps/chosen", "logps/rejected"), PAIR_SIDES),
    ("logps, held out", ("eval_logps/chosen", "eval_logps/rejected"), PAIR_SIDES),
    ("reward", ("reward", "eval_reward"), BOTH),
    ("perplexity of --watch", ("eval_perplexity",), BOTH),
    ("trial: accuracy, unseen", ("unseen/accuracies",), BOTH),
    ("trial: margin, unseen", ("unseen/margins",), BOTH),
    ("grad_norm", ("grad_norm",), BOTH),
)
MOST_SETS = 2
LEAST_STEPS = 5  # of a short trial: a line through a batch or two looks like learning, and is chance
TINY = 1e-30  # under this a difference is rounding
LARGEST_VALUE = 1e100  # a value beyond it is drawn as no number
POINT_MARKS = ("•", "○")
ASCII_MARKS = ("*", "o")


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve. A value that is no number is NaN and drawn as a cross."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One or two curves on common axes. `stage`: of a training in several, each with steps of its own."""

    title: str
    series: tuple[Series, ...]
    stage: str = ""

    def finite(self) -> list[Point]:
        """All points that can be placed."""
        return [p for s in self.series for p in s.points if math.isfinite(p[1])]


def logged(run: Run) -> list[Mapping[str, Any]]:
    """The rows of `details["trial"]` and of `details["training"]["log_history"]`."""
    return [
        *(run.details.get("trial") or ()),
        *((run.details.get("training") or {}).get("log_history") or ()),
    ]


def panels(history: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """The panels of a log's rows: only those with two points or more, of a trial's with `LEAST_STEPS`.

    Where the rows name several stages, each has its own panels: their steps begin anew, and a loss of one
    method is no loss of another.
    """
    rows = list(history)
    stages = list(dict.fromkeys(str(row.get("stage") or "") for row in rows))
    if len(stages) < 2:
        return _panels(rows)
    return [
        replace(panel, title=f"{stage}: {panel.title}" if stage else panel.title, stage=stage)
        for stage in stages
        for panel in _panels([row for row in rows if str(row.get("stage") or "") == stage])
    ]


def _panels(rows: Sequence[Mapping[str, Any]]) -> list[Panel]:
    found = [_panel(rows, *panel) for panel in PANELS]
    sets = sorted({k for row in rows for k in row if re.fullmatch(r"eval_.+_loss", k)})
    if sets and not any("eval_loss" in row for row in rows):
        names = [name.removeprefix("eval_").removesuffix("_loss") for name in sets]
        found.insert(1, _panel(rows, "loss", sets[:MOST_SETS], names))
    return [panel for panel in found if panel.finite() and _long_enough(panel)]


def _long_enough(panel: Panel) -> bool:
    least = LEAST_STEPS if panel.title.startswith("trial:") else 2
    return max(len(s.points) for s in panel.series) >= least


def _panel(
    rows: Sequence[Mapping[str, Any]], title: str, columns: Sequence[str], names: Sequence[str]
) -> Panel:
    series = (Series(name, _points(rows, column)) for name, column in zip(names, columns, strict=False))
    return Panel(title, tuple(s for s in series if s.points))


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[Point, ...]:
    return tuple((_float(row.get("step"), 0.0), _float(row[name])) for row in rows if name in row)


def _float(value: Any, other: float = math.nan) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return other
    return number if abs(number) < LARGEST_VALUE else other


def draw(panel: Panel, width: int = 38, height: int = 6, ascii_only: bool = False) -> list[str]:
    """The panel as lines of `width` characters: names, `height` rows, axis, first and last step.

    Where a column holds several entries it shows their mean. `x` on the axis: entries without a number.
    """
    marks = ASCII_MARKS if ascii_only else POINT_MARKS
    across = width - 10
    first, last = _span([x for s in panel.series for x, _ in s.points])
    shown = [_binned(s.points, first, last, across) for s in panel.series]
    low, high = _span([v for means in shown for v in means if v is not None and math.isfinite(v)])
    grid = _grid(shown, marks, height, low, high)
    bar, corner, floor = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    labels = [f"{high:.3g}", *[""] * (height - 2), f"{low:.3g}"]
    rows = [f"{f'{text:>8}'[:9]:9}{bar}{''.join(cells)}" for text, cells in zip(labels, grid, strict=True)]
    ends = place_text(first) + place_text(last).rjust(across - len(place_text(first)))
    return [_head(panel, marks, width), *rows, f"{'':9}{corner}{floor * across}", f"{'':10}{ends}"[:width]]


def _head(panel: Panel, marks: Sequence[str], width: int) -> str:
    named = (f"{mark} {s.name}" for mark, s in zip(marks, panel.series, strict=False))
    text = "  ".join([panel.title, *named])
    return f"{' ' * min(10, max(0, width - len(text)))}{text}"[:width].ljust(width)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low > max(TINY, 1e-12 * abs(high)):
        return low, high
    return low, low + (abs(low) * 0.01 if abs(low) > TINY else 1.0)


def _binned(points: Sequence[Point], first: float, last: float, width: int) -> list[float | None]:
    """The mean of each of `width` columns: None where it has no entry, NaN where none has a number."""
    columns: list[list[float]] = [[] for _ in range(width)]
    for x, value in points:
        columns[min(width - 1, int((x - first) / (last - first) * width))].append(value)
    known = [[v for v in values if math.isfinite(v)] for values in columns]
    return [
        sum(v / len(some) for v in some) if some else math.nan if values else None
        for some, values in zip(known, columns, strict=True)
    ]


def _grid(
    shown: Sequence[Sequence[float | None]], marks: Sequence[str], height: int, low: float, high: float
) -> list[list[str]]:
    """Rows of characters, the highest values first; the first curve is drawn over the second."""
    grid = [[" "] * len(shown[0]) for _ in range(height)]
    for means, mark in reversed(list(zip(shown, marks, strict=False))):
        for column, mean in enumerate(means):
            if mean is not None and math.isfinite(mean):
                grid[round((high - mean) / (high - low) * (height - 1))][column] = mark
            elif mean is not None:
                grid[-1][column] = "x"
    return grid


def in_columns(drawn: Sequence[Sequence[str]], width: int) -> list[str]:
    """Drawn panels in as many columns as fit into `width`, an empty line between rows of panels."""
    if not drawn:
        return []
    wide = max(len(line) for line in drawn[0])
    per_row = max(1, (width + 2) // (wide + 2))
    rows = [drawn[i : i + per_row] for i in range(0, len(drawn), per_row)]
    blocks = [
        ["  ".join(line.ljust(wide) for line in lines).rstrip() for lines in zip(*row, strict=True)]
        for row in rows
    ]
    return [line for i, block in enumerate(blocks) for line in ([""] if i else []) + block]
