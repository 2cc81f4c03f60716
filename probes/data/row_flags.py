"""What one pair shows by itself, as bits of a column; here those of rows that were meant for a chat."""

from __future__ import annotations

import re
from enum import IntFlag

from ...pairs.implicit import says_rendered
from ...pairs.misread import AMISS
from ...pairs.record import Content, Pair, text_of


def set_of(words: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(words.split())


# Words that open an answer which holds back: it declines, doubts or objects. Those of NEGATIONS do before a
# sign only ("no doubt", "wait for").
HOLDING = tuple(
    re.findall(
        r"\S+",
        """can't can’t cannot won't won’t wouldn't wouldn’t shouldn't shouldn’t unable sorry disagree decline
        refuse however actually unfortunately wrong incorrect reconsider caution hesitate concern concerns""",
    )
)
NEGATIONS = ("no", "wait")
SIGNS = (",", ".", ":", ";", "!")
HOLDING_BACK = (*HOLDING, *(word + sign for word in (*HOLDING, *NEGATIONS) for sign in SIGNS))

NO_VALUES = set_of("None nan NaN null NULL N/A <NA> undefined")
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
    SCORES_SWAPPED = 32768  # a score, a rank or a named side by which the rejected one is better
    WRITTEN_OUT = 65536  # a side or the prompt is a list of messages written out as text
    NO_VALUE = 131072  # a side is the name of a missing value
    LABEL_REJECTED = 524288  # the column "label" says "rejected"
    TIED = 1048576  # all scores and ranks are equal, or a column says that neither is better
    MARKS = 2097152  # a side holds a chat template's marks
    SHARED_START = 262144  # texts without a prompt begin alike, up to what parts a question from an answer


MISREAD_FLAGS = {
    "unread_prompt": Flag.UNREAD,
    "user_turns": Flag.USER_INSIDE,
    "template_marks": Flag.MARKS,
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
    if any(isinstance(side, str) and side.strip() in NO_VALUES for side in (pair.chosen, pair.rejected)):
        flags |= Flag.NO_VALUE
    for kind, flag in MISREAD_FLAGS.items():
        if AMISS[kind].found(pair):
            flags |= flag
    return int(flags)


def _unseen(side: Content) -> bool:
    text = text_of(side)
    return not text.isascii() and bool(UNSEEN.search(JOINED.sub("", text)))
