"""Training curves as SVG: one small plot a panel, the guard's marks in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..number_format import number
from ..records import Run
from .curves import Panel, Point, Series, logged, panels
from .plots import marks_at
from .svg import Axis, bottom_axis, figure, line, place, text

MOST_POINTS = 400  # points of a curve
CURVE_HEIGHT, CURVE_TOP, CURVE_BASE = 150, 20, 122


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel's title, the names of its curves in the order of their classes c0 and c1, and the plot."""

    title: str
    names: tuple[str, ...]
    plot: Markup


def drawn_panels(run: Run) -> list[Drawn]:
    """A plot for every panel of the run's logs, with the guard's marks on those of training."""
    events = (run.details.get("training") or {}).get("guard") or []
    return [
        Drawn(panel.title, tuple(s.name for s in panel.series), _plot(panel, [] if unseen(panel) else events))
        for panel in panels(logged(run))
    ]


def unseen(panel: Panel) -> bool:
    """Whether this is a trial's panel: its steps are not those of the training."""
    return panel.title.startswith("trial")


def _plot(panel: Panel, events: Sequence[Mapping[str, Any]]) -> Markup:
    steps = [x for series in panel.series for x, _ in series.points]
    values = [y for _, y in panel.finite()]
    across: Axis = (min(0.0, *steps), max(steps))
    up: Axis = (min(values), max(values))
    curves = [_curve(series.points, across, up, f"curve c{i}") for i, series in enumerate(panel.series)]
    inner = Markup(
        '<svg y="{}" width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">{}</svg>'
    ).format(CURVE_TOP, CURVE_BASE - CURVE_TOP, Markup("").join(curves))
    parts = [
        inner,
        *_broken(panel, across),
        *marks_at(events, across, CURVE_BASE),
        text("0%", 12, number(up[1]), "tick"),
        text("0%", CURVE_BASE - 4, number(up[0]), "tick"),
        *bottom_axis(across, CURVE_BASE, most=5),
    ]
    return figure(panel.title, "; ".join(_told(series) for series in panel.series), CURVE_HEIGHT, parts)


def _curve(points: Sequence[Point], across: Axis, up: Axis, kind: str) -> Markup:
    """A polyline for every stretch without a gap; what is no number breaks it."""
    stretches: list[list[str]] = [[]]
    for x, y in _thinned(points):
        if math.isfinite(y):
            stretches[-1].append(f"{_share(x, across) * 1000:.4g},{100 - _share(y, up) * 100:.4g}")
        elif stretches[-1]:
            stretches.append([])
    polyline = Markup('<polyline class="{}" points="{}"/>')
    return Markup("").join(polyline.format(kind, " ".join(part)) for part in stretches if part)


def _thinned(points: Sequence[Point]) -> list[Point]:
    stride, last = -(-len(points) // MOST_POINTS), len(points) - 1
    # The last point stays; so does everything that is no number, which matters most.
    return [p for i, p in enumerate(points) if i % stride == 0 or i == last or not math.isfinite(p[1])]


def _share(value: float, axis: Axis) -> float:
    low, high = axis
    # Halved, because the span of values near the largest float is no float itself.
    return (value / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)


def _broken(panel: Panel, across: Axis) -> list[Markup]:
    steps = {x for series in panel.series for x, y in series.points if not math.isfinite(y)}
    return [
        line(x, CURVE_TOP, x, CURVE_BASE, "broken") for x in sorted({place(step, across) for step in steps})
    ]


def _told(series: Series) -> str:
    first, last = (number(y if math.isfinite(y) else None) for _, y in (series.points[0], series.points[-1]))
    broken = sum(not math.isfinite(y) for _, y in series.points)
    note = f", {broken} of them no number" if broken else ""
    return f"{series.name} from {first} to {last} over {len(series.points)} entries{note}"
