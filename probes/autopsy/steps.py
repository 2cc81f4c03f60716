"""Where an entry stands: its step where the log says it, else its number; and which entries count once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from ...number_format import place_text
from .curve import LogRow
from .hints import Hints
from .names import EXAMPLES, STEP_NAMES
from .rows import Raw

DISORDER = 0.3  # of the entries that lie before the one that they follow
COPIES = range(8, 1, -1)  # how often a console, a logger and several ranks may print one entry


def number_steps(rows: list[Raw], hints: Hints) -> str:
    """Give every row a finite `step` and return its unit.

    "step" where the log says it, or where epoch × steps per epoch gives it; else "example", "W&B step" (a
    count of log calls), "epoch" where there is one entry an epoch, or "entry". Evaluations do not count as
    entries where there are training entries.
    """
    for unit, steps in (
        ("step", [_named(row, STEP_NAMES) for row in rows]),
        ("example", [_named(row, EXAMPLES) for row in rows]),
        ("W&B step", [_named(row, ("_step",)) for row in rows]),
        ("step", _from_epochs(rows, hints)),
    ):
        known = [s for s in steps if s is not None]
        stands_still = len(set(known)) == 1 and sum("loss" in row for row in rows) > 1
        if known and not stands_still:
            _fill(rows, steps)
            return unit
    return _by_position(rows)


def by_step(rows: list[Raw]) -> tuple[list[Raw], str]:
    """Rows in the order of their steps where the file has another one, and what is said of it.

    A run that was resumed goes back once or twice, and over the same steps again or on from there; a file
    that has the newest entry first, or none in its place, goes back at every third entry or more. Where no
    step comes twice and each that is late stands alone, entries have only changed places.
    """
    steps = [_named(row, STEP_NAMES) for row in rows]
    known = [step for step in steps if step is not None]
    back = sum(b < a for a, b in pairwise(known))
    disorder = back > max(2, DISORDER * len(rows)) or (back > 0 and _changed_places(known))
    if len(known) < len(rows) or not disorder:
        return rows, ""
    newest_first = all(b <= a for a, b in pairwise(known))
    listed = zip(known, rows, strict=True)
    placed = list(reversed(list(listed))) if newest_first else list(listed)
    why = "the newest entry stands first" if newest_first else "entries are out of order"
    return [row for _, row in sorted(placed, key=lambda one: one[0])], f"{why}: they are read by their steps"


def _changed_places(steps: Sequence[float]) -> bool:
    late = [step < highest for step, highest in zip(steps[1:], accumulate(steps, max), strict=False)]
    return len(set(steps)) == len(steps) and not any(a and b for a, b in pairwise(late)) and not late[-1]


def _named(row: Mapping[str, float | None], names: Sequence[str]) -> float | None:
    found = (row.get(name) for name in names)
    return next((s for s in found if s is not None and math.isfinite(s)), None)


def _from_epochs(rows: list[Raw], hints: Hints) -> list[float | None]:
    """Steps from the epoch, where the log says how many steps and epochs the run has."""
    if not hints.max_steps or not hints.epochs:
        return [None] * len(rows)
    a_step = hints.max_steps / hints.epochs
    epochs = [row.get("epoch") for row in rows]
    return [None if e is None or not math.isfinite(e) else round(e * a_step) for e in epochs]


def _fill(rows: list[Raw], steps: Sequence[float | None]) -> None:
    last = 0.0
    for row, step in zip(rows, steps, strict=True):
        last = row["step"] = last if step is None else float(step)


def _by_position(rows: list[Raw]) -> str:
    counted = [_trains(row) for row in rows]
    if not any(counted):
        counted = [True] * len(rows)
    epochs = [row.get("epoch") for row, counts in zip(rows, counted, strict=True) if counts]
    if len(epochs) > 1 and _one_an_epoch(epochs):
        _fill(rows, [row.get("epoch") for row in rows])
        return "epoch"
    number = 0.0
    for row, counts in zip(rows, counted, strict=True):
        number += counts
        row["step"] = number
    return "entry"


def _trains(row: Mapping[str, float | None]) -> bool:
    return any(not k.startswith("eval_") and k not in ("step", "epoch") for k in row) and "loss" in row


def _one_an_epoch(epochs: Sequence[float | None]) -> bool:
    known = [e for e in epochs if e is not None and math.isfinite(e)]
    rising = all(a < b for a, b in pairwise(known))
    return len(known) == len(epochs) and rising and all(e == round(e) for e in known)


def counted_once(rows: list[Raw]) -> tuple[list[Raw], str]:
    """The rows without echoes and further ranks, and a note that says what was left out."""
    for times in COPIES:
        if once := _said_once(rows, times):
            echoes = len(rows) - len(once)
            how = "twice" if times == 2 else f"{times} times"
            return once, f"every entry stands {how} in the file: {echoes} echoes are left out"
    ranks = _ranks(rows)
    if ranks > 1:
        return rows[::ranks], f"{ranks} entries for each step, as {ranks} ranks write them: the first is read"
    return rows, ""


def _said_once(rows: list[Raw], times: int) -> list[Raw]:
    """The rows without their echoes, where each stands `times` times, side by side or one file after another.

    Nothing where it does not, or where all rows are alike: a stuck run repeats itself, which is no echo.
    """
    count, rest = divmod(len(rows), times)
    if rest or count < 2 or all(row == rows[0] for row in rows):
        return []
    if all(rows[k::times] == rows[::times] for k in range(1, times)):
        return rows[::times]
    return rows[:count] if rows == rows[:count] * times else []


def _ranks(rows: Sequence[Raw]) -> int:
    """How many processes wrote the file: entries of a step beside each other that differ in their loss."""
    for n in (2, 4, 8):
        groups = [rows[i : i + n] for i in range(0, len(rows), n)]
        if len(groups) >= 3 and len(rows) % n == 0 and all(map(_of_one_step, groups)) and _moves(groups):
            return n
    return 1


def _of_one_step(group: Sequence[Raw]) -> bool:
    where = [[row.get(k) for k in (*STEP_NAMES, "epoch", "learning_rate")] for row in group]
    alike = all(w == where[0] for w in where) and any(v is not None for v in where[0])
    return alike and all("loss" in row for row in group)


def _moves(groups: Sequence[Sequence[Raw]]) -> bool:
    """Whether step or rate differ from each group to the next; a constant rate alone proves nothing."""
    where = [tuple(g[0].get(k) for k in (*STEP_NAMES, "learning_rate")) for g in groups]
    changed = sum(a != b for a, b in pairwise(where))
    return changed >= 0.9 * (len(where) - 1)


def latest_pass(rows: Sequence[LogRow], unit: str = "step") -> tuple[list[LogRow], str]:
    """The rows that led to the final weights, and a note where a resumed run replaced others.

    A step that comes again replaces all rows from it on: the run went back to a checkpoint. Where the epoch
    goes on rising meanwhile, the step counter restarts every epoch instead, and is made to run on. Without
    steps the epoch says where a run went back to.
    """
    if unit == "entry":
        return _by_epoch(rows)
    kept: list[LogRow] = []
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
    note = f"resumed at {unit} {place_text(resumed)}: {replaced} entries that it replaced are left out"
    return kept, note if replaced else ""


def _by_epoch(rows: Sequence[LogRow]) -> tuple[list[LogRow], str]:
    kept: list[LogRow] = []
    replaced = 0
    for row in rows:
        epoch = row.get("epoch", math.nan)
        if kept and epoch < kept[-1].get("epoch", math.nan):
            while kept and kept[-1].get("epoch", -math.inf) >= epoch:
                kept.pop()
                replaced += 1
        kept.append(row)
    note = f"the epoch goes back: {replaced} earlier entries are left out"
    return kept, note if replaced else ""
