"""A training log in one shape, whatever wrote it: rows of numbers, split into training and evaluations.

`read` finds the entries in files; here entries of any origin become a `Log`, which gives curves to the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...number_format import count, place_text
from .curve import Curve, LogRow, curve_of
from .hints import LOSS_TYPES, Hints
from .joined import whole_entries
from .names import names_pairs
from .parts import parts_marked, splits
from .passes import OwnRun, merged, own_runs
from .rounding import coarse, half_digits
from .rows import SUMMARY, as_number, eval_sets, finite_number, shares, to_rows, train_part
from .scores import name_rewards
from .steps import by_step, counted_once, number_steps
from .unread import unread_columns

MARGINS = "no margin in this log: the margins are rewards/chosen less rewards/rejected (derived)"
TORN = "entries of one step contradict each other, in {}: of two losses one may be held out"
PERCENT = "the accuracies are in percent and were divided by 100"
__all__ = ["Log", "as_number", "make_log"]


@dataclass(frozen=True, slots=True)
class Log:
    """A log in the order of training. `evals` is by evaluation set ("" where the set has no name).

    Keys are TRL's names without the `eval_` prefix, `step` in every row. What `step` counts is `unit`: a
    number of entries is never called a step. Values may be NaN or infinite where the log says so; what is
    absent is absent. Of a run in stages this is the last one, `earlier` the others; they are `separate` where
    they are runs of their own. `run` says that `stage` names a run, `count` of how many one was chosen.
    """

    source: str
    train: tuple[LogRow, ...]
    evals: Mapping[str, tuple[LogRow, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stage: str = ""
    earlier: tuple[Log, ...] = ()
    separate: bool = False
    run: bool = False
    count: int = 0
    unit: str = "step"
    form: str = ""
    hints: Hints = field(default_factory=Hints)
    rounding: Mapping[str, float] = field(default_factory=dict)  # half of a column's last digit
    unread: str = ""  # what of the file could not be read: such a log is not called healthy

    @property
    def evaluation(self) -> tuple[LogRow, ...]:
        """The rows of the main evaluation set: the unnamed one, or the first by name."""
        return self.evals[min(self.evals)] if self.evals else ()

    @property
    def rows(self) -> tuple[LogRow, ...]:
        """The training rows, or in an eval-only log the evaluations."""
        return self.train or self.evaluation

    def at(self, place: float) -> str:
        """`step 20`, or `entry 3` where the log does not say the step."""
        return f"{self.unit} {place_text(place)}"

    def curve(self, name: str) -> Curve:
        """The finite values of `name` in training, or, where training has none, in the evaluations."""
        found = curve_of(self.train, name)
        return found if len(found) else curve_of(self.evaluation, name)

    def below(self, name: str) -> float:
        """What the zeros of a column may be as large as, by its last digit; 0 where they are as good as 0."""
        return coarse(self.rounding.get(name, self.rounding.get(f"eval_{name}", 0.0)), name)

    def zero(self, name: str) -> str:
        """What a column's 0 says: `exactly 0`, or the limit that it lies under."""
        return f"0 as it is written (under {below:.0g})" if (below := self.below(name)) else "exactly 0"

    def has(self, *names: str) -> bool:
        """Whether any row holds one of these columns."""
        wanted = set(names)
        return any(wanted & row.keys() for rows in (self.train, *self.evals.values()) for row in rows)


def make_log(
    source: str, entries: Iterable[Mapping[str, Any]], form: str = "", hints: Hints | None = None
) -> Log:
    """The `Log` of raw entries: names and numbers normalised, kinds told apart, replaced passes dropped.

    Entries whose `stage` is a text are split by it: each stage counts its steps anew. Those whose `run` is a
    text are runs of their own, and so are those after a summary, from where step and epoch begin anew.
    """
    listed = list(entries)
    staged = any(isinstance(entry.get("stage"), str) for entry in listed) and not splits(listed, "stage")
    by = "stage" if staged else "run"
    numbered = by == "run" and not any(isinstance(entry.get("run"), str) for entry in listed)
    if numbered:
        listed = _numbered(listed)
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for entry in listed:
        name = entry.get(by)
        parts.setdefault(name if isinstance(name, str) else "", []).append(entry)
    known = hints or Hints()
    found = {name: _of_part(source, part, form, known) for name, part in parts.items()}
    logs = [replace(log, run=by == "run") for log in _named(found, numbered)]
    if not logs:
        return Log(source, ())
    return replace(logs[-1], earlier=tuple(logs[:-1]), separate=by == "run")


