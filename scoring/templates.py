"""How a prompt and a response become one text: raw, the model's chat template, question/answer, or your own.

A template gives the text before the response and the text after it. The response itself is always the file's
own words, so that the boundary is exact whatever a template does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..pairs.record import Content, Message, Pair, text_of
from .bounded import rendered, row_options
from .loaded import first_line

QA = "Question: {prompt}\nAnswer: "
SENTINEL = "probe-response-\u2063-sentinel"  # an invisible separator keeps it out of any real text


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text around a response: `before` + response + `after`. `special`: control tokens are written out.

    `stray` is True when the template, rendering the whole dialogue, puts something else around the response
    (a think block, another system prompt) than when it is asked for a generation prompt.
    """

    before: str
    after: str
    special: bool
    stray: bool = False


def resolve_template(asked: str, tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Pair]) -> str:
    """The name of the template to use: `asked`, or what `auto` comes to for these pairs.

    auto: chat for chat messages; raw where the boundary has white space of its own or there is no prompt;
    else the model's chat template; else question/answer. Raises `ProbeError` for a template that cannot be.
    """
    sample = list(pairs)
    has_chat = bool(tokenizer.chat_template)
    if any(is_chat(pair) for pair in sample) and not has_chat:
        raise ProbeError(
            f"{sample[0].id}: the pairs are chat messages, but this tokenizer has no chat template. "
            "Use a model with one, or give the pairs as text."
        )
    if asked != "auto":
        return _checked(asked, has_chat)
    texts = [pair for pair in sample if not is_chat(pair)]
    if not texts:
        return "chat"
    spaced = sum(map(has_boundary_space, texts))
    if 2 * spaced > len(texts):
        return "raw"
    return "chat" if has_chat else "qa"


def _checked(asked: str, has_chat: bool) -> str:
    if asked == "chat" and not has_chat:
        raise ProbeError(
            "--template chat: this tokenizer has no chat template. Use raw or qa, or another model."
        )
    if asked in ("raw", "qa", "chat") or "{prompt}" in asked:
        return asked
    raise ProbeError(
        f"--template {asked}: unknown. Use auto, raw, chat, qa, or a text with {{prompt}} in it."
    )


def is_chat(pair: Pair) -> bool:
    """Whether any part of the pair is a list of chat messages."""
    return not all(isinstance(part, str | None) for part in (pair.prompt, pair.chosen, pair.rejected))


def has_boundary_space(pair: Pair) -> bool:
    """Whether white space stands between prompt and responses, or there is no prompt to part them from."""
    if not pair.prompt:
        return True
    sides = (pair.chosen, pair.rejected)
    return str(pair.prompt)[-1:].isspace() or all(str(side)[:1].isspace() for side in sides)


def render(
    template: str,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Content | None,
    response: Content,
    options: Mapping[str, Any],
) -> tuple[Rendered, str]:
    """The text around one response, and the response's own text.

    `options` are handed to the chat template (`tools`, `chat_template_kwargs`). Raises `ProbeError` when the
    chat template refuses the messages.
    """
    if template == "chat" and (prompt or not isinstance(response, str)):
        return _chat(tokenizer, messages(prompt, "user"), messages(response, "assistant"), options)
    text, question = text_of(response), text_of(prompt)
    if template in ("raw", "chat"):
        return Rendered(question, "", special=False), text
    form = QA if template == "qa" else template
    before, _, after = form.partition("{prompt}")
    return Rendered(before + question + after, "", special=False), text


def messages(content: Content | None, role: str) -> list[Message]:
    """Content as chat messages; plain text becomes one message of that role."""
    if content is None:
        return []
    return [{"role": role, "content": content}] if isinstance(content, str) else list(content)


def _chat(
    tokenizer: PreTrainedTokenizerBase,
    prompt: list[Message],
    response: list[Message],
    options: Mapping[str, Any],
) -> tuple[Rendered, str]:
    """Render with a sentinel in the response's place: what stands after it is the end of the turn."""
    *middle, last = response
    text = str(last.get("content") or "")
    context = [*prompt, *middle]
    prefill = bool(context) and context[-1].get("role") == last.get("role") == "assistant"
    whole = _apply(tokenizer, [*context, {**last, "content": SENTINEL}], options)
    inside, _, after = whole.partition(SENTINEL)
    before = (
        inside if prefill or not context else _apply(tokenizer, context, options, add_generation_prompt=True)
    )
    return Rendered(before, after, special=True, stray=before != inside), text


def _apply(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[Message], options: Mapping[str, Any], **extra: Any
) -> str:
    own = row_options(tokenizer, options)
    try:
        return rendered(
            str(tokenizer.chat_template),
            lambda: tokenizer.apply_chat_template(list(chat), tokenize=False, **own, **extra),
        )
    except ProbeError:
        raise
    except Exception as error:  # a template is a program: it may raise anything
        raise ProbeError(
            f"the chat template refuses these messages ({first_line(error)}). Mend their roles, or use "
            "--template raw."
        ) from error
