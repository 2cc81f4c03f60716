"""What of a log's columns could not be read: such a log is not called healthy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .names import COUNTS, MEASUREMENT_NAME, OF_A_NAMED_SET, canonical, looks_held_out, looks_pairwise
from .numerals import doubtful_commas
from .rows import PARTS_OF_LOSS, PLACES, SUMMARY, Raw, as_number, finite_number
from .tables import NOTHING

UNKNOWN_HELD_OUT = "columns like held-out losses that are not known"
READ_HELD_OUT = re.compile(r"eval_(\w+_)?(loss$|rewards?(/|$)|logps/|objective/)")


def unread_columns(entries: Sequence[Mapping[str, Any]], rows: Sequence[Raw]) -> str:
    """In words: losses that are no numbers, and sides that no rule knows. `rows` are the entries as read."""
    found = (_losses(entries, rows), _sides(entries, rows), _commas(entries), _held_out(entries, rows))
    return "; ".join(filter(None, found))


def _losses(entries: Sequence[Mapping[str, Any]], rows: Sequence[Raw]) -> str:
    """Entries of training whose loss is text, and those after the last loss that have none."""
    trained = [(entry, row) for entry, row in zip(entries, rows, strict=True) if _trains(entry, row)]
    told = [i for i, (_, row) in enumerate(trained) if row.get("loss") is not None]
    last = told[-1] if told else -1
    # A loss that is logged at every second entry is no loss that broke off at the last one.
    ended = len(trained) - last > max((b - a for a, b in pairwise(told)), default=0)
    bad = sum(_no_number(entry, null=ended and i > last) for i, (entry, _) in enumerate(trained))
    return f"the loss is no number in {bad} of {len(trained)} entries of training" if bad else ""


def _trains(entry: Mapping[str, Any], row: Raw) -> bool:
    """Whether an entry has a column of the loss and measures training, not an evaluation or the whole run."""
    told = [k for k, v in row.items() if finite_number(v)]
    apart = any(k.startswith("eval_") or k in SUMMARY for k in told)
    measured = any(MEASUREMENT_NAME.search(k) for k in told) or _broken_text(entry, told)
    return not apart and bool(_loss_of(entry)) and measured


def _broken_text(entry: Mapping[str, Any], told: Sequence[str]) -> bool:
    """Whether a row that has a step has text for a loss, though no other number shows what it is of.

    A word for nothing (null, None) is one where the row holds nothing else; an empty cell is a gap.
    """
    text = [v for v in _loss_of(entry) if (isinstance(v, str) and v.strip()) or v is None]
    alone = PLACES.issuperset(told) or not all(map(_nothing, text))
    return bool(text) and alone and not COUNTS.isdisjoint(told)


def _loss_of(entry: Mapping[str, Any]) -> list[Any]:
    return [value for key, value in entry.items() if canonical(str(key)).name == "loss"]


def _no_number(entry: Mapping[str, Any], *, null: bool) -> bool:
    """Whether the loss is text that is no number; or, if `null` counts, nothing at all."""
    values = _loss_of(entry)
    return all(as_number(v) is None and (null or not _nothing(v)) for v in values)


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in NOTHING)


def _sides(entries: Sequence[Mapping[str, Any]], rows: Sequence[Raw]) -> str:
    """Columns that are named like rewards or log-probs of the sides, where no rule found any."""
    told = (k.removeprefix("eval_") for row in rows for k, value in row.items() if finite_number(value))
    if any(name.startswith(("rewards/", "logps/")) or OF_A_NAMED_SET.match(f"eval_{name}") for name in told):
        return ""
    keys = dict.fromkeys(str(key) for entry in entries for key in entry)
    names = [key for key in keys if looks_pairwise(canonical(key).name)]
    return f"columns like rewards or log-probs that are not known: {', '.join(names[:4])}" if names else ""


def _commas(entries: Sequence[Mapping[str, Any]]) -> str:
    """Columns whose commas may be decimal ones as well as part thousands."""
    names = doubtful_commas(entries)
    told = "numbers whose comma may be a decimal one or part thousands"
    return f"{told}: {', '.join(names[:4])}" if names else ""


def _held_out(entries: Sequence[Mapping[str, Any]], rows: Sequence[Raw]) -> str:
    """Columns that are named like held-out losses, where no such loss or reward could be read."""
    told = {k for row in rows for k, value in row.items() if finite_number(value)}
    parts = {f"eval_{part}_loss" for part in PARTS_OF_LOSS}
    if any(READ_HELD_OUT.match(name) and name not in parts for name in told):
        return ""
    keys = dict.fromkeys(str(key) for entry in entries for key in entry)
    names = [key for key in keys if canonical(key).name in told and looks_held_out(key)]
    return f"{UNKNOWN_HELD_OUT}: {', '.join(names[:4])}" if names else ""
