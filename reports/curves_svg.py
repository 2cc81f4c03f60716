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
from .svg import Axis, bottom_axis, dot, figure, line, place, text

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
        Drawn(panel.title, tuple(s.name for s in panel.series), _plot(panel, _spoken(panel, events)))
        for panel in panels(logged(run))
    ]


def _spoken(panel: Panel, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The guard's events at this panel's steps; of several stages each event's text opens with its own."""
    if unseen(panel):
        return []
    lead = f"{panel.stage}: " if panel.stage else ""
    return [event for event in events if str(event.get("text") or "").startswith(lead)]


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
        *_lone(panel, across, up),
        *_broken(panel, across),
        *marks_at(events, across, CURVE_BASE),
        text("0%", 12, number(up[1]), "tick"),
        text("0%", CURVE_BASE - 4, number(up[0]), "tick"),
        *bottom_axis(across, CURVE_BASE, most=5),
    ]
    return figure(panel.title, "; ".join(_told(series) for series in panel.series), CURVE_HEIGHT, parts)


def _curve(points: Sequence[Point], across: Axis, up: Axis, kind: str) -> Markup:
    """A polyline for every stretch without a gap; what is no number breaks it."""
    polyline = Markup('<polyline class="{}" points="{}"/>')
    return Markup("").join(
        polyline.format(
            kind,
            " ".join(f"{_share(x, across) * 1000:.4g},{100 - _share(y, up) * 100:.4g}" for x, y in stretch),
        )
        for stretch in _stretches(points)
        if len(stretch) > 1
    )


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """The points between those that are no number; there may be none."""
    stretches: list[list[Point]] = [[]]
    for point in _thinned(points):
        if math.isfinite(point[1]):
            stretches[-1].append(point)
        else:
            stretches.append([])
    return stretches


def _lone(panel: Panel, across: Axis, up: Axis) -> list[Markup]:
    """A dot where a curve has one number alone: a line through it would have no length."""
    tall = CURVE_BASE - CURVE_TOP
    return [
        dot(place(x, across), CURVE_BASE - _share(y, up) * tall, 3, f"lone c{i}")
        for i, series in enumerate(panel.series)
        for stretch in _stretches(series.points)
        if len(stretch) == 1
        for x, y in stretch
    ]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """About `MOST_POINTS` at most: of each part its lowest and its highest, so that no spike is lost, besides
    the first and the last of all, and everything that is no number, which matters most."""
    size, last = -(-2 * len(points) // MOST_POINTS), len(points) - 1
    kept = {0, last} | {i for i, (_, y) in enumerate(points) if not math.isfinite(y)}
    for start in range(0, len(points), size):
        part = [i for i in range(start, min(start + size, last + 1)) if i not in kept]
        kept |= {pick(part, key=lambda i: points[i][1]) for pick in (min, max) if part}
    return [points[i] for i in sorted(kept)]


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
