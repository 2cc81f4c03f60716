"""The tables of a report, each a plain function from a `Run`; every format lays the same ones out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..number_format import NONE, change, change_interval, interval, number, p_value, plain
from ..records import BiasRow, Condition, Estimate, Run
from .axis import ends
from .compare_tables import changes_table, runs
from .effects_tables import attributes, lever_changes, trait_effects
from .negatives_tables import authorship, pairs
from .probe_sections import probe_tables
from .raced import candidates, hardest
from .view import (
    SEVERITY_MARKS,
    Column,
    IntervalCell,
    Table,
    condition_code,
    condition_title,
    details,
    interval_column,
    limit,
    named,
    result,
    sides,
    sorted_findings,
    unit,
    value,
)

# Of a condition, the gravest first.
RESULTS = ("fail", "inconclusive", "accepted", "decides", "note", "open", "pass")
# Which section shows the estimates of a family, whose names go on with a colon.
SECTION_OF_FAMILY = {
    "effect": "effects", "weight": "effects", "attribute": "attributes",
    "effect_change": "effects", "weight_change": "effects", "attribute_change": "attributes",
    "lever": "levers", "lever_turned": "levers",
}  # fmt: skip


def tables(run: Run) -> list[Table]:
    """Every table that this run has something for, in the order of the report."""
    makers = (
        conditions, candidates, hardest, runs, hyper_parameters, groups, data_checks, lever_changes,
        trait_effects, attributes, ladder, authorship, before_after, guard, changes_table, others, pairs,
        accepted, time_spent,
    )  # fmt: skip
    return [table for table in (*(make(run) for make in makers), *probe_tables(run)) if table.rows]


def conditions(run: Run) -> Table:
    """The judged statements of the gate; failures first."""
    judged = sorted(run.verdict.conditions, key=lambda c: RESULTS.index(result(c, run)))
    columns = (
        Column("result"), Column("condition"), Column("group", drop=1), Column("measured", "right"),
        Column("limit", "right"), Column("code", drop=2), Column("why", "note"),
    )  # fmt: skip
    rows = tuple(_condition(c, run) for c in judged)
    return Table("conditions", "conditions", columns, rows, limit=20)


def _condition(c: Condition, run: Run) -> tuple[str, ...]:
    name = condition_title(c) if c.gates else f"{condition_title(c)} (for information)"
    return result(c, run), name, c.group, value(c), limit(c), condition_code(c), c.message


def groups(run: Run) -> Table:
    """Mean gap of every group with its interval, its wins and the test's p; the whole file last."""
    gaps = [e for e in run.estimates if e.name == "gap"]
    rows = sorted(gaps, key=lambda e: e.group == "all")
    judged = {row.group: row for row in run.bias}
    # Over several groups it is the adjusted p that decides, so that is the one shown.
    adjusted = len(rows) > 2 and any(row.p is not None for row in run.bias)
    columns = (
        Column("group"), Column("n", "right"), Column("wins", drop=3), Column("gap", "right"),
        interval_column(run), Column("", "plot"), Column("p adj." if adjusted else "p", drop=2),
        Column("verdict", drop=4),
    )  # fmt: skip
    first, second = sides(run)
    half = bound(run)
    cells = [_group(e, run, judged.get(e.group)) for e in rows]
    kept = [i for i, column in enumerate(columns) if column.name not in _of_pairs_alone(run)]
    return Table(
        "groups",
        f"gap = mean logp/token ({first}) − mean logp/token ({second})",
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in cells),
        _of_p(judged.values(), half, adjusted=adjusted),
        total=len(rows) > 1 and rows[-1].group == "all",
        axis=ends((x for e in rows for x in (e.value, e.low, e.high)), half),
        marks=(-half, half) if half else (),
    )


def _of_pairs_alone(run: Run) -> tuple[str, ...]:
    """The columns that answers with a label each have no values for: none of them meets another."""
    return ("wins", "verdict") if unit(run) == "answer" else ()


