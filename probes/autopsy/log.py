"""A training log in one shape, whatever wrote it: rows of numbers, split into training and evaluations.

`read` finds the entries in files; here entries of any origin become a `Log`, which gives curves to the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...number_format import place_text
from .curve import Curve, LogRow, curve_of
from .hints import LOSS_TYPES, Hints
from .rounding import coarse, half_digits
from .rows import SUMMARY, as_number, eval_sets, finite_number, shares, to_rows, train_part
from .steps import by_step, counted_once, latest_pass, number_steps
from .unread import unread_columns

MARGINS = "no margin in this log: the margins are rewards/chosen less rewards/rejected (derived)"
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
    by = "stage" if any(isinstance(entry.get("stage"), str) for entry in listed) else "run"
    if by == "run" and not any(isinstance(entry.get("run"), str) for entry in listed):
        listed = _numbered(listed)
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for entry in listed:
        name = entry.get(by)
        parts.setdefault(name if isinstance(name, str) else "", []).append(entry)
    known = hints or Hints()
    logs = [log for name, part in parts.items() if (log := _one_stage(source, part, name, form, known)).rows]
    if not logs:
        return Log(source, ())
    logs = [replace(log, run=by == "run") for log in logs]
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


def _one_stage(source: str, entries: Iterable[Mapping[str, Any]], stage: str, form: str, hints: Hints) -> Log:
    listed = list(entries)
    read = to_rows(listed)
    ordered, order = by_step(read)
    rows, echoes = counted_once(ordered)
    totals = {row.get(k) for row in rows for k in ("max_steps", "total_steps")} - {None}
    if len(totals) == 1 and (total := totals.pop()) and finite_number(total):
        hints = hints._replace(max_steps=int(total))
    parts = {key.removesuffix("_loss") for row in rows for key in row if key.endswith("_loss")}
    named = parts & (LOSS_TYPES.keys() - {"sft", "ppo"})
    if not hints.method and len(named) == 1:
        hints = hints._replace(method=LOSS_TYPES[named.pop()])
    unit = number_steps(rows, hints)
    shared = any(shares(row) for row in rows)
    train = [part for row in rows if (part := train_part(row, shared))]
    train, resumed = latest_pass(train, unit)
    held_out = {name: latest_pass(part, unit)[0] for name, part in eval_sets(rows).items()}
    percent = sum(_from_percent(part) for part in (train, *held_out.values())) > 0
    subtracted = sum(_subtract(row) for row in train)
    return Log(
        source,
        tuple(train),
        {name: tuple(part) for name, part in held_out.items()},
        tuple(
            note
            for note in (order, echoes, resumed, MARGINS if subtracted else "", PERCENT if percent else "")
            if note
        ),
        stage,
        unit=unit,
        form=form,
        hints=hints,
        rounding=half_digits(listed),
        unread=unread_columns(listed, read),
    )


def _subtract(row: LogRow) -> bool:
    """Put the margin beside two rewards that stand without it; whether that was done."""
    if "rewards/margins" in row or not {"rewards/chosen", "rewards/rejected"} <= row.keys():
        return False
    row["rewards/margins"] = row["rewards/chosen"] - row["rewards/rejected"]
    return True


def _from_percent(rows: list[LogRow]) -> bool:
    """Bring accuracies in percent to shares of one; whether that was done."""
    values = [row["rewards/accuracies"] for row in rows if "rewards/accuracies" in row]
    if not values or not 1.5 < max(values) <= 100.0:
        return False
    for row in rows:
        if "rewards/accuracies" in row:
            row["rewards/accuracies"] /= 100.0
    return True
