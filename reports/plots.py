"""The plots of the HTML report: pure functions from rows to SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..number_format import count, number
from .axis import ends, round_step, tick_label
from .svg import Axis, bottom_axis, dot, figure, line, place, rect, text
from .view import IntervalCell, Table

PlotRows = Sequence[Mapping[str, Any]]
SLOTS = 120  # places along a strip; dots of one place are stacked
RISE, TALL = 7.0, 84.0  # pixels from dot to dot of a stack, and of the tallest stack
MOST_GROUPS = 12  # strips, the largest groups
MOST_HOVERED = 2500  # pairs; with more, a dot is not told under the cursor
MOST_STACKED = 84  # dots of a stack; more could not be told apart
THINNEST = 0.3  # per cent of the width: the least that a bar has, and what parts it from the next


def interval_bar(cell: IntervalCell, table: Table, total: bool) -> Markup:
    """One interval on its table's axis. The row's other cells hold the numbers, so readers skip it."""
    middle = 11
    parts = [line(x, 0, x, 22, "bound") for x in (place(mark, table.axis) for mark in table.marks)]
    if table.axis[0] < 0 <= table.axis[1]:
        parts.append(line(place(0, table.axis), 0, place(0, table.axis), 22, "zero"))
    kind = "whole" if total else "part"
    if cell.low is not None and cell.high is not None:
        low, high = place(cell.low, table.axis), place(cell.high, table.axis)
        parts.append(line(low, middle, high, middle, f"ci {kind}"))
        parts += [line(x, middle - 4, x, middle + 4, f"ci {kind}") for x in (low, high)]
    if cell.value is not None:
        parts.append(dot(place(cell.value, table.axis), middle, 5 if total else 4, f"point {kind}"))
    return Markup('<svg class="bar" aria-hidden="true" width="100%" height="22">{}</svg>').format(
        Markup("").join(parts)
    )


def interval_axis(table: Table) -> Markup:
    """The axis above the interval bars."""
    return Markup('<svg class="bar" aria-hidden="true" width="100%" height="20">{}</svg>').format(
        Markup("").join(bottom_axis(table.axis, 0, most=4))
    )


def axis_told(table: Table) -> str:
    """The axis of the interval bars in words, for a screen without room for it."""
    low, high = table.axis
    marks = f"; dotted: {' and '.join(map(_signed, table.marks))}" if table.marks else ""
    return f"{_signed(low)} to {_signed(high)}{marks}."


def _signed(value: float) -> str:
    return ("" if value < 0 else "+") + tick_label(value)


def gap_strips(pairs: PlotRows, first: str, second: str, bound: float | None, of: str) -> Markup:
    """A dot for every pair at its gap, a strip for every group, equal places stacked. `of`: which pairs."""
    gaps, told = _gaps(pairs), len(pairs) <= MOST_HOVERED
    axis = ends((gap for _, gap in gaps), bound)
    sizes = Counter(group for group, _ in gaps)
    names = [name for name, _ in sizes.most_common(MOST_GROUPS)]
    stacks = {name: _stacks([r for r in pairs if (r.get("group") or "all") == name], axis) for name in names}
    highest = max(len(stack) for of in stacks.values() for stack in of.values())
    rise = min(RISE, TALL / highest)
    row = 30 + rise * highest
    height = round(row * len(names)) + 50
    parts = [*_zones(axis, bound, height - 24), *_sides(first, second)]
    for i, (name, stack) in enumerate(stacks.items()):
        base = 20 + row * (i + 1)
        parts += [text("0%", base - row + 20, name), *_dots(stack, axis, base, rise, told)]
    if len(sizes) > MOST_GROUPS:
        parts.append(text("50%", 11, f"the {MOST_GROUPS} largest of {len(sizes)} groups", "tick", "middle"))
    desc = (
        f"{count(len(gaps), 'pair')} in {count(len(sizes), 'group')}; right of zero the model prefers "
        f"{first}, left {second}."
    )
    return figure(f"Gap of {of}", desc, height, [*parts, *bottom_axis(axis, height - 24)])


def _gaps(pairs: PlotRows) -> list[tuple[str, float]]:
    return [(str(r.get("group") or "all"), float(r["gap"])) for r in pairs if r.get("gap") is not None]


def _stacks(pairs: PlotRows, axis: Axis) -> dict[float, list[Mapping[str, Any]]]:
    """The pairs of each place along the axis, by the gap that they are drawn at.

    Places are parted at zero: however small a gap is, its dot lies on the side that it favours.
    """
    width = (axis[1] - axis[0]) / SLOTS
    stacks: dict[float, list[Mapping[str, Any]]] = {}
    for pair in pairs:
        if pair.get("gap") is not None:
            gap = float(pair["gap"])
            stacks.setdefault((math.floor(gap / width) + 0.5) * width if gap else 0.0, []).append(pair)
    return stacks


def _dots(stacks: Mapping[float, PlotRows], axis: Axis, base: float, rise: float, told: bool) -> list[Markup]:
    return [
        dot(
            place(gap, axis),
            base - rise * level - 4,
            3,
            _favours(gap),
            *(_told(pairs[level]) if told else ()),
        )
        for gap, pairs in sorted(stacks.items())
        for level in _levels(len(pairs))
    ]


def _levels(n: int) -> Iterable[int]:
    """Which dots of a stack of `n` are drawn: so many that it has its height, the lowest and highest too."""
    drawn = min(n, MOST_STACKED)
    return (i * (n - 1) // max(drawn - 1, 1) for i in range(drawn))


def _favours(gap: float) -> str:
    """The class of a dot, which is its colour."""
    return "first" if gap > 0 else "second" if gap < 0 else "tie"


def _told(pair: Mapping[str, Any]) -> tuple[str, str]:
    """What a dot says under the cursor, and the line that a click leads to."""
    line = str(pair.get("line") or "")
    place = f"line {line}, " if line else ""
    return f"{place}{pair.get('id')}: {number(float(pair['gap']), 'nats')} nats/token", line


def _zones(axis: Axis, bound: float | None, height: float) -> list[Markup]:
    zero = line(place(0, axis), 16, place(0, axis), height, "zero")
    if not bound:
        return [zero]
    left, right = (float(place(x, axis)[:-1]) for x in (-bound, bound))
    return [rect(f"{left:.4g}%", 16, f"{right - left:.4g}%", height - 16, "neutral"), zero]


def _sides(first: str, second: str) -> list[Markup]:
    return [text("0%", 11, f"← {second}", "second-name"), text("100%", 11, f"{first} →", "first-name", "end")]


def gap_histogram(pairs: PlotRows, first: str, second: str, bound: float | None) -> Markup:
    """How many pairs lie in each stretch of the gap."""
    gaps = [gap for _, gap in _gaps(pairs)]
    axis = ends(gaps, bound)
    step = round_step((axis[1] - axis[0]) / 24)
    counts = Counter(round(gap // step) for gap in gaps)
    highest = max(counts.values(), default=1)
    height, base = 240, 200
    parts = [*_zones(axis, bound, base), *_sides(first, second)]
    for k, held in sorted(counts.items()):
        x, right = (float(place(step * edge, axis)[:-1]) for edge in (k, k + 1))
        x = min(x, 100 - THINNEST)  # a gap at the very end of the axis opens a bar of its own there
        tall = 164 * held / highest
        parts.append(
            rect(
                f"{x:.4g}%",
                base - tall,
                f"{max(right - x - THINNEST, THINNEST):.4g}%",
                tall,
                "first" if k >= 0 else "second",
            )
        )
        if held == highest:
            parts.append(text(f"{(x + right) / 2:.4g}%", base - tall - 5, f"{held}", "tick", "middle"))
    told = count(len(gaps), "pair")
    desc = f"{told} in steps of {step:g} nats/token; the tallest bar holds {highest}."
    return figure("Distribution of the gap", desc, height, [*parts, *bottom_axis(axis, base)])


def length_plot(pairs: PlotRows, first: str, second: str) -> Markup:
    """Gap against the difference in length: is it length that the model prefers?"""
    known = [r for r in pairs if None not in (r.get("chosen_tokens"), r.get("rejected_tokens"), r.get("gap"))]
    points = [(float(r["chosen_tokens"]) - float(r["rejected_tokens"]), float(r["gap"])) for r in known]
    across, up = ends(x for x, _ in points), ends(y for _, y in points)
    height, top, base = 240, 16, 200
    told = len(points) <= MOST_HOVERED
    places = {
        (place(x, across), round(base - (base - top) * _share(y, up))): (y, row)
        for (x, y), row in zip(points, known, strict=True)
    }
    zero = base - (base - top) * _share(0, up)
    parts = [
        line("0%", zero, "100%", zero, "zero"),
        line(place(0, across), top, place(0, across), base, "zero"),
        text("100%", 11, f"{first} preferred ↑", "first-name", "end"),
        text("100%", base - 6, f"{second} preferred ↓", "second-name", "end"),
        *[
            dot(x, y, 3, _favours(gap), *(_told(row) if told else ()))
            for (x, y), (gap, row) in places.items()
        ],
        *bottom_axis(across, base),
        text("50%", base + 34, f"tokens of {first} − tokens of {second}", "tick", "middle"),
    ]
    told_of = count(len(points), "pair")
    desc = f"{told_of}: across, how many tokens {first} is longer; up, the gap in nats/token."
    return figure("Length against gap", desc, height, parts)


def _share(value: float, axis: Axis) -> float:
    return (value - axis[0]) / ((axis[1] - axis[0]) or 1.0)


def signal_axis(axis: Mapping[str, Any]) -> Markup:
    """Where the pairs stand between no signal, learnable and trivial."""
    parts: list[Markup] = []
    names = []
    for i, (name, start, stop) in enumerate(axis["regions"]):
        parts.append(rect(f"{100 * start:.4g}%", 22, f"{100 * (stop - start):.4g}%", 14, f"region r{i}"))
        parts.append(text(f"{50 * (start + stop):.4g}%", 52, str(name), "tick", "middle"))
        names.append(f"{name} from {start:g} to {stop:g}")
    position, ends_ = float(axis["position"]), (axis.get("low"), axis.get("high"))
    if ends_[0] is not None and ends_[1] is not None:
        parts.append(line(f"{100 * ends_[0]:.4g}%", 29, f"{100 * ends_[1]:.4g}%", 29, "ci whole"))
    anchor = "end" if position > 0.85 else "start" if position < 0.15 else "middle"
    parts += [
        dot(f"{100 * position:.4g}%", 29, 6, "point whole"),
        text(f"{100 * position:.4g}%", 13, f"{position:.2f}", "label", anchor),
    ]
    return figure("Where these pairs stand", f"at {position:.2f}; {'; '.join(names)}", 60, parts)


def changes(rows: PlotRows) -> Markup:
    """Before and after, for gaps in nats/token: an arrow a row.

    Log-probs lie far from zero; on one axis with the gaps they would hide the change of both.
    """
    shown = [
        r
        for r in rows
        if str(r.get("name")).startswith("gap") and None not in (r.get("before"), r.get("after"))
    ]
    if not shown:
        return Markup("")
    axis = ends(x for r in shown for x in (r["before"], r["after"]))
    height = 40 * len(shown) + 30
    parts = _zones(axis, None, height - 24)
    for i, row in enumerate(shown):
        y = 40 * i + 28
        before, after = place(row["before"], axis), place(row["after"], axis)
        parts += [
            text("0%", y - 12, _named(row)),
            line(before, y, after, y, "ci part"),
            dot(before, y, 4, "hollow"),
            dot(after, y, 5, "point whole"),
        ]
    desc = "; ".join(f"{_named(r)} from {r['before']:.2f} to {r['after']:.2f}" for r in shown)
    return figure(
        "Before (open) and after (full) training", desc, height, [*parts, *bottom_axis(axis, height - 24)]
    )


def _named(row: Mapping[str, Any]) -> str:
    group = str(row.get("group") or "all")
    return str(row["name"]) if group == "all" else f"{row['name']}, {group}"


def marks_at(events: Iterable[Mapping[str, Any]], axis: Axis, height: float) -> list[Markup]:
    """The guard's marks: a line at each step where it spoke, with its first word there and how many more."""
    by_step: dict[float, list[str]] = {}
    for event in events:
        by_step.setdefault(float(event.get("step") or 0), []).append(str(event.get("event")))
    parts = []
    for step, words in by_step.items():
        x = place(step, axis)
        # The gravest speaks: a stop ends the run, a warning does not.
        word = next((word for word in words if word.startswith("stop")), words[0])
        more = f" +{len(words) - 1}" if len(words) > 1 else ""
        anchor = "end" if float(x[:-1]) > 50 else "start"
        parts += [line(x, 12, x, height, "guard"), text(x, 10, word + more, "guard-name", anchor)]
    return parts
