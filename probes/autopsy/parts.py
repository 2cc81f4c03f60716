"""Columns that say what a row was measured on: `split: val`, `event: eval_step`, `is_eval: true`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .names import HELD_OUT_WORDS, TRAINING, canonical
from .rows import PLACES, held_out_entry

# Columns that say it whatever the other rows have; any other must have a value for training as well.
PARTS = ("split", "mode", "phase", "set", "subset", "type")
OF_TRAINING_ROWS = TRAINING | {"fit", "fitting"}
ASKING = {"is", "in", "for", "on", "do"}  # words of a column that is true or false
MOST_VALUES = 12  # of such a column: texts differ from row to row
LONGEST_MARK = 40  # characters of such a value: a message or a path is none
TRUE_OR_FALSE = {"true": True, "false": False, True: True, False: False}


class Marks(NamedTuple):
    """The values of a column that mean held out, and whether others mean training."""

    held_out: frozenset[Any]
    training: bool


def parts_marked(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries, those that a column marks as held out with `eval_` before what they measured.

    Where it names several held-out sets, each has its name there too.
    """
    marked = _marked_columns(entries)
    names = {value for marks in marked.values() for value in marks.held_out if isinstance(value, str)}
    told: list[Mapping[str, Any]] = []
    for entry in entries:
        value = next((entry[c] for c, marks in marked.items() if _in(entry.get(c), marks.held_out)), None)
        name = _set_name(value) if len(names) > 1 and isinstance(value, str) else ""
        told.append(entry if value is None else _of_set(entry, name) if name else held_out_entry(entry))
    return told


def splits(entries: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether a column tells rows of training from held-out ones."""
    return column in _marked_columns(entries)


def _marked_columns(entries: Sequence[Mapping[str, Any]]) -> dict[str, Marks]:
    found: dict[str, set[Any]] = {}
    for entry in entries:
        for key, value in entry.items():
            if isinstance(value, str | bool):
                found.setdefault(key, set()).add(value)
    known = {key for key in found if str(key).strip().lower() in PARTS}
    marks = {
        key: _marks(str(key), values)
        for key, values in found.items()
        if key in known or len(values) <= MOST_VALUES
    }
    return {key: one for key, one in marks.items() if one.held_out and (one.training or key in known)}


def _marks(column: str, values: set[Any]) -> Marks:
    means = {value: _means(column, value) for value in values}
    held = frozenset(value for value, part in means.items() if part == "held out")
    return Marks(held, "training" in means.values())


def _means(column: str, value: Any) -> str:
    """Whether a value of a column means "training" or "held out"; "" where neither or both."""
    flag = TRUE_OR_FALSE.get(value.strip().lower() if isinstance(value, str) else value)
    words = _words(column if flag is not None else value)
    if flag is not None and len(words - ASKING) != 1:
        return ""  # a setting such as do_eval_first, no part
    held, trained = not words.isdisjoint(HELD_OUT_WORDS), not words.isdisjoint(OF_TRAINING_ROWS)
    if held == trained:
        return ""
    return "held out" if held == (flag is not False) else "training"


def _words(text: str) -> set[str]:
    """The words of a short text, `evalStep` being two."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.strip())
    return {w for w in re.split(r"[^a-z]+", spaced.lower()) if w} if len(spaced) <= LONGEST_MARK else set()


def _in(value: Any, values: frozenset[Any]) -> bool:
    return isinstance(value, str | bool) and value in values


def _set_name(value: str) -> str:
    """`math` of `eval/math`, `val` of `val`."""
    parts = [part for part in re.split(r"[^a-z0-9]+", value.lower()) if part]
    return "_".join(parts[1:] if len(parts) > 1 and parts[0] in HELD_OUT_WORDS else parts)


def _of_set(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        key
        if (known := canonical(str(key)).name) in PLACES
        else f"eval_{name}_{known.removeprefix('eval_')}": value
        for key, value in entry.items()
    }
