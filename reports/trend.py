"""The main numbers over saved runs: one small plot a number, a point with its interval for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from ..number_format import number
from .axis import ends
from .svg import dot, figure, line, text

TREND_HEIGHT, TREND_TOP, TREND_BASE = 150, 24, 118
MOST_NUMBERED = 6  # points with their numbers, and names; of more the first and the last have room for them


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """A plot for each row of `details.trend`, whose `points` are the runs in their order."""
    return [_figure(row) for row in rows]


def _figure(row: Mapping[str, Any]) -> Markup:
    points, units = row["points"], str(row["units"])
    low, high = ends(p.get(key) for p in points for key in ("value", "low", "high"))
    zero = _up(0.0, low, high)
    parts = [text("0%", 12, f"{row['name']}, {units}", "label")]
    parts += [line("0%", zero, "100%", zero, "zero")] if low <= 0 <= high else []
    places = [(f"{100 * (i + 0.5) / len(points):.4g}%", p) for i, p in enumerate(points)]
    known = [(x, p) for x, p in places if p.get("value") is not None]
    for (x1, a), (x2, b) in pairwise(known):
        parts.append(line(x1, _up(a["value"], low, high), x2, _up(b["value"], low, high), "bound"))
    for i, (x, point) in enumerate(places):
        told = len(places) <= MOST_NUMBERED or i in (0, len(places) - 1)
        parts += _point(x, point, units, (low, high), told=told)
    values = "; ".join(f"{p['run']} {number(p.get('value'), units)}" for p in points)
    return figure(str(row["name"]), values, TREND_HEIGHT, parts)


def _point(
    x: str, point: Mapping[str, Any], units: str, axis: tuple[float, float], *, told: bool
) -> list[Markup]:
    parts = [text(x, TREND_BASE + 18, str(point["run"]), "tick", "middle")] if told else []
    if point.get("low") is not None and point.get("high") is not None:
        parts.append(line(x, _up(point["low"], *axis), x, _up(point["high"], *axis), "ci part"))
    if point.get("value") is not None:
        y = _up(point["value"], *axis)
        parts.append(dot(x, y, 4, "point part"))
        anchor = "end" if float(x[:-1]) > 80 else "start"
        name = f"  {number(point['value'], units)}  "
        parts += [text(x, max(y - 8, TREND_TOP), name, "tick", anchor)] if told else []
    return parts


def _up(value: float, low: float, high: float) -> float:
    return round(TREND_BASE - (TREND_BASE - TREND_TOP) * (value - low) / ((high - low) or 1.0), 1)
