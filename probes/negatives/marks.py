"""Marks of form that one side's responses carry: a phrase, a sign, an interjection, white space, letter case,
layout.

Exact counts, like `patterns`: what is counted says nothing of content, and a model learns it first.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...shared_limits import TEMPLATE_LIMIT
from ...stats.scripts import is_mark, words_in
from .features import split_tokens
from .patterns import TEMPLATES_TOGETHER, Template, Where, is_common, joined_templates

PHRASE = 4  # words of a phrase that counts as boilerplate wherever it stands
# Signs that a finished response ends with, closing brackets and quotes of all scripts aside.
CLOSING = ".!?…:;\"'>`*|~。！？｡．।॥؟۔؛።፧։။၊។៕"
ORDINARY = frozenset(".,'’")  # signs of every text: their absence is told by length
# One or two words that a sign sets off from what follows: "Certainly!", "As usual,"; without spaces "当然，".
INTERJECTION = re.compile(
    r"\s*([¡¿]?[^\W\d_][\w'’-]*(?: [\w'’-]+)?[,:;!?…—.]+(?=\s+\S)|[^\W\d_]{1,4}[，！：；。、？]+(?=\s*\S))"
)
NO_CLOSING_SIGN = "no closing sign"
# White space that tells, by what the responses then do.
SPACES = {
    "begin with white space": re.compile(r"\A\s"),
    "end with white space": re.compile(r"\s\Z"),
    "have two spaces in a row": re.compile(
        r"(?<=[\w.!?,;:])  (?=\w)"
    ),  # of prose: code and tables are aligned
    "have no-break spaces": re.compile("[\u00a0\u2007\u202f]"),
    "have carriage returns (\\r)": re.compile("\r"),
}
# How a response is laid out; bullets and headings are told by their signs.
LAYOUTS = {
    "have numbered lists": re.compile(r"(?s)(?:\A|\n)[^\S\n]*1[.)]\s.*\n[^\S\n]*2[.)]\s"),
    "have several paragraphs": re.compile(r"\S[^\S\n]*\n[^\S\n]*\n\s*\S"),
    "have several lines": re.compile(r"\S[^\S\n]*\n\s*\S"),
}
CAPITALS, SMALL = "are all in capitals", "begin with a small letter"
LEAST_LETTERS = 10  # of a response that can be said to be in capitals
LETTER = re.compile(r"[^\W\d_]")
TAG = re.compile(r"</?[A-Za-z][\w-]{0,20}>")
# Letters that look like Latin ones, inside a word of Latin letters.
DISGUISED = re.compile("(?<=[A-Za-z])[\u0400-\u04ff]|[\u0400-\u04ff](?=[A-Za-z])")


def find_marks(side: Sequence[str], other: Sequence[str]) -> list[Template]:
    """The most one-sided phrase, sign, cut end, white space, letter case and layout of `side`, by its lead,
    and its interjections."""
    best: dict[Where, Template] = {}
    theirs = _rows(other)
    made = [
        Template(where, text, tuple(rows), len(theirs.get((where, text), ())), len(side))
        for (where, text), rows in _rows(side).items()
        if len(rows) > 1  # what stands in one response is shared with none
    ]
    for mark in made:
        if mark.where != "start" and (mark.where not in best or _weight(mark) > _weight(best[mark.where])):
            best[mark.where] = mark
    opened = sum(len(rows) for (where, _), rows in theirs.items() if where == "start" and len(rows) > 1)
    return [*best.values(), *_interjections([mark for mark in made if mark.where == "start"], opened)]


def _interjections(marks: Sequence[Template], opened: int) -> list[Template]:
    """The commonest interjection, or those that are each common together.

    Where the other side opens with interjections of its own (`opened` that recur there: "Yes," against
    "No,"), they are the answer and no form.
    """
    marks = sorted(marks, key=lambda mark: -len(mark.rows))
    several = [mark for mark in marks if is_common(mark, mark.n)][:TEMPLATES_TOGETHER]
    found = joined_templates(several) if several[1:] else next(iter(marks), None)
    return [found] if found and 2 * opened < len(found.rows) else []


def _weight(mark: Template) -> tuple[bool, bool, int]:
    """Which mark tells most: one that the other side lacks and most of this one has, then by the lead."""
    rows = len(mark.rows)
    return 2 * mark.other < rows, rows >= TEMPLATE_LIMIT * mark.n, rows - mark.other


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
    yield from (("sign", tag) for tag in dict.fromkeys(TAG.findall(text)))
    for sign in sorted(set(text) - ORDINARY):  # of equal ones the same in every run
        if not sign.isalnum() and not sign.isspace() and not is_mark(sign):
            yield "sign", sign
    if opens := INTERJECTION.match(text):
        yield "start", opens[1]
    if text.strip() and not _closes(text.rstrip()[-1]):
        yield "cut", NO_CLOSING_SIGN
    yield from (("space", told) for told, space in SPACES.items() if space.search(text))
    yield from (("case", told) for told in _cases(text))
    yield from (("layout", told) for told, layout in LAYOUTS.items() if layout.search(text))
    for letter in sorted(set(DISGUISED.findall(text))):
        yield "sign", f"{letter} (U+{ord(letter):04X}, no Latin letter)"


def _cases(text: str) -> Iterator[str]:
    letters = LETTER.findall(text)
    cased = sum(letter.isupper() or letter.islower() for letter in letters)  # most scripts have no case
    if cased >= LEAST_LETTERS and 2 * cased > len(letters) and text.isupper():
        yield CAPITALS
    if letters and text.lstrip()[:1].islower():
        yield SMALL


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
