"""Plots show what the numbers are: no pair on the other side, no stack cut, no spike, no lone value lost."""

import dataclasses
import math
import re
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.reports import curves_svg, plots, trend
from probe.reports.html import render
from probe.reports.text import render as text_report
from probe.reports.view import Table

CIRCLE = re.compile(r'<circle cx="([^"]*)%" cy="([^"]*)" r="3" class="(\w+)"')
ZERO = re.compile(r'<line x1="([^"]*)%"[^>]*class="zero"')
RECT = re.compile(r'<rect x="([^"]*)%"[^>]*width="([^"]*)%" height="([^"]*)" class="(first|second)"')


def pair(line, gap):
    return {"id": f"p{line}", "line": line, "gap": gap, "chosen_tokens": 3 + line % 4, "rejected_tokens": 4}


def strips(gaps):
    drawn = plots.gap_strips([pair(i + 1, gap) for i, gap in enumerate(gaps)], "A", "B", None, "every pair")
    return float(ZERO.search(drawn)[1]), [(float(x), float(y), kind) for x, y, kind in CIRCLE.findall(drawn)]


@given(st.lists(st.floats(-50, 50).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=1, max_size=60))
def test_a_dot_lies_on_the_side_that_its_pair_favours(gaps):
    zero, dots = strips(gaps)
    assert len(dots) == len(gaps)
    kinds = [kind for *_, kind in dots]
    assert kinds.count("first") == sum(gap > 0 for gap in gaps)
    assert kinds.count("second") == sum(gap < 0 for gap in gaps)
    for x, _, kind in dots:
        side = (x > zero) - (x < zero)
        assert side == {"first": 1, "second": -1, "tie": 0}[kind] or math.isclose(x, zero, abs_tol=1e-2)


def test_a_stack_of_more_dots_is_the_higher_one():
    """Dots that could not be told apart are left out, and the height stays that of all pairs."""
    _, dots = strips([0.5] * 500 + [1.0] * 84)
    heights = defaultdict(list)
    for x, y, _ in dots:
        heights[x].append(y)
    most, fewer = (max(ys) - min(ys) for _, ys in sorted(heights.items()))
    assert math.isclose(fewer / most, 83 / 499, rel_tol=0.01)
    assert max(map(len, heights.values())) == plots.MOST_STACKED


@given(
    st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0]), min_size=1, max_size=30)
)
def test_every_bar_of_a_histogram_is_inside_it(gaps):
    drawn = plots.gap_histogram([pair(i, gap) for i, gap in enumerate(gaps)], "A", "B", None)
    bars = [tuple(map(float, bar[:3])) for bar in RECT.findall(drawn)]
    assert bars and all(x >= 0 and x + width <= 100.01 and width > 0 for x, width, _ in bars)


def test_the_axis_in_words_is_the_axis():
    table = Table("x", "x", (), (), axis=(-1.25, 0.375), marks=(-0.125, 0.125))
    assert plots.axis_told(table) == "−1.25 to +0.375; dotted: −0.125 and +0.125."


def test_plots_say_of_which_pairs_they_are(bias_run):
    assert "<title>Gap of every pair</title>" in render(bias_run)
    inputs = {**bias_run.inputs, "pairs": {**bias_run.inputs["pairs"], "n": 25_000}}
    html = render(dataclasses.replace(bias_run, inputs=inputs))
    assert html.count("24 of 25,000 pairs") == 5 and "every pair" not in html.split("</style>")[1]
    one = dataclasses.replace(bias_run, details={"pairs": [pair(1, 0.2)]}, inputs={})
    assert "1 pair in 1 group;" in render(one)


def drawn(run, rows, guard=()):
    training = {"log_history": rows, "guard": list(guard)}
    return curves_svg.drawn_panels(dataclasses.replace(run, details={"training": training}))


def places(plot):
    return [
        [tuple(map(float, p.split(","))) for p in line.split()]
        for line in re.findall(r'points="([^"]*)"', plot)
    ]


def test_a_spike_of_one_step_is_drawn(bias_run):
    rows = [{"step": i, "loss": 50.0 if i == 1777 else 1.0 + i % 3 / 9} for i in range(1, 4001)]
    (line,) = places(drawn(bias_run, rows)[0].plot)
    assert min(y for _, y in line) == 0 and len(line) <= 2 * curves_svg.MOST_POINTS
    assert [x for x, _ in line] == sorted(x for x, _ in line)


@pytest.mark.parametrize("last", [40, 20])
def test_a_value_that_stands_alone_is_a_dot(bias_run, last):
    """One evaluation, or a number between two that are none: a line through it has no length."""
    rows = [{"step": i, "loss": 1 / i} for i in range(1, 41)]
    rows[last - 1]["eval_loss"] = 0.4
    panel = drawn(bias_run, rows)[0]
    assert panel.names == ("training", "held out")
    assert len(re.findall(r'<circle[^>]*class="lone c1"', panel.plot)) == 1
    broken = [{"step": i, "loss": "nan" if i % 2 else 1.0 + i} for i in range(1, 12)]
    assert len(re.findall(r'class="lone c0"', drawn(bias_run, broken)[0].plot)) == 5


def test_stages_have_curves_of_their_own(bias_run):
    """Each counts its steps anew, and the loss of SFT is no loss of DPO."""
    rows = [
        {"step": i, "loss": first - i * 0.01, "stage": stage}
        for stage, first in (("sft", 2.0), ("dpo", 0.69))
        for i in range(1, 21)
    ]
    guard = [{"step": 5, "event": "warn PB801", "text": "dpo: something"}]
    panels = drawn(bias_run, rows, guard)
    assert [panel.title for panel in panels] == ["sft: loss", "dpo: loss"]
    for panel in panels:
        (line,) = places(panel.plot)
        assert [x for x, _ in line] == sorted(x for x, _ in line) and len(line) == 20
    assert ["warn PB801" in panel.plot for panel in panels] == [False, True]
    run = dataclasses.replace(bias_run, command="train", details={"training": {"log_history": rows}})
    told = text_report(run, everything=True)
    assert re.search(r"sft: loss +1.99 .* 1.8\n", told) and re.search(r"dpo: loss +0.68 .* 0.49\n", told)


@pytest.mark.parametrize(("n", "numbered"), [(2, 2), (6, 6), (7, 2), (40, 2)])
def test_a_trend_numbers_what_has_room(n, numbered):
    points = [{"run": f"R{i}", "value": 0.1 * i, "low": None, "high": None} for i in range(n)]
    (plot,) = trend.figures([{"name": "gap", "units": "nats/token", "points": points}])
    assert plot.count("<circle") == n and len(re.findall(r">R\d+</text>", plot)) == numbered
    assert (
        n < 6 or 'text-anchor="end">' in plot.rpartition("<circle")[2]
    )  # the last does not leave its figure
