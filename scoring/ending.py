"""Where a response ends: the token that a chat template writes, the one that a trainer puts behind text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from transformers import PreTrainedTokenizerBase

from .templates import closing_ids, special_ids


@lru_cache(maxsize=4096)
def is_blank(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    """Whether a token is white space."""
    return not str(tokenizer.decode([token])).strip()


def end_of_turn(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int | None:
    """The index after the token that ends a response: its last added one. None where words follow that.

    White space behind it is no end token, though some vocabularies (Gemma's) have it as an added one.
    """
    last = len(ids) - 1
    while last >= start and is_blank(tokenizer, ids[last]):
        last -= 1
    return last + 1 if last >= start and ids[last] in special_ids(tokenizer) else None


def closing_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int, stop: int) -> int:
    """How many of the tokens before `stop` close the response: its last one, and special ones before it.

    Some templates write two (Phi-3 `<|end|>`, a line break and `<|endoftext|>`; Cohere). Added tokens that
    are not special, such as `</tool_call>`, are words of the response.
    """
    special = closing_ids(tokenizer)
    first = at = stop - 1
    while at > start and (is_blank(tokenizer, ids[at - 1]) or ids[at - 1] in special):
        at -= 1
        first = first if is_blank(tokenizer, ids[at]) else at
    return stop - first


def trained_texts(tokenizer: PreTrainedTokenizerBase, before: str, texts: Sequence[str]) -> list[list[int]]:
    """The ids of the context alone and of each text, its end token written behind it, as TRL makes them.

    Source: `add_eos` and `tokenize_fn` of TRL 1.16's `DPOTrainer`.
    """
    end = tokenizer.eos_token or ""
    closed = [text if text.endswith(end) else text + end for text in texts]
    return [list(tokenizer(text)["input_ids"]) for text in (before, *closed)]


def lead_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that this tokenizer puts before a text by itself.

    Where its ids of a letter are not among those with what it adds, they are the special ones at the front.
    """
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    found = (at for at in range(len(full)) if full[at : at + len(bare)] == bare)
    ordinary = (at for at, token in enumerate(full) if token not in tokenizer.all_special_ids)
    return tuple(full[: next(chain(found, ordinary), 0)])
