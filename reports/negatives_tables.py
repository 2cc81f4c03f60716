"""Tables of `probe negatives` alone: who wrote each side, and what was measured of each pair."""

from __future__ import annotations

from typing import Any

from ..number_format import NONE, interval, number
from ..records import Run
from .view import Column, Table, details, interval_column

WORST_SHOWN = 10

# The score that rows are sorted by, its ascending order, and what that order means; the first one measured.
ORDERS = (
    ("signal", 1, "pairs, those that the linear probe gets most wrong first"),
    ("surface", -1, "pairs, those that the text gives away most first"),
)
SCORES = {
    "surface": "log-odds",
    "signal": "log-odds",
    "gap": "nats/token",
    "ches": "hidden²",
    "chosen_excess": "nats/token",
    "rejected_excess": "nats/token",
}


def authorship(run: Run) -> Table:
    """How each side stands to the model's own samples, and what the model itself wrote; not in a gate."""
    columns = (
        Column("side"), Column("n", "right", drop=3), Column("logp/token", "right", drop=2),
        Column("logp + entropy", "right"), interval_column(run, 1),
        Column("first choice", "right", drop=4), Column("written", "note"),
    )  # fmt: skip
    rows = tuple(
        (
            str(row["side"]), str(row["n"]), number(row["mean_logps"], "nats"), number(row["excess"], "nats"),
            interval(row["low"], row["high"], "nats"), number(row["top"], "share"), str(row["writer"]),
        )
        for row in (details(run, "authorship") if run.command == "negatives" else ())
    )  # fmt: skip
    return Table("authorship", "who wrote the sides (0: as the model samples)", columns, rows)


def pairs(run: Run) -> Table:
    """The scores of each pair, the most telling ones first."""
    rows = details(run, "negatives")
    known = [name for name in SCORES if any(name in row for row in rows)]
    order = next((order for order in ORDERS if order[0] in known), None)
    if order is None:
        return Table("negatives", "pairs", (), ())
    key, sign, title = order
    rows = sorted((row for row in rows if key in row), key=lambda row: sign * row[key])
    columns = (
        Column("line", "right"), Column("id"), Column("group", drop=5),
        *(Column(name.replace("_", " "), "right", drop=4 * name.endswith("excess")) for name in known),
    )  # fmt: skip
    return Table("negatives", title, columns, tuple(_pair(row, known) for row in rows), limit=WORST_SHOWN)


def _pair(row: dict[str, Any], known: list[str]) -> tuple[str, ...]:
    scores = (number(row[name], SCORES[name]) if name in row else NONE for name in known)
    return str(row.get("line") or NONE), str(row["id"]), str(row.get("group") or NONE), *scores
