"""SVG pieces. Horizontal places are per cent, vertical ones pixels: text keeps its size at every width."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from ..escape import visible
from .axis import tick_label, ticks

Axis = tuple[float, float]


def place(value: float, axis: Axis) -> str:
    """Where `value` lies on `axis`, as per cent of the width, kept inside."""
    low, high = axis
    share = (value - low) / ((high - low) or 1.0)
    return f"{100 * min(max(share, 0.0), 1.0):.4g}%"


def figure(title: str, desc: str, height: int, parts: Iterable[Markup], kind: str = "plot") -> Markup:
    """A plot with its alternative text."""
    return (
        Markup('<svg class="{}" role="img" width="100%" height="{}"><title>{}</title><desc>{}</desc>').format(
            kind, height, visible(title), visible(desc)
        )
        + Markup("").join(parts)
        + Markup("</svg>")
    )


def line(x1: str, y1: float, x2: str, y2: float, kind: str) -> Markup:
    """A straight line of CSS class `kind`."""
    return Markup('<line x1="{}" y1="{:g}" x2="{}" y2="{:g}" class="{}"/>').format(x1, y1, x2, y2, kind)


def rect(x: str, y: float, width: str, height: float, kind: str) -> Markup:
    """A filled rectangle."""
    return Markup('<rect x="{}" y="{:g}" width="{}" height="{:g}" class="{}"/>').format(
        x, y, width, height, kind
    )


def dot(x: str, y: float, radius: float, kind: str, told: str = "", line: str = "") -> Markup:
    """A filled circle; what is `told` shows under the cursor, `line` says which row a click leads to."""
    if not told:
        return Markup('<circle cx="{}" cy="{:g}" r="{:g}" class="{}"/>').format(x, y, radius, kind)
    return Markup(
        '<circle cx="{}" cy="{:g}" r="{:g}" class="{}" data-line="{}"><title>{}</title></circle>'
    ).format(x, y, radius, kind, line, escape(visible(told)))


def text(x: str, y: float, words: str, kind: str = "label", anchor: str = "start") -> Markup:
    """A line of text; `anchor` is start, middle or end."""
    return Markup('<text x="{}" y="{:g}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, kind, anchor, escape(visible(words))
    )


def bottom_axis(axis: Axis, y: float, most: int = 6) -> list[Markup]:
    """A base line with tick labels; the outermost are anchored inwards so that none is cut."""
    parts = [line("0%", y, "100%", y, "axis")]
    for tick in ticks(*axis, most=most):
        x = place(tick, axis)
        share = float(x[:-1])
        anchor = "start" if share < 4 else "end" if share > 96 else "middle"
        parts += [line(x, y, x, y + 4, "axis"), text(x, y + 16, tick_label(tick), "tick", anchor)]
    return parts
