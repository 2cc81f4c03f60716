"""A training log in one shape, whatever wrote it: rows of numbers, split into training and evaluations.

Reading files is `autopsy_read`; here rows of any origin become a `Log` (aliases, strings, lists, missing
values, resumed passes), and a `Log` gives curves to the rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .curve import Curve, Row, curve

STEP_NAMES = ("step", "global_step", "current_steps", "iteration", "iter", "_step")
ALIASES = {
    **dict.fromkeys(("train_loss", "training_loss"), "loss"),
    **dict.fromkeys(
        ("val_loss", "valid_loss", "validation_loss", "test_loss", "eval/loss", "val/loss"), "eval_loss"
    ),
    **dict.fromkeys(("lr", "learning_rate/group_0"), "learning_rate"),
    **dict.fromkeys(("gradient_norm", "grad/norm", "gnorm"), "grad_norm"),
    **dict.fromkeys(
        ("reward_accuracy", "rewards/accuracy", "reward_accuracies", "accuracy"), "rewards/accuracies"
    ),
    **dict.fromkeys(("margin", "margins", "reward_margin", "rewards/margin"), "rewards/margins"),
    **dict.fromkeys(("chosen_rewards", "reward_chosen", "rewards_chosen"), "rewards/chosen"),
    **dict.fromkeys(("rejected_rewards", "reward_rejected", "rewards_rejected"), "rewards/rejected"),
    **dict.fromkeys(("chosen_logps", "logps_chosen", "policy_chosen_logps"), "logps/chosen"),
    **dict.fromkeys(("rejected_logps", "logps_rejected", "policy_rejected_logps"), "logps/rejected"),
}
# Written once at the end of a run: an average over it, no point of a curve.
SUMMARY = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")
# What says that a row is about training (or, after `eval_`, about an evaluation) and not only bookkeeping.
MEASURED = re.compile(r"loss$|^grad_norm$|^rewards?(/|$)|^logps/|^kl$|^objective/|accurac")
FLOAT32 = 3.4028235e38
PARTS_OF_LOSS = {"nll", "sft", "odds_ratio", "aux", "policy", "value"}


@dataclass(frozen=True, slots=True)
class Log:
    """A log in the order of training. `evals` is by evaluation set ("" where the set has no name).

    Keys are TRL's names without the `eval_` prefix, `step` in every row. Values may be NaN or infinite where
    the log says so; what is absent is absent. Of a run in stages this is the last one, `earlier` the others.
    """

    source: str
    train: tuple[Row, ...]
    evals: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stage: str = ""
    earlier: tuple[Log, ...] = ()

    @property
    def evaluation(self) -> tuple[Row, ...]:
        """The rows of the main evaluation set: the unnamed one, or the first by name."""
        return self.evals[min(self.evals)] if self.evals else ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The training rows, or in an eval-only log the evaluations."""
        return self.train or self.evaluation

    def curve(self, name: str) -> Curve:
        """The finite values of `name` in training, or, where training has none, in the evaluations."""
        found = curve(self.train, name)
        return found if len(found) else curve(self.evaluation, name)

    def has(self, *names: str) -> bool:
        """Whether any row holds one of these columns."""
        wanted = set(names)
        return any(wanted & row.keys() for rows in (self.train, *self.evals.values()) for row in rows)


def make_log(source: str, entries: Iterable[Mapping[str, Any]]) -> Log:
    """The `Log` of raw entries: names and numbers normalised, kinds told apart, replaced passes dropped.

    Entries whose `stage` is a text are split by it: each stage counts its steps anew.
    """
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        stage = entry.get("stage")
        stages.setdefault(stage if isinstance(stage, str) else "", []).append(entry)
    logs = [log for name, part in stages.items() if (log := _one_stage(source, part, name)).rows]
    return replace(logs[-1], earlier=tuple(logs[:-1])) if logs else Log(source, ())


def _one_stage(source: str, entries: Iterable[Mapping[str, Any]], stage: str) -> Log:
    rows = [_canonical(entry) for entry in entries]
    _number_steps(rows)
    train = [part for row in rows if (part := _train_part(row))]
    evals = _eval_sets(rows)
    train, note = _latest_pass(train)
    return Log(
        source,
        tuple(train),
        {name: tuple(_latest_pass(part)[0]) for name, part in evals.items()},
        (note,) if note else (),
        stage,
    )


