"""Rows that were meant as one thing and are read as another: a prompt that is left out, turns inside a side.

The same for a check of the file (`probe data`, which explains them) and for whatever scores it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

from ..records import Severity
from ..stats.scripts import length_in_words
from .implicit import TEMPLATE_MARK, USER
from .ordered import word_set
from .record import Content, Pair, text_of

PROMPT_WORDS = word_set(
    "prompt question instruction instructions query problem message messages conversation conversations "
    "dialogue dialog input inputs user request post article document passage trajectory"
)
CONTEXT_WORDS = word_set(
    "system input inputs history context functions image images video audio prefix prefill"
)  # parts that stand beside a prompt, or between it and a response
STEPS_BEFORE = "initial_reason_steps"  # of Math-Step-DPO: what the answer goes on from
# With one of these words a column is about a prompt, and holds none: `prompt_id`, `input_tokens`.
ABOUT = word_set(
    "id ids idx index uuid hash token tokens length len count num type kind source category lang language "
    "score rating model name chosen rejected response template date time config configs args kwargs params "
    "settings"
)
# What parts a question from its answer in text: a line, a word with a colon (`A:`), a question mark,
# a mark of some template.
PARTED = re.compile(r"\n|\b\w+: ?|[?？>\]|]")
QUESTION_WORDS = 3  # shorter ones may ask something else ("sure?")
SHARED_WORDS = 5  # fewer may well be alike by chance
SERIALISED_CHAT = re.compile(r"""\s*\[\s*\{\s*['"](role|from|content)['"]\s*:""")
# One message; of one side alone it may be an answer in JSON.
SERIALISED_TURN = re.compile(
    r"""\s*\{\s*(?=.*['"](role|from)['"]\s*:\s*['"](user|assistant|system|human|gpt)['"])"""
    r"""['"](role|from|content|value)['"]\s*:""",
    re.DOTALL,
)
SERIALISED_LIST = re.compile(r"""\s*\[\s*".*"\s*\]\s*""", re.DOTALL)


def unread_prompt_columns(pair: Pair) -> list[str]:
    """The columns that look like the prompt, or a part of it, and are not read."""
    asks = _asks(pair.prompt)
    found = [name for name, value in pair.meta.items() if _says(value) and _looks_asked(name, value, asks)]
    read = text_of(pair.prompt) if found else ""
    # What stands in the prompt as well is read.
    return [name for name in found if not (isinstance(v := pair.meta[name], str) and v.strip() in read)]


def _looks_asked(name: str, value: Any, asks: bool) -> bool:
    """Whether a column looks like a prompt or, beside one that `asks`, like a part of it."""
    words = _words(name)
    if words & CONTEXT_WORDS or name == STEPS_BEFORE:
        return True
    return not asks and (bool(words & PROMPT_WORDS) or _is_asked(value))


def _asks(prompt: Content | None) -> bool:
    """Whether a prompt is more than a system text."""
    turns = not isinstance(prompt, str | None) and any(turn.get("role") != "system" for turn in prompt)
    return turns or (isinstance(prompt, str) and bool(prompt))


@cache
def _words(name: str) -> frozenset[str]:
    """The words of a column's name; none where it is about a text and holds none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)).lower()
    words = frozenset(re.findall(r"[a-z]+", spaced))
    return frozenset() if words & ABOUT else words


def _is_asked(value: Any) -> bool:
    """Whether a text is a question of several words, under whatever name, of whatever language."""
    return (
        isinstance(value, str)
        and value.rstrip().endswith(("?", "？", "؟"))
        and length_in_words(value) >= QUESTION_WORDS
    )


def _says(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, list | dict) and bool(value)


def starts_alike(pair: Pair) -> bool:
    """Whether a pair without a prompt has a question, or the like, at the beginning of both its texts."""
    if pair.prompt or not isinstance(pair.chosen, str) or not isinstance(pair.rejected, str):
        return False
    letters = zip(pair.chosen.strip(), pair.rejected.strip(), strict=False)
    shared = "".join(a for a, _ in takewhile(lambda both: both[0] == both[1], letters))
    parted = max((mark.end() for mark in PARTED.finditer(shared)), default=0)
    return pair.chosen != pair.rejected and length_in_words(shared[:parted]) >= SHARED_WORDS


def user_inside(pair: Pair) -> bool:
    """Whether turns of the user stand inside what is scored as a response."""
    return any(map(_holds_user, (pair.chosen, pair.rejected)))


def _holds_user(side: Content) -> bool:
    if isinstance(side, str):
        return any(mark in side for mark in USER)
    return any(turn.get("role") == "user" for turn in side)


def marks_inside(pair: Pair) -> bool:
    """Whether a side holds what a chat template writes around turns, and the prompt does not, as one that is
    rendered beforehand would; marks of the user's turns are `user_inside`'s."""
    if user_inside(pair) or TEMPLATE_MARK.search(text_of(pair.prompt)):
        return False
    return any(map(_marked, (text_of(pair.chosen), text_of(pair.rejected))))


def _marked(text: str) -> bool:
    closed = text.rstrip().endswith("</s>") and "<s>" not in text[1:]  # else a tag of HTML
    return closed or bool(TEMPLATE_MARK.search(text))


def messages_as_text(pair: Pair) -> bool:
    """Whether a side, or the prompt, is a list of messages that became text; or both sides are one message,
    or all are lists of texts, in that form."""
    parts = (pair.chosen, pair.rejected, pair.prompt)
    texts = [part for part in parts if isinstance(part, str)]
    if any(map(SERIALISED_CHAT.match, texts)):
        return True
    turns = len(texts) > 1 and all(map(SERIALISED_TURN.match, texts[:2]))
    return turns or (len(texts) == len(parts) and all(map(SERIALISED_LIST.fullmatch, texts)))


@dataclass(frozen=True, slots=True)
class Misread:
    """One way to be read amiss: its code, how grave it is, what the pairs do, what helps, and who does it."""

    code: str
    severity: Severity
    what: str
    remedy: str
    found: Callable[[Pair], bool]


AMISS: Mapping[str, Misread] = {
    "unread_prompt": Misread(
        "PB350", "warning", "have a column that looks like (part of) a prompt and is not read",
        "Name it by --fields prompt=, system= or input=, write earlier turns as messages of the prompt, or "
        "drop it; images are never read.",
        lambda pair: bool(unread_prompt_columns(pair)),
    ),
    "user_turns": Misread(
        "PB352", "warning",
        "have turns of the user inside a response, which are scored and trained as its words",
        "Cut the dialogues at the first turn in which the sides differ.",
        user_inside,
    ),
    "template_marks": Misread(
        "PB338", "warning",
        "have a chat template's marks inside a response, which are scored and trained as its words",
        "Take the marks out of the sides; the template of the model that is trained writes its own.",
        marks_inside,
    ),
    "written_out": Misread(
        "PB356", "error", "have a side or a prompt that is messages, or a list, written out as text",
        "Write the messages as lists, or all of a row's as JSON, by json.dumps.",
        messages_as_text,
    ),
    "shared_beginnings": Misread(
        "PB359", "warning",
        f"have no prompt, and both sides begin with the same question of {SHARED_WORDS} words or more",
        "Give what they share as the prompt, or write chat messages.",
        starts_alike,
    ),
}  # fmt: skip

MISREAD_CODES = frozenset(told.code for told in AMISS.values())


def unread_prompt_names(pairs: Iterable[Pair]) -> list[str]:
    """The names of all columns of these pairs that look like a prompt and are not read."""
    return sorted({name for pair in pairs for name in unread_prompt_columns(pair)})
