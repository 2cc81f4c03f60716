"""How a prompt and a response become text: raw, the model's chat template, question/answer, or your own.

Text rows give the text before the response and the response's own words. Chat rows give three texts, as TRL's
trainers make them: the prompt with the generation prompt, prompt + chosen, prompt + rejected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..pairs.identity import handed_options
from ..pairs.implicit import says_rendered
from ..pairs.record import Content, Message, Pair, is_chat, text_of, words_of
from .bounded import rendered, row_options
from .loaded import first_line

QA = "Question: {prompt}\nAnswer: "
SAYS_PARTS = re.compile(r"\{'type': ?'\w+'|\{\"type\": ?\"text\"")  # a list of parts written out as text


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat pair under a template: `prompt` ends in the generation prompt ("" without messages)."""

    prompt: str
    chosen: str
    rejected: str


def require_template(asked: str, tokenizer: PreTrainedTokenizerBase, flag: str = "--template") -> None:
    """Raises `ProbeError`, naming the flag, for a template that cannot be."""
    if asked == "chat" and not tokenizer.chat_template:
        raise ProbeError(
            f"{flag} chat: this tokenizer has no chat template. Use raw or qa, or another model."
        )
    if asked not in ("auto", "raw", "qa", "chat") and "{prompt}" not in asked:
        raise ProbeError(
            f"{flag} {asked}: unknown. Use auto, raw, chat, qa, or a text with {{prompt}} in it."
        )


def resolve_template(asked: str, tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Pair]) -> str:
    """The name of the template to use: `asked`, or what `auto` comes to for these pairs.

    auto: for text rows raw where the boundary has white space of its own, there is no prompt, or it is
    rendered already; else the model's chat template; else question/answer. Chat rows alone are `chat`.
    Raises `ProbeError` for a template that cannot be.
    """
    sample = list(pairs)
    has_chat = bool(tokenizer.chat_template)
    chats = [pair for pair in sample if is_chat(pair)]
    if chats and not has_chat and asked in ("auto", "chat"):
        raise ProbeError(
            f"{chats[0].id}: the pairs are chat messages, but this tokenizer has no chat template. "
            "Use a model with one, or give the pairs as text."
        )
    require_template(asked, tokenizer)
    if asked != "auto":
        return asked
    texts = [pair for pair in sample if not is_chat(pair)]
    if not texts:
        return "chat" if chats or has_chat else "qa"
    bare = sum(has_boundary_space(pair) or is_rendered(pair, tokenizer) for pair in texts)
    if 2 * bare > len(texts):
        return "raw"
    return "chat" if has_chat else "qa"


