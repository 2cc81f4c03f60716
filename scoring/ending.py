"""Where a response ends: the token that a chat template writes, the one that a trainer puts behind text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, takewhile

from transformers import PreTrainedTokenizerBase

from .templates import closing_ids, special_ids

TURNS = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "x"})


@lru_cache(maxsize=4096)
def is_blank(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    """Whether a token is white space."""
    return not str(tokenizer.decode([token])).strip()


def end_of_turn(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int | None:
    """The index after the token that ends a response: its last added one. None where words follow that.

    White space behind it is no end token, though some vocabularies (Gemma's) have it as an added one. Nor is
    an added token that is not special (`</tool_call>`), unless the template closes every answer with it.
    """
    stop = _after_added(tokenizer, ids, start)
    if stop is None or ids[stop - 1] in closing_ids(tokenizer):
        return stop
    opening, closing = turn_marks(tokenizer)
    return stop if ids[stop - 1] in closing or not (opening or closing) else None


def _after_added(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int | None:
    """The index after the last added token; None where words follow that."""
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


@lru_cache(maxsize=8)
def turn_marks(tokenizer: PreTrainedTokenizerBase) -> tuple[frozenset[int], frozenset[int]]:
    """The added tokens that open a chat under the tokenizer's template, and those that close an answer in it.

    Both are empty without a template, and for one that refuses a question and an answer. A chat's first
    token that stands before other text as well (BOS) opens none.
    """
    try:
        asked, whole = (
            list(tokenizer.apply_chat_template(list(turns), tokenize=True, return_dict=False, **extra))
            for turns, extra in ((TURNS[:1], {"add_generation_prompt": True}), (TURNS, {}))
        )
    except Exception:  # a template is a program: it may raise anything
        return frozenset(), frozenset()
    start = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(asked, whole, strict=False)))
    stop = _after_added(tokenizer, whole, start)
    ends = 0 if stop is None else closing_tokens(tokenizer, whole, start, stop)
    closing = whole[stop - ends : stop] if stop else []
    opening = special_ids(tokenizer).intersection(asked) - {tokenizer.bos_token_id}
    return opening, frozenset(i for i in closing if not is_blank(tokenizer, i))


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
