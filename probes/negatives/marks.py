"""Marks of form that one side's responses carry: a phrase, a sign, an interjection, an end cut short.

Exact counts, like `patterns`: what is counted says nothing of content, and a model learns it first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .features import split_tokens
from .patterns import Template, Where

PHRASE = 4  # words of a phrase that counts as boilerplate wherever it stands
CLOSING = ".!?…:;\"'”’»)]}>`*|~。！？"  # signs that a finished response ends with
ORDINARY = frozenset(".,'’")  # signs of every text: their absence is told by length
# One or two words that a sign sets off from what follows: "Certainly!", "As usual,"; without spaces "当然，".
INTERJECTION = re.compile(
    r"\s*([¡¿]?[^\W\d_][\w'’-]*(?: [\w'’-]+)?[,:;!?…—.]+(?=\s+\S)|[^\W\d_]{1,4}[，！：；。、？]+(?=\s*\S))"
)
NO_CLOSING_SIGN = "no closing sign"


def find_marks(side: Sequence[str], other: Sequence[str]) -> list[Template]:
    """The most one-sided phrase, sign, interjection and cut end of `side`: by the lead over `other`.

    Where the other side opens with interjections of its own ("Yes," against "No,"), they are the answer and
    no form: each that recurs there counts against this side's.
    """
    best: dict[Where, Template] = {}
    theirs = _rows(other)
    opened = sum(len(rows) for (where, _), rows in theirs.items() if where == "start" and len(rows) > 1)
    for (where, text), rows in _rows(side).items():
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
    pieces = split_tokens(text)
    words = [i for i, piece in enumerate(pieces) if piece[0].isalnum()]
    for first, last in zip(words, words[PHRASE - 1 :], strict=False):
        yield "inside", "".join(pieces[first : last + 1])
    for sign in set(text) - ORDINARY:
        if not sign.isalnum() and not sign.isspace():
            yield "sign", sign
    if opens := INTERJECTION.match(text):
        yield "start", opens[1]
    if text.strip() and text.rstrip()[-1] not in CLOSING:
        yield "cut", NO_CLOSING_SIGN
