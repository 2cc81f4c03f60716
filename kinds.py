"""Of what kind a setting is (a truth value, a number, text, a list) and whether a value is of that kind.

One rule for a config file and for a call from Python: Python holds true and false to be 1 and 0, and a
parser makes text of anything; a setting takes neither for what it is not.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from .errors import ProbeError

Kinds = frozenset[type]
PLAIN = (bool, int, float, str, Path, date, list)
WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "text in quotes",
    date: "a day such as 2027-03-31",
}


def kinds_of(hint: Any) -> Kinds:
    """The kinds that a type hint allows, of a list its items' too; empty where it says nothing of them."""
    if hint in PLAIN:
        return frozenset({hint})
    if get_origin(hint) is list:
        return frozenset({list}) | kinds_of(get_args(hint)[0])
    if hasattr(hint, "__metadata__"):
        return kinds_of(get_args(hint)[0])
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    return frozenset().union(*map(kinds_of, members))


def is_of(value: Any, kinds: Kinds) -> bool:
    """Whether a value is of one of these kinds; of a list, each of its items."""
    if list in kinds:
        return isinstance(value, list | tuple) and all(is_of(item, kinds - {list}) for item in value)
    if type(value).__name__ in ("bool", "bool_"):  # numpy's own, too
        return bool in kinds
    if isinstance(value, Real):
        return float in kinds or (int in kinds and (isinstance(value, Integral) or float(value).is_integer()))
    if isinstance(value, date):
        return date in kinds and not isinstance(value, datetime)
    return isinstance(value, str | Path) and bool({str, Path} & kinds)


def wanted(kinds: Kinds) -> str:
    """What to write for a setting of these kinds: `true or false`, `a whole number`."""
    items = kinds - {list}
    words = [WORDS[kind] for kind in PLAIN if kind in items and not (kind is int and float in items)]
    told = " or ".join(dict.fromkeys(words))
    return f"a list, each entry {told}" if list in kinds else told


def spelled(value: Any) -> str:
    """A value as a config file has it: `true`, not `True`."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, date) else repr(value)


def check_argument(name: str, value: Any, hint: Any) -> None:
    """Raises `ProbeError` where an argument is to be a number or a truth value, and is of another kind."""
    kinds = kinds_of(hint)
    if value is not None and kinds and kinds <= {bool, int, float} and not is_of(value, kinds):
        raise ProbeError(f"{name}={value!r}: no such value can be taken. Give {wanted(kinds)}.")


def fits_float(number: float) -> bool:
    """Whether a number is one that a float can hold."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