def is_rendered(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text prompt holds turn markers or special tokens, so is rendered already."""
    return isinstance(pair.prompt, str) and says_rendered(pair.prompt, special_texts(tokenizer))


@lru_cache(maxsize=8)
def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of all tokens that were added to the vocabulary as such."""
    return frozenset(tokenizer.added_tokens_decoder)


@lru_cache(maxsize=8)
def closing_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of added tokens that are special: `<|im_end|>` is one, `</tool_call>` is none."""
    return frozenset(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)


@lru_cache(maxsize=8)
def special_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokenizer's special tokens as text, those of one or two characters left out."""
    return [text for text in getattr(tokenizer, "all_special_tokens", []) if len(text) > 2]


def has_boundary_space(pair: Pair) -> bool:
    """Whether white space stands between prompt and responses, or there is no prompt to part them from."""
    if not pair.prompt:
        return True
    sides = (pair.chosen, pair.rejected)
    return str(pair.prompt)[-1:].isspace() or all(str(side)[:1].isspace() for side in sides)


def text_before(template: str, prompt: Content | None) -> str:
    """The text before a response under a template that is no chat template."""
    question = text_of(prompt)
    if template in ("raw", "chat"):  # chat: a row without a prompt
        return question
    before, _, after = (QA if template == "qa" else template).partition("{prompt}")
    return before + question + after


def messages(content: Content | None, role: str) -> list[Message]:
    """Content as chat messages; plain text becomes one message of that role."""
    if content is None:
        return []
    return [{"role": role, "content": content}] if isinstance(content, str) else list(content)


Prompts = dict[tuple[str, str], str]  # template, prompt and options: what they were rendered as
REMEMBERED = 4096  # prompts


def chat_texts(tokenizer: PreTrainedTokenizerBase, pair: Pair, known: Prompts | None = None) -> Chat:
    """The three texts of a pair under the tokenizer's chat template, with the row's own options.

    `known` remembers rendered prompts: pairs share them, and a session encodes a file more than once.

    Raises `ProbeError`, with what the template said, when it refuses the messages or loses the user's words.
    Source: `tokenize_fn` of TRL 1.16's `DPOTrainer`.
    """
    options = chat_options(pair.meta)
    prompt = messages(pair.prompt, "user")
    before = _asked(tokenizer, prompt, options, {} if known is None else known) if prompt else ""
    sides = [_apply(tokenizer, [*prompt, *messages(side, "assistant")], options) for side in _sides(pair)]
    turns = [*prompt, *(m for side in _sides(pair) for m in messages(side, "assistant"))]
    _whole(turns, before + "".join(sides))
    return Chat(before, *sides)


def _asked(
    tokenizer: PreTrainedTokenizerBase, prompt: list[Message], options: Mapping[str, Any], known: Prompts
) -> str:
    name = str(tokenizer.chat_template), repr((prompt, options))
    if name not in known:
        if len(known) >= REMEMBERED:
            known.clear()
        known[name] = _apply(tokenizer, prompt, options, add_generation_prompt=True)
    return known[name]


def _sides(pair: Pair) -> tuple[Content, Content]:
    return pair.chosen, pair.rejected


def chat_options(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a row hands to the chat template as arguments; `tools` may be JSON text."""
    given = handed_options(meta)
    tools = given.pop("tools", None)
    tools = json.loads(tools) if isinstance(tools, str) else tools
    return {**given.get("chat_template_kwargs", {}), **({} if tools is None else {"tools": tools})}


def _whole(turns: Sequence[Message], text: str) -> None:
    """Raises `ProbeError` where the template wrote parts as Python text, or a user's words not at all."""
    parts = any(isinstance(turn.get("content"), list) for turn in turns)
    if parts and SAYS_PARTS.search(text):
        raise ProbeError(
            "the chat template wants text and writes content parts out as code. Write each content as text."
        )
    for turn in turns:
        words = words_of(turn.get("content")).strip()
        lost = turn.get("role") == "user" and words not in text  # "" stands in every text
        if lost and squeezed(words) not in squeezed(text):
            wants = (
                " It may want content parts: write them as" if not parts else " Write content as text, or as"
            )
            raise ProbeError(
                f'the chat template drops the user\'s words ("{words[:40]}").{wants} '
                '[{"type": "text", "text": "…"}], or use --template raw.'
            )


def squeezed(text: str) -> str:
    """A text without white space."""
    return "".join(text.split())


def _apply(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[Message], options: Mapping[str, Any], **extra: Any
) -> str:
    own = row_options(tokenizer, options)

    def render(turns: Sequence[Message]) -> str:
        return rendered(
            str(tokenizer.chat_template),
            lambda: tokenizer.apply_chat_template(list(turns), tokenize=False, **own, **extra),
        )

    try:
        return render(chat)
    except ProbeError:
        raise
    except Exception as error:  # a template is a program: it may raise anything
        said = first_line(error)
        other = "Correct their roles" if "role" in said.lower() else "Write them as it asks"
        remedy = next((told for told, change in REWRITES.items() if _passes(render, chat, change)), other)
        raise ProbeError(
            f"the chat template refuses these messages ({said}). {remedy}, or use --template raw."
        ) from error


def _passes(
    render: Callable[[Sequence[Message]], str], chat: Sequence[Message], change: Callable[[Message], Message]
) -> bool:
    """Whether refused messages pass once they are changed so."""
    changed = [change(turn) for turn in chat]
    if changed == list(chat):
        return False
    try:
        render(changed)
    except Exception:
        return False
    return True


def _with_content(turn: Message) -> Message:
    return turn if turn.get("content") is not None else {**turn, "content": ""}


def _with_arguments(turn: Message, change: Callable[[Any], Any]) -> Message:
    """A message whose calls of tools have their arguments changed; one that has none as it is."""
    calls = turn.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        return turn
    functions = [call.get("function", call) for call in calls]
    if not all(isinstance(function, Mapping) and "arguments" in function for function in functions):
        return turn
    made = [{**function, "arguments": change(function["arguments"])} for function in functions]
    both = zip(calls, made, strict=True)
    return {**turn, "tool_calls": [{**c, "function": f} if "function" in c else f for c, f in both]}


def _as_text(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _as_object(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


# What helps a template that refuses messages, each tried before it is told.
REWRITES: Mapping[str, Callable[[Message], Message]] = {
    'Write "" for a content that is null': _with_content,
    "Write the arguments of calls as JSON text": lambda turn: _with_arguments(turn, _as_text),
    "Write the arguments of calls as objects, not as text": lambda turn: _with_arguments(turn, _as_object),
    'Write "" for a content that is null, and the arguments of calls as JSON text': lambda turn: (
        _with_arguments(_with_content(turn), _as_text)
    ),
    'Write "" for a content that is null, and the arguments of calls as objects': lambda turn: (
        _with_arguments(_with_content(turn), _as_object)
    ),
}
