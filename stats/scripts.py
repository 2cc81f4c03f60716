"""Words of any script: letters with their marks; characters of scripts that are written without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
Parting = Callable[[str], list[str]]

# Chinese and Japanese: a word is some two characters long.
_EAST_ASIAN = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
)
# Thai, Lao, Burmese and Khmer: some four.
_SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_UNSPACED = re.compile(f"[{_EAST_ASIAN}{_SOUTH_EAST_ASIAN}]")
_LONG_WORDS = re.compile(f"[{_SOUTH_EAST_ASIAN}]")
_JOINERS = "\u200c\u200d"


def _combining() -> str:
    """The marks that stand on or beside the letter before them, as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)):
        if is_mark(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def is_mark(character: str) -> bool:
    """Whether a character is a part of the letter before it: a vowel, an accent, a variant of an emoji."""
    return unicodedata.category(character)[0] == "M"


_MARKS = _combining() + _JOINERS
_LETTER = f"[^\\W{_EAST_ASIAN}{_SOUTH_EAST_ASIAN}]"
_WORD = f"{_LETTER}(?:{_LETTER}|[{_MARKS}])*"
TOKEN = re.compile(f"[{_EAST_ASIAN}{_SOUTH_EAST_ASIAN}][{_MARKS}]*|{_WORD}(?:['’]{_WORD})*|\\s+|[^\\w\\s]")


def words_in(token: str) -> float:
    """How many words a token of `TOKEN` counts for: none for white space and signs, a part of one for a
    character of a script without spaces."""
    if not token[0].isalnum():
        return 0.0
    if not _UNSPACED.match(token):
        return 1.0
    return 0.25 if _LONG_WORDS.match(token) else 0.5


def words_and_signs(text: str) -> list[str]:
    """The words and signs of a text, without the white space between them."""
    return [token for token in TOKEN.findall(text) if not token.isspace()]


def parting(texts: Iterable[str]) -> Parting:
    """How these texts fall into words and signs: by `WORD`, unless one of them is of a script that it cuts at
    vowels or takes a whole line of for a word."""
    known = all(WORD.findall(text) == words_and_signs(text) for text in texts)
    return WORD.findall if known else words_and_signs


def length_in_words(text: str) -> float:
    """How many words a text has: what white space parts; of scripts without spaces what `words_in` says."""
    return sum(map(words_in, TOKEN.findall(text))) if _UNSPACED.search(text) else float(len(text.split()))
