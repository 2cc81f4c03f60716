"""Unpaired data: a prompt, one answer and whether it is wanted, as KTO takes them; and the pairs in them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..shell import jq_rewrite
from .fields import ANSWER_FIELDS, SIDE_FIELDS, FieldNames
from .formats import fingerprint, is_json_name, is_table, rows_of
from .identity import cluster_key, handed_options
from .read import BadLine, refuse_bad, tell_reading
from .record import Content, Pair, is_chat, text_of
from .rows import BadRow, pair_of, read_as, short

NEEDED = ", ".join(("prompt", *ANSWER_FIELDS))
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
FIRST_ROWS = 100  # of which the first that can be decoded says what the file holds
# A trainer takes 1 and 0 for true and false, and a table's reader makes either of such cells.
CELLS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True, slots=True)
class UnpairedAnswer:
    """One answer: `wanted` is its label. `line` counts from 1; `id` is the row's own, else its line.

    `options` are the tools and the template options that stand beside its prompt.
    """

    id: str
    prompt: Content | None
    completion: Content
    wanted: bool
    group: str | None = None
    line: int = 0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str:
        """What answers to one prompt share, or where there is none those of one text. Never ""."""
        return cluster_key(as_pair(self))


@dataclass(frozen=True, slots=True)
class ReadAnswers:
    """The answers of a file, in its order, and the lines that were left out."""

    path: Path
    rows: Sequence[UnpairedAnswer]
    bad: Sequence[BadLine] = ()

    def facts(self) -> dict[str, Any]:
        """What a run keeps of the file."""
        return {
            "path": str(self.path),
            "sha256": fingerprint(self.path),
            "n": len(self.rows),
            "dropped": len(self.bad),
            "dropped_lines": [bad.line for bad in self.bad[:100]],
            "unit": "answer",
        }


def is_unpaired(path: Path, fields: Mapping[str, str] | None = None) -> bool:
    """Whether a file holds answers with a label: the user maps their fields, or a row has them."""
    if fields and {*SIDE_FIELDS, *ANSWER_FIELDS} & fields.keys():
        return not set(SIDE_FIELDS) & fields.keys()
    rows = (row for _, row in islice(rows_of(path), FIRST_ROWS) if not isinstance(row, BadRow))
    return unpaired_row(next(rows, None))


def refuse_for_answers(path: Path, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raises `ProbeError` for the first option for pairs alone that is not at its default."""
    for name, default in defaults.items():
        if given.get(name) not in (None, (), default):
            told = "--no-PROBE but --no-trial" if name == "off" else f"--{name.replace('_', '-')}"
            raise ProbeError(
                f"{path}: answers with a label each, for which {told} does nothing. Leave it out."
            )


def unpaired_row(row: Any) -> bool:
    """Whether a decoded row is one of unpaired data."""
    return isinstance(row, Mapping) and {*ANSWER_FIELDS} <= row.keys() and "chosen" not in row


def read_unpaired(
    path: Path, fields: Mapping[str, str] | None = None, *, skip_bad: bool = False
) -> ReadAnswers:
    """The answers of a file; `fields` maps their names to the file's own (`parse_fields`).

    Raises `ProbeError` with the lines that hold none, unless `skip_bad` and there are others.
    """
    answers: list[UnpairedAnswer] = []
    bad: list[BadLine] = []
    cells = CELLS if is_table(path) else {}
    names, label = FieldNames.of_answers(fields or {}), (fields or {}).get("label", "label")
    marks: set[float] = set()
    for line, row in rows_of(path):
        marks |= _mark(row, label, bool(cells))
        try:
            answers.append(_answer(row, line, names, label, cells))
            if len(answers) == 1 and (told := read_as(row, names)[1]):
                tell_reading(str(path), told)
        except BadRow as error:
            bad.append(BadLine(line, str(error)))
    _refuse_scale(path, label, marks)
    if not (skip_bad and answers):
        refuse_bad(path, bad, len(answers))
    if not answers:
        raise ProbeError(f"{path}: holds no answers. Write one object with {NEEDED} per line.")
    return ReadAnswers(path, answers, bad)


def _mark(row: Any, label: str, cells: bool) -> set[float]:
    """The label of a row where it is a number, also a number in a table's cell; of false and true both."""
    said = row.get(label) if isinstance(row, Mapping) else None
    if cells and isinstance(said, str) and _NUMBER.fullmatch(said.strip()):
        said = float(said)
    if isinstance(said, bool):
        return {0.0, 1.0}
    try:
        return {float(said)} if isinstance(said, int | float) else set()
    except OverflowError:  # a whole number beyond every float
        return {math.inf}


