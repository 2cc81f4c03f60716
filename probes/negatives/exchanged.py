"""Answers that change sides: a wording that is right in some pairs and wrong in others is no form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from .patterns import LEAST_WORDS, Template, common_edge

ANSWERED = 0.1  # of the responses that have a wording, how many of the other side's must have it too
MOST = 0.5  # of those pairs, in how many the counterpart stands on the other side
WORDINGS = ("start", "end", "inside", "sign")  # places of templates that can be an answer, or of its signs


def is_answer(template: Template, side: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a template of `side` is an answer: "The statement is true." against "… is false.".

    In most pairs that have it the other side has one counterpart, and where the other side has it instead,
    in at least a tenth as many pairs, this side mostly has that counterpart. Then the pairs teach which of
    the two to say, however often each is right.
    """
    if template.where not in WORDINGS:
        return False
    rows = set(template.rows)
    turned = [i for i, text in enumerate(other) if i not in rows and _has(text, template)]
    if len(turned) < max(2, ANSWERED * len(rows)):
        return False
    return any(
        sum(edge in side[i] for i in turned) > MOST * len(turned)
        for edge in _counterparts([other[i] for i in template.rows], [side[i] for i in template.rows])
    )


def _counterparts(theirs: Sequence[str], mine: Sequence[str]) -> Iterator[str]:
    """The openings and endings that most of `theirs` have and few of `mine`."""
    places: tuple[Literal["start", "end"], ...] = ("start", "end")
    for place in places:
        for least in range(LEAST_WORDS + 1, 0, -1):
            edge, rows = common_edge([text.strip() for text in theirs], place, least)
            if len(rows) > MOST * len(theirs) and sum(edge in text for text in mine) < MOST * len(mine):
                yield edge


def _has(text: str, template: Template) -> bool:
    return any(wording in text for wording in template.texts or (template.text,))
