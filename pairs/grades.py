"""Graded answers of two models: letters A to F or numbers, more is better, matched by id and group.

A row is `{"id", "group", "model", "grade"}`, the model being base or tuned, or has both grades as
`{"id", "group", "base", "tuned"}`; or there are two files, first the base's and then the tuned model's.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from .formats import fingerprint, rows_of
from .rows import BadRow, not_all, short

MODELS = ("base", "tuned")
WITH_E, WITHOUT_E = "FEDCBA", "FDCBA"  # where nobody gives an E, F is the grade below D
GRADE_STEPS = {"+": 1 / 3, "-": -1 / 3, "−": -1 / 3, "": 0.0}

Grade = str | float
GradeRow = tuple[str, str | None, str, Grade]  # id, group, model, grade


@dataclass(frozen=True, slots=True)
class Graded:
    """The grades of one item by both models, in grades; several grades of one model are averaged."""

    id: str
    group: str | None
    base: float
    tuned: float


@dataclass(frozen=True, slots=True)
class Grades:
    """The items that both models were graded on, in the order of the file.

    `letters`: the grades were letters, so that 1 is one letter. `ungraded` counts items that have a grade of
    one model only, by group ("" for those without).
    """

    items: tuple[Graded, ...]
    letters: bool
    ungraded: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_grades(paths: Sequence[Path], names: Sequence[str] = MODELS) -> Grades:
    """The grades of one file for both models, or of two files in the order base, tuned.

    `names`: what the base and the tuned model are called; a row's `model` may be that or base or tuned.

    Raises `ProbeError` with the line for a row without id or grade, and where no item has both grades.
    """
    if len(paths) > len(MODELS):
        raise ProbeError(f"--scores: {len(paths)} files. Give one for both models, or base and tuned.")
    owners = MODELS if len(paths) == len(MODELS) else (None,)
    called = dict(zip(names, MODELS, strict=True)) if len(set(names)) == len(MODELS) else {}
    called |= {model: model for model in MODELS}
    rows = [row for path, owner in zip(paths, owners, strict=True) for row in _rows(path, owner, called)]
    letters = any(isinstance(grade, str) for *_, grade in rows)
    if letters and not all(isinstance(grade, str) for *_, grade in rows):
        raise ProbeError(f"{paths[0]}: some grades are letters and some numbers. Use one scale.")
    values = _on_scale([grade for *_, grade in rows])
    found: dict[tuple[str, str | None], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    groups = _groups(paths, rows)
    for (name, group, model, _), value in zip(rows, values, strict=True):
        found[name, group or groups.get(name)][model].append(value)
    items = [_item(*question, by) for question, by in found.items() if len(by) == len(MODELS)]
    if not items:
        raise ProbeError(
            f"{paths[0]}: no item has a grade of both models. Write "
            '{"id", "group", "base": "A", "tuned": "B"} on each line, or give two files.'
        )
    facts = {"path": [str(path) for path in paths], "sha256": [fingerprint(path) for path in paths]}
    alone = Counter(group or "" for (_, group), by in found.items() if len(by) < len(MODELS))
    return Grades(tuple(items), letters, alone, facts)


def _groups(paths: Sequence[Path], rows: Sequence[GradeRow]) -> dict[str, str]:
    """The group of each id, for rows that name none. Raises `ProbeError` for one whose id is in several."""
    known: dict[str, set[str]] = defaultdict(set)
    for name, group, *_ in rows:
        if group is not None:
            known[name].add(group)
    for name, group, *_ in rows:
        if group is None and len(known[name]) > 1:
            raise ProbeError(
                f"{paths[-1]}: id {name} is in {len(known[name])} groups, and a row of it names none. "
                "Give every row its group, or each question an id of its own."
            )
    return {name: next(iter(groups)) for name, groups in known.items() if len(groups) == 1}


def _item(name: str, group: str | None, by: Mapping[str, Sequence[float]]) -> Graded:
    base, tuned = (sum(by[model]) / len(by[model]) for model in MODELS)
    return Graded(name, group, base, tuned)


def _rows(path: Path, owner: str | None, called: Mapping[str, str]) -> Iterator[GradeRow]:
    """(id, group, model, grade) of each grade in the file."""
    for line, row in rows_of(path):
        try:
            yield from _graded(row, owner, called)
        except BadRow as error:
            raise ProbeError(f"{path}:{line}: {error}") from error


def _graded(row: Any, owner: str | None, called: Mapping[str, str]) -> Iterator[GradeRow]:
    if isinstance(row, BadRow):
        raise row
    if not isinstance(row, dict) or row.get("id") in (None, ""):
        raise BadRow('no "id". Give each graded answer the id of its question.')
    group = None if row.get("group") is None else not_all(str(row["group"]))
    if "grade" not in row:
        for model in MODELS:
            if model not in row:
                raise BadRow(
                    f'no "{model}", only {", ".join(map(str, row))}. Name the grades base and tuned.'
                )
            yield str(row["id"]), group, model, _grade(row.get(model))
        return
    yield str(row["id"]), group, _model_of(row.get("model"), owner, called), _grade(row["grade"])


def _model_of(named: Any, owner: str | None, called: Mapping[str, str]) -> str:
    """Base or tuned: whose the file is, or what the row says. Raises `BadRow` where the two differ."""
    says = called.get(named) if isinstance(named, str) else None
    if owner and says not in (None, owner):
        raise BadRow(
            f'"model" is {short(named)} in the file of the {owner} model. Give the file of the base model '
            "first, then that of the tuned one."
        )
    if (model := owner or says) is None:
        raise BadRow(f'"model" is {short(repr(named))}. Write base or tuned, or give two files.')
    return model


def _grade(value: Any) -> Grade:
    """A finite number, or a letter in upper case with its sign."""
    if isinstance(value, str):
        letter = value.strip().upper()
        if letter[:1] in tuple(WITH_E) and letter[1:] in GRADE_STEPS:
            return letter
        try:
            value = float(letter)
        except ValueError:
            raise _no_grade(value) from None
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond every float
        pass
    raise _no_grade(value)


def _no_grade(value: Any) -> BadRow:
    return BadRow(f"{short(repr(value))} is not a grade. Write a letter from A to F, or a number.")


def _on_scale(grades: Sequence[Grade]) -> list[float]:
    """Grades as numbers: F is 0 and each letter above it 1 more; + and − are thirds."""
    scale = WITH_E if any(isinstance(g, str) and g[0] == "E" for g in grades) else WITHOUT_E
    return [g if isinstance(g, float) else scale.index(g[0]) + GRADE_STEPS[g[1:]] for g in grades]
