"""Commas and points in numbers as countries write them: which is the decimal one, which parts thousands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ...records import JsonRow
from .names import COUNTS, MEASUREMENT_NAME, canonical

DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
DECIMAL_POINT = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
# A number of a line that has a comma in it, and no list of numbers.
WITH_COMMA = (
    r"(?:[1-9]\d{0,2}(?:,\d{3})+\.\d+|[1-9]\d{0,2}(?:,\d{3}){2,}|[1-9]\d{0,2}(?:\.\d{3})+,\d+"
    r"|\d+,\d+(?:[eE][-+]?\d+)?)(?![.,]?\d)"
)
DOTTED_COUNT = r"[1-9]\d{0,2}(?:\.\d{3})+"  # 1.200, where the point may part thousands
# With a comma and a point in it, a number says itself what each is; so it does with two groups of thousands.
POINT_AFTER_COMMAS = re.compile(r"[-+]?[1-9]\d{0,2}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})")
COMMA_AFTER_POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})")


def undoubted(text: str) -> str:
    """A number without parted thousands and with a decimal point, where its own signs leave no doubt."""
    if POINT_AFTER_COMMAS.fullmatch(text):
        return text.replace(",", "")
    if COMMA_AFTER_POINTS.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    return text


def has_decimal_commas(numbers: Iterable[str]) -> bool:
    """Whether the commas in the numbers of one text stand for points.

    They do if one of them cannot part thousands and no number has a decimal point.
    """
    told = [number.strip() for number in numbers]
    if any(DECIMAL_POINT.fullmatch(number) or POINT_AFTER_COMMAS.fullmatch(number) for number in told):
        return False
    return any(
        (DECIMAL_COMMA.fullmatch(number) and not THOUSANDS.fullmatch(number))
        or COMMA_AFTER_POINTS.fullmatch(number)
        for number in told
    )


def with_point(number: str) -> str:
    """A number with its decimal comma replaced; anything else as it is."""
    return number.replace(",", ".") if DECIMAL_COMMA.fullmatch(number.strip()) else number


def has_dotted_thousands(steps: Sequence[str]) -> bool:
    """Whether the points in a column of steps part thousands: 900, 1.000, 1.100.

    They do if the steps then go back less often than as fractions, or as seldom and more of them differ.
    """
    told = [step.strip() for step in steps]
    dotted = [step for step in told if "." in step]
    if not dotted or not all(re.fullmatch(DOTTED_COUNT, step) for step in dotted):
        return False
    known = [step for step in told if step.replace(".", "").isdigit()]
    whole, cut = ([int(s.replace(".", "")) for s in known], [int(s.split(".")[0]) for s in known])
    return _disorder(whole) < _disorder(cut)


def _disorder(steps: Sequence[int]) -> tuple[int, int]:
    return sum(b < a for a, b in pairwise(steps)), -len(set(steps))


def read_alike(entries: list[JsonRow]) -> list[JsonRow]:
    """Entries of one text, their numbers with points for decimal commas and their steps as whole numbers.

    A number whose comma may be either stays as it is: no number, and told so.
    """
    texts = [(_counts(key), key, value) for entry in entries for key, value in _texts(entry)]
    commas = has_decimal_commas(value for counts, _, value in texts if not counts)
    dotted = has_dotted_thousands([value for _, key, value in texts if key == "step"])
    return [{key: _read(key, value, commas, dotted) for key, value in entry.items()} for entry in entries]


def _texts(entry: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in entry.items() if isinstance(value, str)]


def _counts(key: str) -> bool:
    return canonical(key).name in COUNTS


def _read(key: str, value: object, commas: bool, dotted: bool) -> object:
    if not isinstance(value, str):
        return value
    if _counts(key):
        return value.replace(".", "") if dotted else value.split(".")[0]
    return with_point(value) if commas else value


def doubtful_commas(entries: Sequence[Mapping[str, object]]) -> list[str]:
    """The measured columns with numbers whose comma may be a decimal one or part thousands."""
    found = (
        key
        for entry in entries
        for key, value in _texts(entry)
        if DECIMAL_COMMA.fullmatch(value.strip()) and MEASUREMENT_NAME.search(canonical(key).name)
    )
    return list(dict.fromkeys(found))
