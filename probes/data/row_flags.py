"""What one pair shows by itself, as bits of a column; here those of rows that were meant for a chat."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import IntFlag
from functools import cache
from typing import Any

from ...pairs.implicit import says_rendered
from ...pairs.misread import AMISS
from ...pairs.record import Content, Pair, text_of


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SCORE_WORDS = _set("score scores rating ratings reward rewards grade grades")
SPELLINGS = (("chosen", "rejected"), ("Chosen", "Rejected"), ("CHOSEN", "REJECTED"))
MARGIN_NAMES = _set("margin score_margin score_diff reward_margin rating_diff")
NO_VALUES = _set("None nan NaN null NULL N/A <NA> undefined")
# Zero-width space and joiners, direction marks, embeddings and isolates.
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\u061c]")
# Joiners that writing needs: between letters of other scripts and between emoji.
JOINED = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")


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


MISREAD_FLAGS = {
    "unread_prompt": Flag.UNREAD,
    "user_turns": Flag.USER_INSIDE,
    "written_out": Flag.WRITTEN_OUT,
    "shared_beginnings": Flag.SHARED_START,
}


def chat_flags(pair: Pair) -> int:
    """The bits of `Flag` that tell how the row was meant, and whether it is read so."""
    flags = Flag(0)
    if isinstance(pair.prompt, str) and says_rendered(pair.prompt, ()):
        flags |= Flag.RENDERED
    if _unseen(pair.chosen) != _unseen(pair.rejected):
        flags |= Flag.UNSEEN
    if _swapped(pair.meta):
        flags |= Flag.SCORES_SWAPPED
    if any(isinstance(side, str) and side.strip() in NO_VALUES for side in (pair.chosen, pair.rejected)):
        flags |= Flag.NO_VALUE
    for kind, flag in MISREAD_FLAGS.items():
        if AMISS[kind].found(pair):
            flags |= flag
    return int(flags)


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
