"""Tables and a plot of the stored calibration rows; computes nothing but rates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

TITLES = {
    "false verdicts": "False verdicts, % of runs with four groups of n pairs (at most 5)",
    "false positives": "False positives of single tests, % (at most 5)",
    "coverage": "Coverage of 95% intervals, % (at least 94 from n = 20)",
    "power": "Power at an effect of half a standard deviation, %",
}
SLACK = {"coverage": 0.01}  # one point, as promised


def limit(row: Row) -> float:
    """The worst rate allowed: the nominal one, three Monte-Carlo errors and, for coverage, one point off."""
    error = 3 * math.sqrt(row["nominal"] * (1 - row["nominal"]) / row["replicates"])
    return row["nominal"] - SLACK["coverage"] - error if row["kind"] == "coverage" else row["nominal"] + error


def holds(row: Row) -> bool:
    """Whether the rate is as good as its nominal value, up to Monte-Carlo error."""
    rate = row["hits"] / row["replicates"]
    return rate >= limit(row) if row["kind"] == "coverage" else rate <= limit(row)


def failures(rows: Sequence[Row]) -> list[Row]:
    """The rows on which a verdict rests and which do not hold."""
    return [row for row in rows if row["gates"] and not holds(row)]


def tables(rows: Sequence[Row]) -> str:
    """All tables as Markdown, with a line that says whether every gating cell holds."""
    parts = [_verdict(rows), lessons(rows)]
    for kind, title in TITLES.items():
        parts += [f"### {title}", _grid([row for row in rows if row["kind"] == kind])]
    parts += ["### A look after every pair, up to 2,000 pairs", _stopping(rows)]
    return "\n\n".join(parts) + "\n"


def _verdict(rows: Sequence[Row]) -> str:
    gating = [row for row in rows if row["gates"]]
    broken = failures(rows)
    least, most = (pick(row["replicates"] for row in rows) for pick in (min, max))
    counted = (
        f"{len(rows)} cells, {least:,} to {most:,} replicates each; a verdict rests on {len(gating)} of them"
    )
    if not broken:
        return f"{counted}, and all of these hold within three Monte-Carlo errors."
    names = "; ".join(f"{r['test']}, {r['population']}, n = {r['n']}: {_percent(r)}" for r in broken)
    return f"{counted}, of which {len(broken)} do not hold: {names}."


def lessons(rows: Sequence[Row]) -> str:
    """What the tables show, in sentences whose numbers are looked up in the rows."""

    def rate(kind: str, test: str, population: str, n: int) -> str:
        key = (kind, test, population, n)
        found = (r for r in rows if (r["kind"], r["test"], r["population"], r["n"]) == key)
        return next((_percent(row) for row in found), "–")

    cover = [
        rate("coverage", t, "skewed", n) for t in ("plain t (not used)", "mean gap") for n in (10, 20, 50)
    ]
    price = [rate("power", t, "normal", n) for n in (10, 20) for t in ("mean gap", "plain t (not used)")]
    beyond = [r for r in rows if r["kind"] == "false verdicts" and r["population"] == "very skewed"]
    worst = max(beyond, key=lambda r: r["hits"] / r["replicates"], default=None)
    peek, anytime = (
        rate("optional stopping", test, "coin", 2_000)
        for test in ("exact sign test at every look (not used)", "anytime sign test")
    )
    lines = [
        f"Under skew the plain t interval covers {cover[0]}, {cover[1]} and {cover[2]}% at 10, 20 and 50 "
        f"pairs; the guarded one {cover[3]}, {cover[4]} and {cover[5]}%.",
        f"The guard's price, on normal gaps at half a standard deviation: power {price[0]} instead of "
        f"{price[1]}% at 10 pairs, {price[2]} instead of {price[3]}% at 20.",
        "The sign-flip test and Wilcoxon's hold their level where gaps are symmetric and not under skew, "
        f"where they test another thing than the mean (Wilcoxon, skewed, 500 pairs: "
        f"{rate('false positives', 'Wilcoxon', 'skewed', 500)}%). So no verdict rests on them alone.",
        f"An exact test looked at after every pair rejects the truth in {peek}% of runs; the anytime-valid "
        f"one in {anytime}%.",
    ]
    if worst:
        lines.append(
            f"Where it ends: very skewed gaps, up to {_percent(worst)}% false verdicts ({worst['test']}, "
            f"n = {worst['n']}). If one pair in a hundred carries the mean, trust the win rate."
        )
    return "\n".join(f"- {line}" for line in lines)


def _grid(rows: Sequence[Row]) -> str:
    """A line per test and population, a column per size; brackets: no verdict rests on it, ✗: it fails."""
    sizes = sorted({row["n"] for row in rows})
    lines = [
        "| test | population | " + " | ".join(f"n = {n}" for n in sizes) + " |",
        "|---|---|" + "--:|" * len(sizes),
    ]
    for test in dict.fromkeys(row["test"] for row in rows):
        for population in dict.fromkeys(row["population"] for row in rows if row["test"] == test):
            found = {r["n"]: r for r in rows if (r["test"], r["population"]) == (test, population)}
            cells = " | ".join(_cell(found.get(n)) for n in sizes)
            lines.append(f"| {test} | {population} | {cells} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row["kind"] == "power":
        return f"{100 * row['hits'] / row['replicates']:.0f}"
    text = _percent(row)
    return f"{text}{'' if holds(row) else ' ✗'}" if row["gates"] else f"({text})"


def _percent(row: Row) -> str:
    return f"{100 * row['hits'] / row['replicates']:.1f}"


def _stopping(rows: Sequence[Row]) -> str:
    lines = ["| test | ever rejects the truth, % | Monte-Carlo error |", "|---|--:|--:|"]
    for row in rows:
        if row["kind"] == "optional stopping":
            mark = "" if not row["gates"] or holds(row) else " ✗"
            lines.append(f"| {row['test']} | {_percent(row)}{mark} | {100 * row['mc_error']:.1f} |")
    stops = [row for row in rows if row["kind"] == "median stop"]
    text = ", ".join(f"{row['n']} ({row['population'].removeprefix('rate ')})" for row in stops)
    return "\n".join(lines) + f"\n\nMedian number of pairs until it stops, by the true win rate: {text}."


def write(rows: Sequence[Row], docs: Path) -> None:
    """Put the tables into docs/validity-appendix.md, between the markers, and draw images/calibration.svg."""
    page = docs / "validity-appendix.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(with_tables(text, rows), encoding="utf-8")
    plot(rows, docs / "images/calibration.svg")


def with_tables(text: str, rows: Sequence[Row]) -> str:
    """The page with its block of tables made anew."""
    begin, end = "<!-- calibration:begin -->", "<!-- calibration:end -->"
    block = f"{begin}\n\n{tables(rows)}\n{end}"
    return re.sub(f"{begin}.*{end}", lambda _: block, text, flags=re.DOTALL)


PANELS = (
    ("coverage", "plain t (not used)", "95% interval of the mean: plain t", 95),
    ("coverage", "mean gap", "95% interval of the mean: skewness-guarded", 95),
    ("false verdicts", "any: mixed groups", "False verdict in any of four groups", 5),
    ("power", "verdict, bound 0.1 sd", "Power of the verdict at 0.5 sd", None),
)
MARKS = "osv^DPX"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Four panels over n: coverage before and after the guard, false verdicts, power."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "probe", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    for axis, (kind, test, title, nominal) in zip(axes.flat, PANELS, strict=True):
        _panel(axis, [row for row in rows if (row["kind"], row["test"]) == (kind, test)])
        axis.set_title(title, fontsize=10)
        if nominal:
            axis.axhline(nominal, color="black", linewidth=0.8, linestyle="--")
    for axis in axes[0]:
        axis.set_ylim(78, 100.5)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    figure.supylabel("% of replicates", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _panel(axis: Any, rows: Sequence[Row]) -> None:
    for mark, population in zip(MARKS, dict.fromkeys(row["population"] for row in rows), strict=False):
        found = sorted((r for r in rows if r["population"] == population), key=lambda r: r["n"])
        rates = [100 * row["hits"] / row["replicates"] for row in found]
        errors = [100 * row["mc_error"] for row in found]
        axis.errorbar(
            [r["n"] for r in found], rates, errors, marker=mark, markersize=4, linewidth=1, label=population
        )
    axis.set_xscale("log")
    sizes = sorted({row["n"] for row in rows})
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()
    axis.set_xlabel("pairs", fontsize=8)
