"""Which entries led to which weights: steps that begin anew are epochs, a resumed run or runs of their own.

Training decides, and the evaluations go with it: those of a pass that was replaced judge weights that are
gone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from ...number_format import place_text
from .curve import LogRow
from .names import MEASUREMENT_NAME
from .rows import PLACES, Raw

TOLD_BY = ("reward", "loss", "rewards/margins")  # columns that show whether training went on or began anew
ROUNDED = 0.02  # of a value: two that differ by less may be one, printed with fewer digits
OF_AN_UPDATE = ("grad_norm", "learning_rate")  # no evaluation has one
FURTHEST_START = 2.0  # logging intervals: a log that begins later is the end of a run


class PlacedRow(NamedTuple):
    """A row, where it stands (by step, or else by epoch) and whether it decides on going back."""

    row: Raw
    place: float
    decides: bool


class OwnRun(NamedTuple):
    """The rows of one run that led to its last weights, and what is said of the others."""

    rows: list[Raw]
    note: str


def own_runs(rows: Sequence[Raw], trains: Sequence[bool], unit: str) -> list[OwnRun]:
    """The runs in `rows`, which have a `step`; `trains` says which measure training.

    Steps that go back to a later place than the first are those of a resumed run: they replace all entries
    from there on. Where they go back to the first one, it is the next epoch if the epoch has risen, or if
    none is logged and loss and reward go on from where they were; else it is a run of its own. Of entries
    that have no steps the epoch says where they stand.
    """
    by_epoch = unit == "entry"
    runs: list[_Run] = []
    if not rows:
        return []
    for stretch in _stretches(_placed(rows, trains, by_epoch), by_epoch):
        how = _relation(runs[-1], stretch, by_epoch) if runs else "run"
        if how == "run":
            runs.append(_Run(unit, by_epoch))
        runs[-1].add(stretch, how)
    return [OwnRun(run.rows(), run.note()) for run in runs]


def _placed(rows: Sequence[Raw], trains: Sequence[bool], by_epoch: bool) -> list[PlacedRow]:
    decides = trains if any(trains) else [True] * len(rows)
    placed: list[PlacedRow] = []
    for row, deciding in zip(rows, decides, strict=True):
        at = row.get("epoch" if by_epoch else "step")
        known = at if at is not None and math.isfinite(at) else placed[-1].place if placed else -math.inf
        placed.append(PlacedRow(row, known, deciding))
    return placed


def _epoch(row: Raw) -> float:
    epoch = row.get("epoch")
    return math.nan if epoch is None else epoch


def _stretches(listed: Sequence[PlacedRow], by_epoch: bool) -> list[list[PlacedRow]]:
    """The entries parted where one of their metrics goes back; other metrics may be listed behind them."""
    deciding = [i for i, one in enumerate(listed) if one.decides]
    before, after = listed[: deciding[0]], listed[deciding[-1] + 1 :]
    found = _parted(listed[deciding[0] : deciding[-1] + 1], by_epoch)
    # All evaluations behind (or before) all of training: each of its passes has those of the same number.
    for apart, other, at in ((after, before, -1), (before, after, 0)):
        among = any(not one.decides for stretch in found for one in stretch) or bool(other)
        passes = _parted([one._replace(decides=True) for one in apart], by_epoch) if not among else []
        if len(passes) == len(found) > 1:
            for stretch, own in zip(found, passes, strict=True):
                stretch += [one._replace(decides=False) for one in own]
        else:
            found[at] = [*found[at], *apart] if at else [*apart, *found[at]]
    return found


def _parted(listed: Sequence[PlacedRow], by_epoch: bool) -> list[list[PlacedRow]]:
    found: list[list[PlacedRow]] = [[]]
    last: dict[str, PlacedRow] = {}
    for one in listed:
        names = one.row.keys() - PLACES if one.decides else set()
        if any(_goes_back(last[name], one, by_epoch) for name in names if name in last):
            found.append(_of_the_next(found[-1]))
            last = {}
        last |= dict.fromkeys(names, one)
        found[-1].append(one)
    return found


def _goes_back(before: PlacedRow, one: PlacedRow, by_epoch: bool) -> bool:
    risen = not by_epoch and one.place == before.place and _epoch(one.row) > _epoch(before.row)
    return one.place < before.place or risen


def _of_the_next(stretch: list[PlacedRow]) -> list[PlacedRow]:
    """Take from the end of a stretch the evaluations of where the next one begins, before it trains."""
    last = next(one for one in reversed(stretch) if one.decides)
    taken: list[PlacedRow] = []
    while stretch[-1].place < last.place and _epoch(stretch[-1].row) != _epoch(last.row):
        taken.insert(0, stretch.pop())
    return taken


def _relation(run: _Run, stretch: Sequence[PlacedRow], by_epoch: bool) -> str:
    """Whether a stretch is the next "epoch" of a run, the run "resumed", or a "run" of its own."""
    new = [one for one in stretch if one.decides]
    first, start, before = new[0], run.deciding[0], run.deciding[-1]
    if not by_epoch and _epoch(first.row) > _epoch(before.row):
        return "epoch"
    later = not by_epoch and _epoch(first.row) >= _epoch(start.row) + 1.0
    if later or not run.from_its_start(first.place):
        return "resumed"
    told = by_epoch or math.isfinite(_epoch(first.row))
    return "epoch" if not told and _goes_on(run.deciding, new) else "run"


def _goes_on(before: Sequence[PlacedRow], after: Sequence[PlacedRow]) -> bool:
    """Whether the curve that changed most surely goes on from its end, not again from its start."""
    if _sides(before) != _sides(after):
        return False  # another method: DPO behind SFT
    surest, goes_on = 0.0, True
    for name in TOLD_BY:
        old, new = _values(before, name), _values(after, name)
        if not old or not new:
            continue
        if not math.isfinite(old[-1]) and math.isfinite(new[0]):
            return False  # weights that were lost do not come back
        old, new = [v for v in old if math.isfinite(v)], [v for v in new if math.isfinite(v)]
        if len(old) > 1 and new:
            n = max(1, min(5, len(old) // 5, len(new)))
            first, last, now = fmean(old[:n]), fmean(old[-n:]), fmean(new[:n])
            noise = fmean(abs(b - a) for a, b in pairwise(old)) / math.sqrt(n)
            sure = abs(first - last) / noise if noise else 0.0
            if sure > surest:
                surest, goes_on = sure, abs(now - last) <= abs(now - first)
    return goes_on


def _sides(listed: Sequence[PlacedRow]) -> set[str]:
    """The metrics of pairs that are logged, by which methods differ."""
    return {name for one in listed for name in one.row if name.startswith(("rewards/", "logps/"))}


def _values(listed: Sequence[PlacedRow], name: str) -> list[float]:
    return [math.nan if (v := one.row[name]) is None else v for one in listed if name in one.row]


@dataclass(slots=True)
class _Run:
    """A run as it is read: what of it is kept, and by how much the steps of an epoch are moved on."""

    unit: str
    by_epoch: bool
    kept: list[PlacedRow] = field(default_factory=list)
    offsets: list[tuple[float, float]] = field(default_factory=list)  # from which epoch on, how many steps
    replaced: int = 0
    resumed: float = 0.0

    @property
    def deciding(self) -> list[PlacedRow]:
        return [one for one in self.kept if one.decides]

    def from_its_start(self, place: float) -> bool:
        """Whether a place is that of the first entry, where the log begins with the run."""
        places = [one.place for one in self.deciding]
        apart = [b - a for a, b in pairwise(places) if b > a]
        usual = median(apart) if apart else places[0]
        near = place <= usual and places[0] <= max(FURTHEST_START * usual, 1.0)
        return near or place <= places[0]

    def add(self, stretch: Sequence[PlacedRow], how: str) -> None:
        first = next(one for one in stretch if one.decides)
        epoch = _epoch(first.row)
        if how == "epoch":
            # The first step of a pass is 1, or 0 where they are counted from there.
            self.offsets.append((epoch, max(one.place for one in self.deciding) + (first.place <= 0.0)))
        known = [offset for since, offset in self.offsets if not since > epoch]
        offset = 0.0 if self.by_epoch or not known else known[-1]
        if how == "resumed":
            self._go_back(first.place + offset)
        self.kept += [one._replace(place=one.place + offset) for one in stretch]
        if how == "resumed":
            self._drop_unreached(stretch, offset)

    def _go_back(self, place: float) -> None:
        gone = [one for one in self.kept if one.place >= place]
        self.kept = [one for one in self.kept if one.place < place]
        self.replaced, self.resumed = self.replaced + sum(one.decides for one in gone), place

    def _drop_unreached(self, stretch: Sequence[PlacedRow], offset: float) -> None:
        """Leave out evaluations an interval or more beyond training: of a list of them behind all passes."""
        places = [one.place + offset for one in stretch if one.decides]
        apart = [b - a for a, b in pairwise(places) if b > a]
        far = max(places) + (median(apart) if apart else math.inf)
        self.kept = [one for one in self.kept if one.decides or one.place < far]

    def rows(self) -> list[Raw]:
        """The kept rows in the order of their steps; entries without steps are numbered from 1 again."""
        if self.by_epoch:
            first = self.kept[0].row["step"] or 0.0
            return [
                {**one.row, "step": (one.row["step"] or 0.0) - max(0.0, first - 1.0)} for one in self.kept
            ]
        placed = sorted(self.kept, key=lambda one: one.place)
        return [{**one.row, "step": one.place} for one in placed]

    def note(self) -> str:
        """What was done with entries that go back; "" where none does."""
        told = []
        if self.offsets:
            passes = len(self.offsets) + 1
            told.append(
                f"the {self.unit}s begin anew in each of {passes} passes over the data: they are counted on"
            )
        if self.replaced and self.by_epoch:
            told.append(f"the epoch goes back: {self.replaced} earlier entries are left out")
        elif self.replaced:
            place = f"{self.unit} {place_text(self.resumed)}"
            told.append(f"resumed at {place}: {self.replaced} entries that it replaced are left out")
        return "; ".join(told)


def merged(rows: Sequence[LogRow], unit: str) -> tuple[list[LogRow], int]:
    """Rows in which the parts of one step are one, and in how many steps they contradict each other.

    Of such entries the first is read, else of two numbers the later. Entries that are only numbered are
    joined where no metric comes twice.
    """
    found: list[LogRow] = []
    torn: set[float] = set()
    for row in rows:
        before = found[-1] if found and found[-1]["step"] == row["step"] else None
        if before is None or (unit == "entry" and before.keys() & row.keys() - PLACES):
            found.append(row)
        elif _contradict(before, row):
            torn.add(row["step"])
            found[-1] = {**row, **before}
        else:
            found[-1] = {**before, **row}
    return found, len(torn)


def _contradict(one: LogRow, other: LogRow) -> bool:
    """Whether two entries measure one thing differently, and nothing says that both are of training."""
    common = one.keys() & other.keys() - PLACES
    measured = [name for name in common if MEASUREMENT_NAME.search(name)]
    pairs = [(one[name], other[name]) for name in measured if math.isfinite(one[name] - other[name])]
    differ = any(abs(a - b) > ROUNDED * max(abs(a), abs(b)) for a, b in pairs)
    return differ and common.isdisjoint(OF_AN_UPDATE)