def _canonical(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """Field names as TRL writes them, values as numbers; None where a value is absent or says null."""
    row: dict[str, float | None] = {}
    summary = any(name in entry for name in SUMMARY[:2])
    for key, value in sorted(entry.items(), key=lambda item: str(item[0]) in ALIASES):
        name = _name(str(key))
        if summary and name == "loss" and key != "loss":
            continue  # the average over the run, no entry of it
        number = as_number(value)
        if number is not None or value is None or value == "":
            row.setdefault(name, number)
    return row


def _name(key: str) -> str:
    name = re.sub(r"\s*/\s*", "/", key.strip().lower()).replace(" ", "_")
    if name.startswith("train/"):
        name = name[6:]
    if name.startswith(("eval/", "val/", "test/")):
        name = "eval_" + name.split("/", 1)[1]
    return ALIASES.get(name) or (
        f"eval_{ALIASES[name[5:]]}" if name.startswith("eval_") and name[5:] in ALIASES else name
    )


def as_number(value: Any) -> float | None:
    """A float of a number, a numeric string (`"nan"`, `"tensor(0.69)"`) or a list of numbers (its mean)."""
    if isinstance(value, int | float):
        return _in_range(value)
    if isinstance(value, str):
        return _parsed(value)
    if isinstance(value, list | tuple) and value:
        numbers = [as_number(v) for v in value]
        known = [n for n in numbers if n is not None]
        return sum(n / len(known) for n in known) if len(known) == len(numbers) else None
    return None


def _in_range(value: float) -> float:
    """`value` as float32 would hold it, in which training computes: beyond its range lies infinity."""
    return float(value) if abs(value) <= FLOAT32 or value != value else math.inf if value > 0 else -math.inf


def _parsed(text: str) -> float | None:
    inner = re.match(r"tensor\(\s*([^,)\s]+)", text.strip())
    try:
        return _in_range(float(inner.group(1) if inner else text))
    except ValueError:
        return None


def _number_steps(rows: list[dict[str, float | None]]) -> None:
    """Give every row a finite `step`: its own, else the last seen; the position where no row has one."""
    steps = [_step(row) for row in rows]
    known = [s for s in steps if s is not None]
    stands_still = len(set(known)) == 1 and sum("loss" in row for row in rows) > 1
    if not known or stands_still:
        steps = [float(i) for i in range(1, len(rows) + 1)]
    last = 0.0
    for row, step in zip(rows, steps, strict=True):
        last = row["step"] = last if step is None else step


def _step(row: Mapping[str, float | None]) -> float | None:
    found = (row.get(name) for name in STEP_NAMES)
    return next((s for s in found if s is not None and math.isfinite(s)), None)


def _train_part(row: Mapping[str, float | None]) -> Row | None:
    part = {k: v for k, v in row.items() if not k.startswith("eval_") and k not in SUMMARY}
    elsewhere = any(_finite(v) for k, v in row.items() if k.startswith("eval_") or k in SUMMARY)
    return _part(part, elsewhere)


def _part(part: Mapping[str, float | None], elsewhere: bool) -> Row | None:
    """The measured part of a row, or None where the row is about something else.

    A table of entries of several kinds fills the gaps with NaN or null. Such a filler is told from a
    measured NaN by its company: where nothing of this kind was finite, not even the learning rate or the
    running time, and the row does hold another kind, the entry is absent. Beside finite company, null means
    NaN: JSON has no other word for it.
    """
    measured = {k: v for k, v in part.items() if MEASURED.search(k)}
    company = [v for k, v in part.items() if k in measured or k in ("learning_rate", "runtime")]
    present = any(_finite(v) for v in company)
    if not measured or (not present and (elsewhere or all(v is None for v in company))):
        return None
    return {k: math.nan if v is None else v for k, v in part.items() if v is not None or k in measured}


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _eval_sets(rows: Sequence[Mapping[str, float | None]]) -> dict[str, list[Row]]:
    names = sorted(_set_names({k for row in rows for k in row if k.startswith("eval_")}), reverse=True)
    found: dict[str, list[Row]] = {}
    for row in rows:
        elsewhere = any(_finite(row.get(k)) for k in ("loss", "learning_rate", *SUMMARY))
        by_set: dict[str, dict[str, float | None]] = {}
        for key, value in row.items():
            if key.startswith("eval_"):
                name = next((n for n in names if n and key.startswith(f"eval_{n}_")), "")
                metric = key.removeprefix(f"eval_{name}_" if name else "eval_")
                by_set.setdefault(name, {"step": row["step"]})[metric] = value
        for name, part in by_set.items():
            if kept := _part(part, elsewhere):
                found.setdefault(name, []).append(kept)
    return found


def _set_names(keys: set[str]) -> set[str]:
    """Names of evaluation sets: a trainer times each, so `eval_NAME_runtime` shows them."""
    timed = {m.group(1) for k in keys if (m := re.match(r"eval_(.+)_runtime$", k))}
    lossy = {m.group(1) for k in keys if (m := re.match(r"eval_(.+)_loss$", k))} - PARTS_OF_LOSS
    return timed or (lossy if "eval_loss" not in keys else set()) or {""}


def _latest_pass(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows that led to the final weights, and a note where a resumed run replaced others.

    A step that comes again replaces all rows from it on: the run went back to a checkpoint. Where the epoch
    goes on rising meanwhile, the step counter restarts every epoch instead, and is made to run on.
    """
    kept: list[Row] = []
    replaced, offset, resumed = 0, 0.0, 0.0
    for source in rows:
        row = {**source, "step": source["step"] + offset}
        backward = bool(kept) and row["step"] < kept[-1]["step"]
        if backward and row.get("epoch", 0.0) > kept[-1].get("epoch", math.inf):
            offset = kept[-1]["step"] + 1 - source["step"]
            row["step"] = source["step"] + offset
            backward = False
        while backward and kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
            replaced, resumed = replaced + 1, row["step"]
        if kept and kept[-1]["step"] == row["step"]:
            row = {**kept.pop(), **row}
        kept.append(row)
    note = f"resumed at step {resumed:g}: {replaced} entries that it replaced are left out"
    return kept, note if replaced else ""