def _of_p(rows: Iterable[BiasRow], half: float | None, *, adjusted: bool) -> str:
    """What the p is of; an adjusted one, over how many tests, so that it can be worked out again."""
    n = sum(row.p is not None for row in rows if row.group != "all")
    beyond = f"beyond ±{half:g}" if half else "at all"
    told = f"of no preference {beyond}"
    return f"p adj.: {told}, Holm over {n} groups; the file by itself" if adjusted else f"p: {told}"


def bound(run: Run) -> float | None:
    """Half-width of the neutral zone in nats/token, as the run was configured; none is judged of answers."""
    value = None if unit(run) == "answer" else run.config.get("bound")
    return float(value) if isinstance(value, int | float) else None


def _group(e: Estimate, run: Run, row: BiasRow | None) -> tuple[str | IntervalCell, ...]:
    bounds = interval(e.low, e.high, e.units)
    cell = IntervalCell(e.value, e.low, e.high)
    return (
        e.group,
        str(e.n),
        _wins(run, e.group),
        number(e.value, e.units),
        bounds,
        cell,
        p_value(row.p if row and row.p is not None else e.p),
        named(row.verdict, run) if row else NONE,
    )


def _wins(run: Run, group: str) -> str:
    rate = run.estimate("win_rate", group)
    if rate is None or rate.value is None:
        return NONE
    first, wins = sides(run)[0], round(rate.value * rate.n)
    return f"{wins} {first}" if 2 * wins >= rate.n else f"{rate.n - wins} {sides(run)[1]}"


def data_checks(run: Run) -> Table:
    """What the checks of the file counted."""
    columns = (
        Column("check"), Column("found", "right"), Column("share", "right"), interval_column(run, 2),
        Column("limit", "right", drop=3), Column("code", drop=1),
    )  # fmt: skip
    found = {finding.code: SEVERITY_MARKS[finding.severity] for finding in sorted_findings(run)[::-1]}
    rows = tuple(
        (
            str(r["check"]),
            plain(r.get("count")),
            number(r.get("share"), "share"),
            interval(r.get("low"), r.get("high"), "share"),
            str(r.get("asked") or plain(r.get("limit"))),
            f"{r.get('code') or ''} {found.get(str(r.get('code')), '')}".strip(),
        )
        for r in _found_first(run, found)
    )
    title = "candidates" if run.command == "sample" else "data checks"
    raised = sum(r.get("code") in found for r in details(run, "data"))
    return Table("data", title, columns, rows, limit=max(4, raised) if run.command == "gate" else 30)


