"""What one pair shows by itself, as bits of a column; here those of rows that were meant for a chat."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import IntFlag
from functools import cache
from itertools import takewhile
from typing import Any

from ...pairs.implicit import USER, says_rendered
from ...pairs.record import Content, Pair, text_of


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PROMPT_WORDS = _set(
    "prompt question instruction instructions query problem message messages conversation conversations "
    "dialogue dialog input user"
)
CONTEXT_WORDS = _set(
    "system input history context functions image images video audio"
)  # parts that stand beside a prompt
# With one of these words a column is about a prompt, and holds none: `prompt_id`, `input_tokens`.
ABOUT = _set(
    "id ids idx index uuid hash token tokens length len count num type kind source category lang language "
    "score rating model name chosen rejected response template date time"
)
SCORE_WORDS = _set("score scores rating ratings reward rewards grade grades")
SPELLINGS = (("chosen", "rejected"), ("Chosen", "Rejected"), ("CHOSEN", "REJECTED"))
MARGIN_NAMES = _set("margin score_margin score_diff reward_margin rating_diff")
NO_VALUES = _set("None nan NaN null NULL N/A <NA> undefined")
# Zero-width space and joiners, direction marks, embeddings and isolates.
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\u061c]")
# Joiners that writing needs: between letters of other scripts and between emoji.
JOINED = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")
# What parts a question from its answer in text: a line, a word with a colon (`A:`), a question mark,
# a mark of some template.
PARTED = re.compile(r"\n|\b\w+: ?|[?？>\]|]")
SHARED_WORDS = 5  # fewer may well be alike by chance
SERIALISED_CHAT = re.compile(r"""\s*\[\s*\{\s*['"](role|from|content)['"]\s*:""")


class Flag(IntFlag):
    """What one pair shows by itself."""

    NO_PROMPT = 1
    IDENTICAL = 2
    SPACED = 4  # white space stands between the prompt and both responses
    HALF_SPACED = 8  # … and one of them only
    CONTROL = 16
    MOJIBAKE = 32
    ODD_TURNS = 64
    CHAT = 128
    HOLDS_CHOSEN = 256
    HOLDS_REJECTED = 512
    PREFIX = 1024  # one side begins with all of the other
    UNREAD = 2048  # a column looks like a prompt, or a part of one, and is not read
    RENDERED = 4096  # the prompt holds a chat template's turn markers
    USER_INSIDE = 8192  # a user's turn stands inside a response
    UNSEEN = 16384  # zero-width or direction marks stand on one side only
    SCORES_SWAPPED = 32768  # score_chosen is below score_rejected
    WRITTEN_OUT = 65536  # a side or the prompt is a list of messages written out as text
    NO_VALUE = 131072  # a side is the name of a missing value
    SHARED_START = 262144  # texts without a prompt begin alike, up to what parts a question from an answer


def chat_flags(pair: Pair) -> int:
    """The bits of `Flag` that tell how the row was meant, and whether it is read so."""
    flags = Flag(0)
    if unread_prompt_columns(pair):
        flags |= Flag.UNREAD
    if isinstance(pair.prompt, str) and says_rendered(pair.prompt, ()):
        flags |= Flag.RENDERED
    if _user_inside(pair.chosen) or _user_inside(pair.rejected):
        flags |= Flag.USER_INSIDE
    if _unseen(pair.chosen) != _unseen(pair.rejected):
        flags |= Flag.UNSEEN
    if _swapped(pair.meta):
        flags |= Flag.SCORES_SWAPPED
    texts = [part for part in (pair.chosen, pair.rejected, pair.prompt) if isinstance(part, str)]
    if any(map(SERIALISED_CHAT.match, texts)):
        flags |= Flag.WRITTEN_OUT
    if any(isinstance(side, str) and side.strip() in NO_VALUES for side in (pair.chosen, pair.rejected)):
        flags |= Flag.NO_VALUE
    if _starts_alike(pair):
        flags |= Flag.SHARED_START
    return int(flags)


def unread_prompt_columns(pair: Pair) -> list[str]:
    """The columns that look like the prompt, or a part of it, and are not read."""
    wanted = CONTEXT_WORDS if pair.prompt else PROMPT_WORDS | CONTEXT_WORDS
    return [name for name, value in pair.meta.items() if _words(name) & wanted and _says(value)]


@cache
def _words(name: str) -> frozenset[str]:
    """The words of a column's name; none where it is about a text and holds none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)).lower()
    words = frozenset(re.findall(r"[a-z]+", spaced))
    return frozenset() if words & ABOUT else words


def _says(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, list | dict) and bool(value)


def _starts_alike(pair: Pair) -> bool:
    """Whether a pair without a prompt has a question, or the like, at the beginning of both its texts."""
    if pair.prompt or not isinstance(pair.chosen, str) or not isinstance(pair.rejected, str):
        return False
    letters = zip(pair.chosen.strip(), pair.rejected.strip(), strict=False)
    shared = "".join(a for a, _ in takewhile(lambda both: both[0] == both[1], letters))
    parted = max((mark.end() for mark in PARTED.finditer(shared)), default=0)
    return pair.chosen != pair.rejected and len(shared[:parted].split()) >= SHARED_WORDS


def _user_inside(side: Content) -> bool:
    if isinstance(side, str):
        return any(mark in side for mark in USER)
    return any(turn.get("role") == "user" for turn in side)


def _unseen(side: Content) -> bool:
    text = text_of(side)
    return not text.isascii() and bool(UNSEEN.search(JOINED.sub("", text)))


def _swapped(meta: Mapping[str, Any]) -> bool:
    """Whether scores are numbers, or texts of numbers, and the rejected side has the higher one."""
    for name, value in meta.items():
        other = _other_score(name)
        if other == name and _number(value) < 0.0:  # a margin; NaN is less than nothing
            return True
        if other and other != name and _number(value) < _number(meta.get(other)):
            return True
    return False


@cache
def _other_score(name: str) -> str:
    """The column of the rejected side's score beside the chosen side's; a margin's own name; else ""."""
    lower = str(name).lower()
    if lower in MARGIN_NAMES:
        return name
    scored = SCORE_WORDS & set(re.findall(r"[a-z]+", lower))
    for chosen, rejected in SPELLINGS if scored else ():
        if chosen in str(name):
            return str(name).replace(chosen, rejected)
    return ""


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
