"""Raw entries as rows of numbers: names by rule, strings and lists as numbers, nulls as what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .curve import LogRow
from .hints import LOSS_TYPES
from .names import COUNTS, MEASUREMENT_NAME, canonical
from .numerals import undoubted
from .tables import NOTHING

Raw = dict[str, float | None]
# Written once at the end of a run: an average over it, no point of a curve.
SUMMARY = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")
FLOAT32 = 3.4028235e38
WRITTEN_COUNT = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"  # a count, with or without its thousands parted
PARTING = re.compile(r"(?<=\d)['’_\u00a0\u2009\u202f](?=\d{3}(?!\d))")
FRACTION = re.compile(rf"\s*({WRITTEN_COUNT})\s*/\s*({WRITTEN_COUNT})\s*")
# What C of Windows prints for numbers that are not finite, and what a spreadsheet shows for them.
NO_NUMBER = re.compile(r"[-+]?(?:nan\(\w*\)|\d\.#(?:IND|[QS]NAN)0*)|#NUM!|#DIV/0!", re.IGNORECASE)
INFINITE = re.compile(r"([-+]?)\d\.#INF0*", re.IGNORECASE)
PARTS_OF_LOSS = {
    "nll", "sft", "odds_ratio", "aux", "policy", "value", "actor", "critic", "kl", "ce", "lm", "dpo",
    "entropy", "total", "preference", "pref", "reg", "router", "z", "mtp", "load_balancing", "cross_entropy",
    "ptx",
}  # fmt: skip
PLACES = frozenset((*COUNTS, "epoch", *SUMMARY))  # what places an entry, and measures nothing


def to_rows(entries: Iterable[Mapping[str, Any]]) -> list[Raw]:
    """Rows in the order of the file, with a null kept only where it stands for a number that broke."""
    rows = [_canonical(entry) for entry in entries]
    _drop_nulls(rows)
    return rows


def _canonical(entry: Mapping[str, Any]) -> Raw:
    row: Raw = {}
    summary = any(name in entry for name in SUMMARY[:2])
    for key, value in sorted(entry.items(), key=lambda item: canonical(str(item[0])).distance):
        name = canonical(str(key)).name
        if summary and name == "loss" and key != "loss":
            continue  # the average over the run, no entry of it
        if name == "global_step/max_steps" or (isinstance(value, str) and name in COUNTS):
            row |= _fraction(name, value)
            continue
        number = as_number(value)
        if number is not None or value is None or (isinstance(value, str) and value.strip() in NOTHING):
            if row.get(name) is None:  # of two columns of a name, one may be empty where the other is filled
                row[name] = number
            if name == "loss" and (own := str(key).strip().lower()).removesuffix("_loss") in LOSS_TYPES:
                row.setdefault(own, number)  # its name says the method
    return row


def held_out_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with `eval_` before what it measured: what says so stands elsewhere."""
    return {
        key
        if (name := canonical(str(key)).name) in PLACES or name.startswith("eval_")
        else f"eval {key}": value
        for key, value in entry.items()
    }


def _fraction(name: str, value: Any) -> Raw:
    """`100/438` as a step and the number of steps."""
    match = FRACTION.fullmatch(str(value))
    if match:
        return {"step": float(whole(match.group(1))), "max_steps": float(whole(match.group(2)))}
    text = unparted(str(value).strip())
    return {name: float(whole(text)) if re.fullmatch(WRITTEN_COUNT, text) else as_number(value)}


def unparted(text: str) -> str:
    """The text without the signs that can only part thousands: `1'200`, `1_200`, narrow spaces."""
    return PARTING.sub("", text)


def whole(text: str) -> int:
    """A count as it is written, be its thousands parted by commas or not."""
    return int(text.replace(",", ""))


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
    inner = re.match(r"(?:[\w.]*\.)?(?:tensor|float\d+|array)\(\s*([^,)\s]+)", text.strip())
    body = inner.group(1) if inner else text.strip().removesuffix("%")
    if NO_NUMBER.fullmatch(body):
        return math.nan
    if infinite := INFINITE.fullmatch(body):
        return -math.inf if infinite.group(1) == "-" else math.inf
    try:
        return _in_range(float(undoubted(body)))
    except ValueError:
        return None


