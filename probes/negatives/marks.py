"""Marks of form that one side's responses carry: a phrase, a sign, an interjection, an end cut short.

Exact counts, like `patterns`: what is counted says nothing of content, and a model learns it first.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...stats.scripts import is_mark, words_in
from .features import split_tokens
from .patterns import Template, Where

PHRASE = 4  # words of a phrase that counts as boilerplate wherever it stands
# Signs that a finished response ends with, closing brackets and quotes of all scripts aside.
CLOSING = ".!?…:;\"'>`*|~。！？｡．।॥؟۔؛።፧։။၊។៕"
ORDINARY = frozenset(".,'’")  # signs of every text: their absence is told by length
# One or two words that a sign sets off from what follows: "Certainly!", "As usual,"; without spaces "当然，".
INTERJECTION = re.compile(
    r"\s*([¡¿]?[^\W\d_][\w'’-]*(?: [\w'’-]+)?[,:;!?…—.]+(?=\s+\S)|[^\W\d_]{1,4}[，！：；。、？]+(?=\s*\S))"
)
NO_CLOSING_SIGN = "no closing sign"
SPACE_BEFORE, SPACE_BEHIND = "begin", "end"  # where white space stands


def find_marks(side: Sequence[str], other: Sequence[str]) -> list[Template]:
    """The most one-sided phrase, sign, interjection, cut end and white space of `side`: by its lead.

    Where the other side opens with interjections of its own ("Yes," against "No,"), they are the answer and
    no form: each that recurs there counts against this side's.
    """
    best: dict[Where, Template] = {}
    theirs = _rows(other)
    opened = sum(len(rows) for (where, _), rows in theirs.items() if where == "start" and len(rows) > 1)
    for (where, text), rows in _rows(side).items():
        if len(rows) < 2:  # what stands in one response is shared with none
            continue
        against = opened if where == "start" else len(theirs.get((where, text), ()))
        made = Template(where, text, tuple(rows), against, len(side))
        if where not in best or _lead(made) > _lead(best[where]):
            best[where] = made
    return list(best.values())


def _lead(mark: Template) -> int:
    return len(mark.rows) - mark.other


def _rows(texts: Sequence[str]) -> dict[tuple[Where, str], list[int]]:
    """The rows that carry each mark, once a row."""
    rows: defaultdict[tuple[Where, str], list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for mark in dict.fromkeys(_marks(text)):
            rows[mark].append(i)
    return rows


def _marks(text: str) -> Iterator[tuple[Where, str]]:
    for phrase in _phrases(split_tokens(text)):
        yield "inside", phrase
    for sign in sorted(set(text) - ORDINARY):  # of equal ones the same in every run
        if not sign.isalnum() and not sign.isspace() and not is_mark(sign):
            yield "sign", sign
    if opens := INTERJECTION.match(text):
        yield "start", opens[1]
    if text.strip() and not _closes(text.rstrip()[-1]):
        yield "cut", NO_CLOSING_SIGN
    if text[:1].isspace():
        yield "space", SPACE_BEFORE
    if text[-1:].isspace():
        yield "space", SPACE_BEHIND


def _phrases(pieces: Sequence[str]) -> Iterator[str]:
    """Every run of `PHRASE` words, from a word to a word."""
    words = [(i, weight) for i, piece in enumerate(pieces) if (weight := words_in(piece))]
    first, held = 0, 0.0
    for last, weight in words:
        held += weight
        while held - words[first][1] >= PHRASE:
            held -= words[first][1]
            first += 1
        if held >= PHRASE:
            yield "".join(pieces[words[first][0] : last + 1])


def _closes(sign: str) -> bool:
    """Whether a finished response ends on such a sign, in any script."""
    return sign in CLOSING or unicodedata.category(sign) in ("Pe", "Pf")
