"""What a trial's candidates did, and which of its pairs stay hardest: the tables of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..number_format import NONE, change, number
from ..records import Run
from ..shared_limits import CHANCE
from .view import Column, Table, details


def candidates(run: Run) -> Table:
    """A row per candidate: ranking of unseen pairs, and the prompts whose samples moved."""
    columns = (
        Column("method"), Column("margin up", "right"), Column("ranked right", "right", drop=3),
        Column("up", "right"), Column("down", "right"), Column("same", "right", drop=2),
        Column("form up:down", "right", drop=4), Column("words", "right", drop=4), Column("judge", "right"),
        Column("what", "note"),
    )  # fmt: skip
    raced = details(run, "race")
    several = len(raced) > 1
    rows = tuple(
        (
            str(r["method"]),
            number(r.get("accuracy"), "share"),
            change(r.get("ranking"), "share"),
            *(str(r[k]) if r.get("judged") else NONE for k in ("up", "down")),
            str(r.get("unchanged", NONE)),
            f"{r['form_up']}:{r['form_down']}" if "form_up" in r else NONE,
            f"{r['before_words']:.1f} → {r['after_words']:.1f}" if "after_words" in r else NONE,
            number(r.get("judge"), "share"),
            _note(r, several),
        )
        for r in raced
    )
    return Table(
        "race",
        "unseen pairs: margins and ranking; unseen prompts: samples that moved",
        columns,
        rows,
        limit=20,
    )


HARDEST = 20  # pairs listed; run.json holds all that were measured


def hardest(run: Run) -> Table:
    """The pairs that a full run will likeliest not learn, by their loss in the trial."""
    columns = (Column("line", "right"), Column("loss", "right"), Column("after the trial"))
    ranked = details(run, "difficulty")
    rows = tuple(
        (str(r["line"]), number(r["loss"]), "margin fell" if r["misranked"] else "margin rose")
        for r in ranked[:HARDEST]
    )
    title = f"hardest of {len(ranked)} measured pairs: hard to learn, not mislabelled"
    return Table("difficulty", title, columns, rows, limit=10)


def _note(row: Mapping[str, Any], several: bool) -> str:
    """Why samples are not judged; whether a candidate of several is ahead; of a finished training, what
    became of neutral text."""
    told = []
    if not row.get("judged") and (row.get("judge_low") or 0.0) > CHANCE:
        told.append(f"not judged: chosen sides would be {row['chosen_up']} up, {row['chosen_down']} down")
    if "after_neutral" in row:
        told.append(f"neutral perplexity {row['before_neutral']:.1f} → {row['after_neutral']:.1f}")
    elif row["won"]:
        told += ["ahead in the race"] if several else []
    elif not row["eligible"]:
        told.append("nothing shown")
    return "; ".join(told)