def _drop_nulls(rows: list[Raw]) -> None:
    """Take out the nulls, which mean "does not apply"; a column that broke off for good keeps them.

    JSON has no word for NaN. A column that had numbers in nearly every row with a learning rate, and has
    none in any later one, broke off; anything else is a gap.
    """
    for name in {k for row in rows for k, v in row.items() if v is None}:
        finite = [i for i, row in enumerate(rows) if finite_number(row.get(name))]
        last = finite[-1] if finite else len(rows)
        company = [i for i, row in enumerate(rows) if finite_number(row.get("learning_rate"))]
        before = [i for i in company if i <= last]
        broke = len([i for i in company if i > last]) >= 2 and len(finite) >= 0.8 * len(before)
        for i, row in enumerate(rows):
            if row.get(name, 0.0) is None and not (broke and i > last):
                del row[name]


def shares(row: Mapping[str, float | None]) -> bool:
    """Whether a row holds a training loss and a held-out one side by side."""
    return finite_number(row.get("loss")) and any(
        finite_number(v) for k, v in row.items() if k.startswith("eval_") and k.endswith("loss")
    )


def train_part(row: Mapping[str, float | None], shared: bool = False) -> LogRow | None:
    """What a row says of training, or None. Where rows are `shared` with evaluations, NaN is no filler."""
    part = {k: v for k, v in row.items() if not k.startswith("eval_") and k not in SUMMARY}
    elsewhere = any(finite_number(v) for k, v in row.items() if k.startswith("eval_") or k in SUMMARY)
    return _part(part, elsewhere and not (shared and row.get("loss") is not None))


def _part(part: Mapping[str, float | None], elsewhere: bool) -> LogRow | None:
    """The measured part of a row, or None where the row is about something else.

    A table of entries of several kinds fills the gaps with NaN. Such a filler is told from a measured NaN by
    its company: where nothing of this kind was finite, not even the learning rate or the running time, and
    the row does hold another kind, the entry is absent.
    """
    measured = {k: v for k, v in part.items() if MEASUREMENT_NAME.search(k)}
    company = [v for k, v in part.items() if k in measured or k in ("learning_rate", "runtime")]
    present = any(finite_number(v) for v in company)
    if not measured or (not present and (elsewhere or all(v is None for v in company))):
        return None
    return {k: math.nan if v is None else v for k, v in part.items() if v is not None or k in measured}


def finite_number(value: float | None) -> bool:
    """Whether a value is there and is a number."""
    return value is not None and math.isfinite(value)


def eval_sets(rows: Sequence[Mapping[str, float | None]]) -> dict[str, list[LogRow]]:
    """The rows of every evaluation set, by its name ("" where it has none)."""
    names = sorted(_set_names({k for row in rows for k in row if k.startswith("eval_")}), reverse=True)
    found: dict[str, list[LogRow]] = {}
    for row in rows:
        elsewhere = any(finite_number(row.get(k)) for k in ("loss", "learning_rate", *SUMMARY))
        by_set: dict[str, dict[str, float | None]] = {}
        for key, value in row.items():
            if key.startswith("eval_"):
                name = next((n for n in names if n and key.startswith(f"eval_{n}_")), "")
                metric = key.removeprefix(f"eval_{name}_" if name else "eval_")
                where = {k: row[k] for k in ("step", "epoch") if k in row}
                by_set.setdefault(name, where)[canonical(metric).name] = value
        for name, part in by_set.items():
            if kept := _part(part, elsewhere):
                found.setdefault(name, []).append(kept)
    return found


def _set_names(keys: set[str]) -> set[str]:
    """Names of evaluation sets: a trainer times each, so `eval_NAME_runtime` shows them."""
    timed = {m.group(1) for k in keys if (m := re.match(r"eval_(.+)_runtime$", k))}
    lossy = {m.group(1) for k in keys if (m := re.match(r"eval_(.+)_loss$", k))} - PARTS_OF_LOSS
    return timed or lossy or {""}
