"""What one pair shows by itself, as bits of a column; here those of rows that were meant for a chat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntFlag
from typing import Any

from ...pairs.implicit import RENDERED, USER
from ...pairs.record import Content, Pair, text_of

PROMPT_LIKE_FIELDS = (
    "question",
    "instruction",
    "query",
    "problem",
    "messages",
    "conversations",
    "input",
    "user",
)
CONTEXT_FIELDS = ("system", "input")  # parts of a prompt that stand beside it
# Zero-width space and joiners, direction marks, embeddings and isolates.
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\u061c]")
# Joiners that writing needs: between letters of other scripts and between emoji.
JOINED = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")
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
    WRITTEN_OUT = 65536  # a side is a list of messages written out as text


def chat_flags(pair: Pair) -> int:
    """The bits of `Flag` that tell how the row was meant, and whether it is read so."""
    flags = Flag(0)
    if unread_column(pair):
        flags |= Flag.UNREAD
    if isinstance(pair.prompt, str) and any(mark in pair.prompt for mark in RENDERED):
        flags |= Flag.RENDERED
    if _user_inside(pair.chosen) or _user_inside(pair.rejected):
        flags |= Flag.USER_INSIDE
    if _unseen(pair.chosen) != _unseen(pair.rejected):
        flags |= Flag.UNSEEN
    if _swapped(pair.meta):
        flags |= Flag.SCORES_SWAPPED
    if any(isinstance(side, str) and SERIALISED_CHAT.match(side) for side in (pair.chosen, pair.rejected)):
        flags |= Flag.WRITTEN_OUT
    return int(flags)


def unread_column(pair: Pair) -> str:
    """The column that looks like the prompt, or a part of it, and is not read; "" where there is none."""
    if not pair.meta:
        return ""
    names = CONTEXT_FIELDS if pair.prompt else (*PROMPT_LIKE_FIELDS, "system")
    return next((n for n in names if _says(pair.meta.get(n))), "")


def _says(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, list) and bool(value)


def _user_inside(side: Content) -> bool:
    if isinstance(side, str):
        return any(mark in side for mark in USER)
    return any(turn.get("role") == "user" for turn in side)


def _unseen(side: Content) -> bool:
    text = text_of(side)
    return not text.isascii() and bool(UNSEEN.search(JOINED.sub("", text)))


def _swapped(meta: Mapping[str, Any]) -> bool:
    """Whether both scores are numbers, or texts of numbers, and the rejected side has the higher one."""
    try:
        return float(meta["score_chosen"]) < float(meta["score_rejected"])
    except (KeyError, TypeError, ValueError):
        return False
