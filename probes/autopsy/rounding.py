"""How far the zeros of a column may be from 0: a log shows as many decimals as its writer chose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .names import canonical

WRITTEN = re.compile(r"[-+]?(?P<whole>\d*)\.?(?P<decimals>\d*)(?:[eE](?P<power>[-+]?\d+))?")
# Numbers rounded this finely are as good as 0 where they read 0. Rates of 1e-7 train.
FINE = {"learning_rate": 1e-7}
AS_GOOD_AS_0 = 1e-4
FEWEST_DISTINCT = 3  # numbers that are no text show their rounding in no fewer
REACH = 20.0  # half digits: a curve that came as near to 0 may go on below the last one


def half_digits(entries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Half of the last digit that each column with zeros is written with, where the column shows it.

    A text says it by its decimals, a zero too if it has two or more: `0.0` is how programs write 0 itself.
    Numbers of JSON lose theirs, and only those that differ from 0 say to how many they were rounded.
    """
    columns: dict[str, list[Any]] = {}
    for entry in entries:
        for key, value in entry.items():
            if isinstance(value, str | float) and not isinstance(value, bool):
                columns.setdefault(canonical(str(key)).name, []).append(value)
    found = {name: _most_decimals(values) for name, values in columns.items()}
    return {name: 0.5 * 10.0**-decimals for name, decimals in found.items() if decimals is not None}


def _most_decimals(values: Sequence[Any]) -> int | None:
    texts = [value.strip() for value in values if isinstance(value, str)]
    if all(values) and all(_differs(text) for text in texts):
        return None  # no zeros
    told = [d for text in texts if (d := _decimals(text)) is not None and (_differs(text) or d > 1)]
    numbers = {value for value in values if isinstance(value, float) and value}
    if len(numbers) >= FEWEST_DISTINCT:
        told += [d for number in numbers if (d := _decimals(repr(number))) is not None]
    return max(told, default=None)


def _decimals(text: str) -> int | None:
    match = WRITTEN.fullmatch(text)
    if match is None or not (match["whole"] or match["decimals"]):
        return None
    return len(match["decimals"]) - int(match["power"] or 0)


def _differs(text: str) -> bool:
    return bool(re.search(r"[1-9]", re.split("[eE]", text)[0]))


def coarse(half: float, name: str) -> float:
    """`half` of the last digit where zeros may be anything below it; 0 where they are as good as 0."""
    return half if half >= FINE.get(name, AS_GOOD_AS_0) else 0.0


def may_be_rounded(values: Sequence[float], half: float) -> list[bool]:
    """Which values of a curve are 0 only as written: those it reached by numbers near the last digit."""
    found, last = [], float("inf")
    for value in values:
        found.append(value == 0.0 and abs(last) <= REACH * half)
        last = value or last
    return found
