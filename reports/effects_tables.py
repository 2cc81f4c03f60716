"""Tables of `probe effects` and `probe levers`: traits, attributes, and what each lever moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..number_format import NONE, change, change_interval, interval, number, p_value, plain
from ..records import NATS_PER_TOKEN, Run
from .axis import ends
from .view import Column, IntervalCell, Table, details, interval_column, sides


def trait_effects(run: Run) -> Table:
    """Traits: w beyond the controls, the share of pairs, what it comes to; the strongest first."""
    rows = details(run, "effects")
    columns = (
        Column("trait"), Column("w", "right", drop=3), Column("beyond", "right"), interval_column(run, 2),
        Column("", "plot"), Column("pairs", "right", drop=4), Column("p", drop=1), Column("verdict"),
    )  # fmt: skip
    facts = run.details.get("effects_on") or {}
    left = f"; {facts['left_out']} pairs left out" if facts.get("left_out") else ""
    what = "of the tuned model's answers against the base's" if _compared(run) else "w beyond control texts"
    # A p below alpha is not enough: the report would else seem to contradict itself.
    shown = "" if _compared(run) else "; shown where p ≤ alpha and w is beyond each control's too"
    title = f"traits: {what}, {NATS_PER_TOKEN}, {facts.get('read', 0)} pairs{left}{shown}"
    span = ends((x for r in rows for x in (r["excess"], r["low"], r["high"])), None)
    return Table(
        "effects", title, columns, tuple(_effect(r, _compared(run)) for r in rows), axis=span, limit=16
    )


def _effect(r: Mapping[str, Any], compared: bool) -> tuple[str | IntervalCell, ...]:
    told = str(r["verdict"])
    if compared:
        told = {"taught": "towards", "its contrary": "away"}.get(told, told)
    told += ", intended" if r["intended"] else ""
    return (
        str(r["trait"]), _milli(r["w"]), _milli(r["excess"]),
        NONE if r["low"] is None else f"[{_milli(r['low'])}, {_milli(r['high'])}]",
        IntervalCell(r["excess"], r["low"], r["high"]),
        number(r["share"], "share"), p_value(r["p"]), told,
    )  # fmt: skip


def _compared(run: Run) -> bool:
    return run.command == "compare"


def _milli(value: float | None) -> str:
    """Three decimals with the sign: weights are thousandths of a nat."""
    return NONE if value is None else f"{value:+.3f}".replace("-", "−")


def attributes(run: Run) -> Table:
    """Attributes by rule on either side, with the paired difference; the largest effect first."""
    first, second = ("tuned", "base") if _compared(run) else sides(run)
    columns = (
        Column("attribute"), Column(first, "right"), Column(second, "right"), Column("difference", "right"),
        interval_column(run, 3), Column("d", "right"), Column("p", drop=1), Column("units", drop=4),
        Column("lines", drop=2),
    )  # fmt: skip
    rows = tuple(
        (
            str(r["attribute"]), number(r["chosen"], r["units"]), number(r["rejected"], r["units"]),
            change(r["difference"], r["units"]), change_interval(r["low"], r["high"], r["units"]),
            NONE if r["d"] is None else f"{r['d']:+.2f}".replace("-", "−"), p_value(r["p"]), str(r["units"]),
            ", ".join(str(line) for line in r["lines"][:3]),
        )
        for r in details(run, "attributes")
    )  # fmt: skip
    absent = ", ".join(run.details.get("absent") or ())
    note = f"on neither side: {absent}" if absent else ""
    title = f"attributes by rule, {'an answer' if _compared(run) else 'a response'}"
    return Table("attributes", title, columns, rows, note, limit=10)


def lever_changes(run: Run) -> Table:
    """What each lever does to the gap and to the pairs ranked wrong, the cheapest first."""
    rows = details(run, "levers")
    columns = (
        Column("lever"), Column("gap", "right", drop=5), Column("change", "right"), interval_column(run, 2),
        Column("", "plot", drop=6), Column("turned", "right"), Column("lost", "right", drop=3),
        Column("tokens", "right"), Column("before", "right", drop=1), Column("neutral ppl", "right"),
        Column("how", "note"),
    )  # fmt: skip
    span = ends((x for r in rows for x in (r["change"], r["low"], r["high"])), None)
    facts = run.details.get("levers_on") or {}
    on = f" on {facts['read']} pairs, {facts['left_out']} left out" if facts else ""
    title = f"levers{on}, the cheapest request first"
    return Table("levers", title, columns, tuple(map(_lever, rows)), axis=span)


def _lever(r: Mapping[str, Any]) -> tuple[str | IntervalCell, ...]:
    base = r["change"] is None
    return (
        str(r["lever"]), number(r["gap"], NATS_PER_TOKEN),
        NONE if base else change(r["change"], NATS_PER_TOKEN),
        interval(r["low"], r["high"], NATS_PER_TOKEN), IntervalCell(r["change"], r["low"], r["high"]),
        NONE if base else f"{r['turned']} of {r['wrong']}", NONE if base else f"{r['lost']} of {r['right']}",
        plain(round(r["tokens"])), NONE if r["seconds"] is None else f"{r['seconds']:.0f} s",
        number(r["perplexity"]), str(r["how"]),
    )  # fmt: skip
