"""Prompts that two full dialogues share without saying so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

from .record import Content, Message

# How written dialogues announce a turn. The first of each is the user's, the second the assistant's.
MARKERS = (
    ("\n\nHuman:", "\n\nAssistant:"),
    ("\n\nUser:", "\n\nAssistant:"),
    ("\nHuman:", "\nAssistant:"),
    ("\nUser:", "\nAssistant:"),
    ("USER:", "ASSISTANT:"),
    ("### Human:", "### Assistant:"),
    ("### Instruction:", "### Response:"),
    ("<|im_start|>user\n", "<|im_start|>assistant\n"),
    ("<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ("<start_of_turn>user\n", "<start_of_turn>model\n"),
    ("<|user|>", "<|assistant|>"),
    ("<|prompter|>", "<|assistant|>"),
    ("<｜User｜>", "<｜Assistant｜>"),
    ("[INST]", "[/INST]"),
)
# Those of chat templates, which nobody writes by hand.
RENDERED = tuple(mark.strip() for both in MARKERS for mark in both if "<" in mark or "INST]" in mark)
# What chat templates write around turns and nobody writes by hand: `<|im_end|>`, `<|return|>`, `[/INST]`, …
TEMPLATE_MARK = re.compile(
    r"<\|[A-Za-z]\w{2,}\|>|<｜[^｜<>\n]{2,40}｜>|\[/?INST\]|<(?:start|end)_of_turn>|<</?SYS>>"
)
USERS = {user for user, _ in MARKERS}
USER = USERS - {"\nHuman:", "\nUser:", "USER:"}  # those that an answer never holds by chance
_TURN = re.compile("|".join(re.escape(mark) for mark in dict.fromkeys(m for both in MARKERS for m in both)))

# A special token that people write of themselves: `<s>` is a tag of HTML, `[MASK]` a word.
_TAG = re.compile(r"</?\w+>|\[\w+\]")


def says_rendered(prompt: str, special: Iterable[str]) -> bool:
    """Whether a prompt is a chat template's work: it holds a turn marker, or a token of `special`.

    Tokens that look like a tag or a word in brackets count at its beginning alone, where BOS stands.
    """
    if any(mark in prompt for mark in RENDERED):
        return True
    return any(prompt.startswith(t) if _TAG.fullmatch(t) else t in prompt for t in special)


Split = tuple[Content | None, Content, Content]


def split_shared(chosen: Content, rejected: Content) -> Split:
    """(prompt, chosen, rejected): the turns that both sides share become the prompt.

    Chat lists split where their messages first differ, texts at the last turn marker that both share:
    after an assistant's marker, before a user's. Both sides keep something where they can. Without a
    shared turn the prompt is None and the sides are returned as they came: whole sentences.

    TRL's `extract_prompt` agrees on chat lists; texts it cuts where the characters first differ, which
    may be inside a word.
    """
    if isinstance(chosen, str) or isinstance(rejected, str):
        return _split_texts(str(chosen), str(rejected))
    return _split_messages(chosen, rejected)


def _split_messages(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> Split:
    # Without the last message of the shorter side, so that both sides keep one.
    turns = zip(chosen[:-1], rejected[:-1], strict=False)
    n = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], turns))
    return chosen[:n] or None, chosen[n:], rejected[n:]


def _split_texts(chosen: str, rejected: str) -> Split:
    cut = seen = 0
    for turn in _TURN.finditer(chosen):
        if chosen[seen : turn.end()] != rejected[seen : turn.end()]:
            break
        seen = turn.end()
        cut = turn.start() if turn[0] in USERS else turn.end()
    return chosen[:cut] or None, chosen[cut:], rejected[cut:]