def _numbered(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Entries with the number of their run, where a file holds several one after the other."""
    starts = [
        0,
        *(i + 1 for i, entry in enumerate(entries[:-1]) if any(name in entry for name in SUMMARY[:2])),
    ]
    groups = [entries[a:b] for a, b in zip(starts, [*starts[1:], len(entries)], strict=True)]
    merged = [groups[0]] if groups else []
    for group in groups[1:]:
        if _begins_anew(merged[-1], group):
            merged.append(group)
        else:
            merged[-1] = merged[-1] + group
    if len(merged) < 2:
        return entries
    return [{**entry, "run": f"run {i}"} for i, group in enumerate(merged, 1) for entry in group]


def _begins_anew(before: list[Mapping[str, Any]], after: list[Mapping[str, Any]]) -> bool:
    first, second = (_where(group) for group in (before, after))
    return bool(first and second) and second[0] <= first[0] + 0.1 * (first[-1] - first[0])


def _where(entries: list[Mapping[str, Any]]) -> list[float]:
    """Where the training entries stand: by step, or else by epoch."""
    trained = [entry for entry in entries if "loss" in entry]
    for name in ("step", "epoch"):
        found = [n for entry in trained if (n := as_number(entry.get(name))) is not None]
        if found:
            return found
    return []


def _named(parts: Mapping[str, list[Log]], numbered: bool) -> list[Log]:
    """The logs with their names: a run that had none has its number, and so has one of several in a stage."""
    logs = [log for part in parts.values() for log in part]
    if numbered:
        return [replace(log, stage=f"run {i}") for i, log in enumerate(logs, 1)] if len(logs) > 1 else logs
    return [
        replace(log, stage=f"{name}, from its start {i}" if len(part) > 1 else name)
        for name, part in parts.items()
        for i, log in enumerate(part, 1)
    ]


def _of_part(source: str, entries: Sequence[Mapping[str, Any]], form: str, hints: Hints) -> list[Log]:
    """The logs of entries of one stage: one, or one for each time that a run begins anew in them."""
    read = to_rows(parts_marked(entries))
    name_rewards(read)
    ordered, order = by_step(read)
    rows, echoes = counted_once(ordered)
    rows = whole_entries(rows)
    hints = _told_by(rows, hints)
    hints = hints._replace(pairs=any(map(names_pairs, {tuple(map(str, entry)) for entry in entries})))
    unit = number_steps(rows, hints)
    shared = any(shares(row) for row in rows)
    runs = own_runs(rows, [train_part(row, shared) is not None for row in rows], unit)
    unread = unread_columns(entries, read)
    bare = Log(source, (), unit=unit, form=form, hints=hints, rounding=half_digits(entries))
    logs = [_of_run(run, shared, (order, echoes), bare) for run in runs]
    return [replace(log, unread="; ".join(filter(None, (unread, log.unread)))) for log in logs if log.rows]


def _told_by(rows: Iterable[Mapping[str, float | None]], hints: Hints) -> Hints:
    """The hints with what columns say: how many steps there are to be, and the method."""
    totals = {row.get(k) for row in rows for k in ("max_steps", "total_steps")} - {None}
    if len(totals) == 1 and (total := totals.pop()) and finite_number(total):
        hints = hints._replace(max_steps=int(total))
    parts = {key.removesuffix("_loss") for row in rows for key in row if key.endswith("_loss")}
    named = parts & (LOSS_TYPES.keys() - {"sft", "ppo"})
    if not hints.method and len(named) == 1:
        hints = hints._replace(method=LOSS_TYPES[named.pop()])
    return hints


def _of_run(run: OwnRun, shared: bool, notes: tuple[str, ...], bare: Log) -> Log:
    """The log of one run: its training and its evaluations, `bare` with them."""
    train, torn = merged([part for row in run.rows if (part := train_part(row, shared))], bare.unit)
    held_out = {name: merged(part, bare.unit)[0] for name, part in eval_sets(run.rows).items()}
    percent = sum(_from_percent(part) for part in (train, *held_out.values())) > 0
    subtracted = sum(_subtract(row) for row in train)
    told = (*notes, run.note, MARGINS if subtracted else "", PERCENT if percent else "")
    return replace(
        bare,
        train=tuple(train),
        evals={name: tuple(part) for name, part in held_out.items()},
        notes=tuple(filter(None, told)),
        unread=TORN.format(count(torn, "step")) if torn else "",
    )


def _subtract(row: LogRow) -> bool:
    """Put the margin beside two rewards that stand without it; whether that was done."""
    if "rewards/margins" in row or not {"rewards/chosen", "rewards/rejected"} <= row.keys():
        return False
    row["rewards/margins"] = row["rewards/chosen"] - row["rewards/rejected"]
    return True


def _from_percent(rows: list[LogRow]) -> bool:
    """Bring accuracies in percent to shares of one; whether that was done.

    Not where a reward is logged: what an online run calls an accuracy may be a reward on a scale of its own.
    """
    values = [v for row in rows if math.isfinite(v := row.get("rewards/accuracies", math.nan))]
    if not values or not 1.5 < max(values) <= 100.0 or any("reward" in row for row in rows):
        return False
    for row in rows:
        if "rewards/accuracies" in row:
            row["rewards/accuracies"] /= 100.0
    return True