def _found_first(run: Run, found: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The rows of the checks. In a gate, where they are one part of many, those that found something lead."""
    rows: list[Mapping[str, Any]] = details(run, "data")
    return sorted(rows, key=lambda r: r.get("code") not in found) if run.command == "gate" else rows


def ladder(run: Run) -> Table:
    """How well ever stronger features tell the two sides apart, without the prompt and given it."""
    rows = details(run, "ladder")
    columns = (
        Column("told apart by"), Column("sees", drop=2), Column("n", "right", drop=4),
        Column("accuracy", "right"), interval_column(run, 1), Column("", "plot"), Column("p", drop=3),
    )  # fmt: skip
    cells = tuple(
        (
            str(r["feature"]),
            str(r.get("level") or ""),
            plain(r.get("n")),
            number(r["accuracy"], "share"),
            interval(r.get("low"), r.get("high"), "share"),
            IntervalCell(r["accuracy"], r.get("low"), r.get("high")),
            p_value(r.get("p")),
        )
        for r in rows
    )
    return Table(
        "ladder", "what tells the two sides apart", columns, cells, axis=_accuracy_axis(rows), marks=(0.5,)
    )


def _accuracy_axis(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    lows = [x for r in rows for x in (r["accuracy"], r.get("low")) if x is not None]
    return (0.5 if min(lows, default=1.0) >= 0.5 else 0.0), 1.0


def before_after(run: Run) -> Table:
    """What the same probe measured before and after training."""
    columns = (
        Column("measured"), Column("group", drop=2), Column("before", "right"), Column("after", "right"),
        Column("change", "right"), interval_column(run, 1), Column("p", drop=3),
    )  # fmt: skip
    rows = tuple(
        (
            str(r["name"]),
            str(r.get("group") or "all"),
            number(r.get("before"), r.get("units", "")),
            number(r.get("after"), r.get("units", "")),
            change(r.get("change"), r.get("units", "")),
            change_interval(r.get("low"), r.get("high"), r.get("units", "")),
            p_value(r.get("p")),
        )
        for r in details(run, "before_after")
    )
    title = "base → tuned" if run.command == "compare" else "before → after training"
    return Table("before_after", title, columns, rows, limit=20)


def guard(run: Run) -> Table:
    """What the guard saw while training."""
    events = (run.details.get("training") or {}).get("guard") or []
    rows = tuple((plain(e.get("step")), str(e.get("event")), str(e.get("text") or "")) for e in events)
    return Table("guard", "the guard's log", (Column("step", "right"), Column("event"), Column("what")), rows)


def hyper_parameters(run: Run) -> Table:
    """The recommended hyper-parameters."""
    chosen = run.decision.hyperparameters if run.decision else {}
    rows = tuple((str(key), plain(value)) for key, value in chosen.items())
    title = f"recipe: {run.decision.method}" if run.decision else ""
    return Table("recipe", title, (Column("setting"), Column("value")), rows, limit=24)


def _elsewhere(run: Run) -> set[tuple[str, str]]:
    """Name and group of the estimates that another table of this run shows."""
    by_group = {(e.name, e.group) for e in run.estimates if e.name in ("gap", "win_rate")}
    told = {(f"{r['feature']}_accuracy", "all") for r in details(run, "ladder")}
    changed = {
        (f"{r['name']}_change".replace(" ", "_"), str(r.get("group") or "all"))
        for r in details(run, "before_after")
    }
    own = {
        (e.name, e.group)
        for e in run.estimates
        if details(run, SECTION_OF_FAMILY.get(e.name.split(":")[0], ""))
    }
    return by_group | told | changed | own


def others(run: Run) -> Table:
    """Every estimate that no other table shows; where space is short, those of the whole file."""
    columns = (
        Column("name"), Column("group", drop=2), Column("n", "right", drop=3),
        Column("value", "right"), interval_column(run, 1), Column("units", drop=4), Column("method", drop=5),
    )  # fmt: skip
    shown = _elsewhere(run)
    left = [e for e in run.estimates if (e.name, e.group) not in shown]
    ordered: Sequence[Estimate] = sorted(left, key=lambda e: e.group != "all")
    rows = tuple(
        (
            e.name.replace("_", " "), e.group, str(e.n), number(e.value, e.units),
            interval(e.low, e.high, e.units), e.units, e.method,
        )
        for e in ordered
    )  # fmt: skip
    whole = sum(e.group == "all" for e in ordered)
    return Table("others", "also measured", columns, rows, limit=min(whole or 4, 16))


def accepted(run: Run) -> Table:
    """Findings that the configuration accepts, with the reason given."""
    columns = (Column("accepted"), Column("group", drop=2), Column("until", drop=1), Column("reason"))
    rows = tuple(
        (str(a.get("code")), str(a.get("group") or "all"), plain(a.get("until")), str(a.get("reason") or ""))
        for a in details(run, "accepted") or run.config.get("accept") or []
    )
    return Table("accepted", "accepted findings", columns, rows)


def time_spent(run: Run) -> Table:
    """Where the time went."""
    rows = tuple(
        (str(c["probe"]), str(c.get("what") or ""), f"{c.get('seconds') or 0:.1f} s")
        for c in details(run, "costs")
    )
    columns = (Column("probe"), Column("what", drop=1), Column("time", "right"))
    return Table("costs", "where the time went", columns, rows)
