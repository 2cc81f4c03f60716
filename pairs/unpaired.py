"""Unpaired data: a prompt, one answer and whether it is wanted, as KTO takes them; and the pairs in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from .fields import FieldNames
from .formats import is_table, rows_of
from .read import BAD_LINES_SHOWN
from .record import Content, Pair, text_of
from .rows import BadRow, pair_of

ANSWER_FIELDS = ("prompt", "completion", "label")
# A trainer takes 1 and 0 for true and false, and a table's reader makes either of such cells.
CELLS = {"true": True, "false": False, "1": True, "0": False}
ANSWER_NAMES = FieldNames.of({"chosen": "completion", "rejected": "completion"})


@dataclass(frozen=True, slots=True)
class UnpairedAnswer:
    """One answer: `wanted` is its label. `line` counts from 1; `id` is the row's own, else its line."""

    id: str
    prompt: Content | None
    completion: Content
    wanted: bool
    group: str | None = None
    line: int = 0

    @property
    def key(self) -> str:
        """What answers to one prompt share."""
        return text_of(self.prompt)


def is_unpaired(path: Path) -> bool:
    """Whether the first row of a file holds an answer with a label in place of two sides."""
    for _, row in islice(rows_of(path), 1):
        return unpaired_row(row)
    return False


def unpaired_row(row: Any) -> bool:
    """Whether a decoded row is one of unpaired data."""
    return isinstance(row, Mapping) and {"completion", "label"} <= row.keys() and "chosen" not in row


def read_unpaired(path: Path) -> list[UnpairedAnswer]:
    """The answers of a file, in its order. Raises `ProbeError` with the lines that hold none."""
    answers: list[UnpairedAnswer] = []
    bad: list[str] = []
    cells = CELLS if is_table(path) else {}
    for line, row in rows_of(path):
        try:
            answers.append(_answer(row, line, cells))
        except BadRow as error:
            bad.append(f"{path}:{line}: {error}")
    if bad:
        more = (
            [f"{path}: and {len(bad) - BAD_LINES_SHOWN} more bad lines."]
            if len(bad) > BAD_LINES_SHOWN
            else []
        )
        raise ProbeError(*bad[:BAD_LINES_SHOWN], *more)
    if not answers:
        raise ProbeError(
            f"{path}: holds no answers. Write one object with {', '.join(ANSWER_FIELDS)} per line."
        )
    return answers


def _answer(row: Any, line: int, cells: Mapping[str, bool]) -> UnpairedAnswer:
    if isinstance(row, BadRow):
        raise row
    if isinstance(row, Mapping) and "completion" not in row:
        there = ", ".join(map(repr, row))
        needed = ", ".join(ANSWER_FIELDS)
        raise BadRow(
            f'no "completion" (there: {there}). Write an object with {needed} per line, and no pairs.'
        )
    wanted = _wanted(row.get("label"), cells) if isinstance(row, Mapping) else None
    pair = pair_of(row, line, ANSWER_NAMES)
    return UnpairedAnswer(pair.id, pair.prompt, pair.chosen, bool(wanted), pair.group, line)


def _wanted(label: Any, cells: Mapping[str, bool]) -> bool:
    """What a label says; that of a table's cell is in `cells`. Raises `BadRow` for one that says neither."""
    wanted = cells.get(label.lower()) if isinstance(label, str) else label
    if not isinstance(wanted, int) or wanted not in (0, 1):
        marks = "" if cells else ", without quotes"
        raise BadRow(f'"label" is {label!r}. Write true for a wanted answer, false for another{marks}.')
    return bool(wanted)


def as_pair(answer: UnpairedAnswer) -> Pair:
    """The answer as both sides of a pair, for an encoder that takes pairs."""
    return Pair(
        answer.id, answer.prompt, answer.completion, answer.completion, answer.group, line=answer.line
    )


def pairs_in(answers: Iterable[UnpairedAnswer]) -> Iterator[tuple[UnpairedAnswer, UnpairedAnswer]]:
    """(wanted, unwanted) answers to one prompt: the first with the first and so on, each in one pair.

    Answers that are left over, prompts with one label, and answers that have both labels make no pair.
    """
    by_prompt: dict[str, tuple[list[UnpairedAnswer], list[UnpairedAnswer]]] = {}
    for answer in answers:
        by_prompt.setdefault(answer.key, ([], []))[0 if answer.wanted else 1].append(answer)
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
        "group": wanted.group,
        "lines": [wanted.line, unwanted.line],
    }
    return {key: value for key, value in row.items() if value is not None}


def _plain(content: Content | None) -> Any:
    return content if isinstance(content, str | None) else [dict(message) for message in content]