def _refuse_scale(path: Path, label: str, marks: set[float]) -> None:
    """Raises `ProbeError` for labels that are numbers of a scale: to leave out those that are not 0 or 1
    would keep one end of it. A single odd one beside 0 or false is an error of its row."""
    odd = marks - {0.0, 1.0}
    if not odd or (len(odd) == 1 and 0.0 in marks):
        return
    shown = sorted(marks)
    few = ", ".join(f"{mark:g}" for mark in (shown if len(shown) <= 5 else [*shown[:2], *shown[-2:]]))
    raise ProbeError(
        f'{path}: "{label}" is a number of a scale ({few}), and a label says yes or no. '
        f"{_parted(path, label, shown)}."
    )


def _parted(path: Path, label: str, shown: Sequence[float]) -> str:
    """How the numbers of a scale become labels: those above the middle one are wanted."""
    if not (path.is_file() and is_json_name(path)):
        return "Write true where the answer is wanted, else false"
    key = f".{label}" if label.isidentifier() else f".[{json.dumps(label)}]"
    limit = shown[(len(shown) - 1) // 2]
    return f"For example `{jq_rewrite(path, f'{key} = ({key} > {limit:g})')}`"


def _answer(row: Any, line: int, names: FieldNames, label: str, cells: Mapping[str, bool]) -> UnpairedAnswer:
    if isinstance(row, BadRow):
        raise row
    if isinstance(row, Mapping):
        _check_fields(row, names.chosen, label)
    wanted = _wanted(row.get(label), label, cells) if isinstance(row, Mapping) else None
    pair = pair_of(row, line, names)
    options = handed_options(pair.meta)
    return UnpairedAnswer(pair.id, pair.prompt, pair.chosen, bool(wanted), pair.group, line, options)


def _check_fields(row: Mapping[Any, Any], completion: str, label: str) -> None:
    """Raises `BadRow` where the row lacks the answer or its label."""
    for name, field in zip(ANSWER_FIELDS, (completion, label), strict=True):
        if field in row:
            continue
        remedy = f"Map it with --fields {name}=FIELD."
        if set(SIDE_FIELDS) <= row.keys():
            remedy = f"Write an object with {NEEDED} per line, and no pairs."
        raise BadRow(f'no "{field}" (there: {", ".join(map(repr, row)) or "none"}). {remedy}')


def _wanted(label: Any, field: str, cells: Mapping[str, bool]) -> bool:
    """What a label says; that of a table's cell is in `cells`. Raises `BadRow` for one that says neither."""
    wanted = cells.get(label.lower()) if isinstance(label, str) else label
    if not isinstance(wanted, int | float) or wanted not in (0, 1):
        marks = "" if cells else ", without quotes"
        raise BadRow(
            f'"{field}" is {short(repr(label))}. Write true for a wanted answer, false for another{marks}.'
        )
    return bool(wanted)


def as_pair(answer: UnpairedAnswer) -> Pair:
    """The answer as both sides of a pair, for an encoder that takes pairs."""
    said = answer.completion
    return Pair(answer.id, answer.prompt, said, said, answer.group, answer.options, answer.line)


def pairs_in(answers: Iterable[UnpairedAnswer]) -> Iterator[tuple[UnpairedAnswer, UnpairedAnswer]]:
    """(wanted, unwanted) answers to one prompt: the first with the first and so on, each in one pair.

    Answers that are left over, prompts with one label, and answers that have both labels make no pair; nor
    do a text and chat messages, which no row may hold side by side.
    """
    by_prompt: dict[tuple[str, bool], tuple[list[UnpairedAnswer], list[UnpairedAnswer]]] = {}
    for answer in answers:
        chat = is_chat(as_pair(answer))
        by_prompt.setdefault((answer.key, chat), ([], []))[0 if answer.wanted else 1].append(answer)
    for sides in by_prompt.values():
        wanted, unwanted = ({text_of(answer.completion) for answer in side} for side in sides)
        told_apart = [[a for a in side if text_of(a.completion) not in wanted & unwanted] for side in sides]
        yield from zip(*told_apart, strict=False)


def pair_of_answers(wanted: UnpairedAnswer, unwanted: UnpairedAnswer) -> dict[str, Any]:
    """The two answers as a row of a pair file; `lines` says where they stood."""
    row = {
        "prompt": _plain(wanted.prompt),
        "chosen": _plain(wanted.completion),
        "rejected": _plain(unwanted.completion),
        **wanted.options,
        "group": wanted.group,
        "lines": [wanted.line, unwanted.line],
    }
    return {key: value for key, value in row.items() if value is not None}


def _plain(content: Content | None) -> Any:
    return content if isinstance(content, str | None) else [dict(message) for message in content]
