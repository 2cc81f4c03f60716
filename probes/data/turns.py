"""The turns of one pair: whether they are a chat's, and in the order that chat templates expect."""

from __future__ import annotations

from itertools import pairwise

from ...pairs.implicit import USER
from ...pairs.record import Content, Message, Pair
from .row_flags import Flag

CHAT_ROLES = frozenset({"system", "developer", "user", "assistant", "model", "tool", "function", "ipython"})
ANSWERING = frozenset({"assistant", "model"})


def turn_flags(pair: Pair) -> int:
    """The bits of `Flag` that tell a chat from text, the order of its turns, and what parts its sides."""
    if not isinstance(pair.chosen, str) and not isinstance(pair.rejected, str):
        wrong = any(turns_out_of_order(pair.prompt, side) for side in (pair.chosen, pair.rejected))
        return Flag.CHAT | (Flag.ODD_TURNS if wrong else 0) | (0 if pair.prompt else Flag.NO_PROMPT)
    chosen, rejected = str(pair.chosen), str(pair.rejected)
    odd = Flag.ODD_TURNS if chosen.startswith(_USER) or rejected.startswith(_USER) else 0
    if not pair.prompt:
        return Flag.NO_PROMPT | odd
    if str(pair.prompt)[-1:].isspace():
        return Flag.SPACED | odd
    spaced = chosen[:1].isspace() + rejected[:1].isspace()
    return (0, Flag.HALF_SPACED, Flag.SPACED)[spaced] | odd


_USER = tuple(USER)


def turns_out_of_order(prompt: Content | None, side: tuple[Message, ...]) -> bool:
    """Whether a chat breaks the order: system first, users and assistants in turn, assistant last."""
    before = prompt if isinstance(prompt, tuple) else ()
    roles = [str(message["role"]) for message in (*before, *side)]
    if not CHAT_ROLES.issuperset(roles) or roles[-1] not in ANSWERING or roles[len(before)] not in ANSWERING:
        return True
    if any(role in ("system", "developer") for role in roles[1:]):
        return True
    return any(a == b and a in ("user", *ANSWERING) for a, b in pairwise(roles))
