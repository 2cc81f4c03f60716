"""From a pair to token ids with an exact boundary between context and response.

Text is tokenised jointly, as a model would meet it. A token belongs to the response when it ends after the
boundary; one that begins before it has merged prompt and response and is flagged, never dropped.

Chat follows TRL's rule: prompt (with generation prompt), prompt + chosen and prompt + rejected are rendered
by the tokenizer's own template, and what follows the common beginning of their tokens is the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..pairs.record import Content, Pair, is_chat, text_of
from .changes import prompt_losses, text_changes
from .ending import closing_tokens, end_of_turn, lead_of, trained_texts
from .flags import FLAGS, joined_pair, shared_prefix
from .scores import EncodedPair, EncodedSide
from .templates import (
    Chat,
    Prompts,
    chat_texts,
    is_rendered,
    messages,
    resolve_template,
    special_texts,
    text_before,
)

AUTO_SAMPLE = 256  # pairs that `auto` looks at
NO_MASKS = {"return_attention_mask": False, "return_token_type_ids": False}


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes pairs for one tokenizer, template and length limit. Made by `make_encoder`.

    `template` is that of text rows; rows of chat messages go through the chat template when `chat` is True.
    `lead`: the ids that the tokenizer puts before a text by itself. `whole`: the ids are those of TRL's DPO
    to the last: an end token is a token like others, what a chat template writes behind it (a line break) is
    the response's, and a text's response begins where its tokens leave those of the prompt alone.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_length: int | None
    lead: tuple[int, ...]
    chat: bool = True
    whole: bool = False
    prompts: Prompts = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, pair: Pair) -> EncodedPair:
        """One pair as token ids."""
        return self.many([pair])[0]

    def many(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Several pairs, tokenised in one parallel call. Raises `ProbeError`, with the line, for bad ones."""
        if not pairs:
            return []
        rows = [self.texts(pair) for pair in pairs]
        tokens = iter(self.tokenise([text for row in rows for text in all_texts(row)]))
        text = self._trained if self.whole else self._text
        return [
            self._chat(pair, row, next(tokens), next(tokens), next(tokens))
            if isinstance(row, Chat)
            else text(pair, row, next(tokens), next(tokens))
            for pair, row in zip(pairs, rows, strict=True)
        ]

    def contexts(self, pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
        """The token ids that an answer to each prompt is generated from."""
        sides = [
            ("x" if isinstance(p.chosen, str) else ({"role": "assistant", "content": "x"},)) for p in pairs
        ]
        asked = [replace(p, chosen=side, rejected=side) for p, side in zip(pairs, sides, strict=True)]
        rows = [self.texts(pair) for pair in asked]
        prompts = self.tokenise([row.prompt if isinstance(row, Chat) else row[0].before for row in rows])
        return [
            self._context(row, prompt[0], code)
            for row, prompt, code in zip(rows, prompts, self.many(asked), strict=True)
        ]

    def _context(
        self, row: Chat | tuple[SideText, SideText], prompt: list[int], code: EncodedPair
    ) -> tuple[int, ...]:
        if isinstance(row, Chat):
            return tuple(prompt)
        if "merged" in code.flags:  # with the "x" behind it, the prompt's last word would be left out
            return (*self._lead(row[0], prompt), *prompt)
        return code.chosen.ids[: code.chosen.start]

    def neutral(self, pair: Pair, premise: str = "") -> Pair:
        """The pair under a premise that says nothing, for the prompt-corrected gap."""
        text = isinstance(pair.prompt, str | None)
        return replace(pair, prompt=premise if text else ({"role": "user", "content": premise},))

    def _is_chat(self, pair: Pair) -> bool:
        """Whether the row goes through the chat template."""
        if is_chat(pair):
            return self.chat
        return self.template == "chat" and bool(pair.prompt) and not is_rendered(pair, self.tokenizer)

    def texts(self, pair: Pair) -> Chat | tuple[SideText, SideText]:
        """What the tokenizer is given: three texts under a chat template, else one a side."""
        if not self._is_chat(pair):
            raw = self.template not in ("raw", "chat") and is_rendered(pair, self.tokenizer)
            before = text_before("raw" if raw else self.template, pair.prompt)
            return _side(before, pair.chosen), _side(before, pair.rejected)
        if not self.tokenizer.chat_template:
            raise ProbeError(
                f"line {pair.line}: the pair is chat messages, but this tokenizer has no chat template. "
                "Use a model with one, or give the pairs as text."
            )
        try:
            return chat_texts(self.tokenizer, pair, self.prompts)
        except ProbeError as error:
            raise ProbeError(f"line {pair.line}: {error}") from error

    def _chat(self, pair: Pair, chat: Chat, prompt: Tokens, chosen: Tokens, rejected: Tokens) -> EncodedPair:
        """TRL's rule: the response follows the tokens that the prompt shares with both sides."""
        start = min(shared_prefix(prompt[0], chosen[0]), shared_prefix(prompt[0], rejected[0]))
        sides = [
            self._chat_side(text, tokens, start, messages(side, "assistant"))
            for text, tokens, side in (
                (chat.chosen, chosen, pair.chosen),
                (chat.rejected, rejected, pair.rejected),
            )
        ]
        joined = joined_pair(pair, *sides)
        flags = set(joined.flags) | self._typed(pair) | {change.flag for change in prompt_losses(chat, pair)}
        cut = {"truncated_chosen", "truncated_rejected", "nothing_left", "prompt_fills"} & flags
        if "identical" in flags and not cut and pair.chosen != pair.rejected:
            flags.add("same_under_template")
        return replace(joined, flags=tuple(flag for flag in FLAGS if flag in flags))

    def _chat_side(
        self, text: str, tokens: Tokens, start: int, turns: Sequence[Mapping[str, Any]]
    ) -> tuple[EncodedSide, set[str]]:
        ids, offsets = tokens
        stop = end_of_turn(self.tokenizer, ids, start)
        ends = 0 if stop is None else closing_tokens(self.tokenizer, ids, start, stop)
        body, last = ids if self.whole else ids[:stop], (len(ids) if stop is None else stop) - ends
        written = self.written(text, ids, offsets, start, last)
        before = self.written(text, ids, offsets, 0, start)
        flags = {change.flag for change in text_changes(written, turns, before)}
        apart = 0 if self.whole else ends
        return self._cut(body, start, len(written.encode("utf-8", "surrogatepass")), apart, flags)

    def written(
        self, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]] | None, start: int, last: int
    ) -> str:
        """The text of the tokens from `start` to before `last`."""
        if last <= start:
            return ""
        if offsets is None:
            return str(self.tokenizer.decode(ids[start:last]))
        return text[offsets[start - 1][1] if start else 0 : offsets[last - 1][1]]

    def _typed(self, pair: Pair) -> set[str]:
        texts = special_texts(self.tokenizer)
        sides = [text_of(side) for side in (pair.chosen, pair.rejected)]
        return {"typed_special"} if any(t in side for side in sides for t in texts) else set()

    def _text(
        self, pair: Pair, sides: tuple[SideText, SideText], chosen: Tokens, rejected: Tokens
    ) -> EncodedPair:
        joined = joined_pair(pair, self._place(sides[0], *chosen), self._place(sides[1], *rejected))
        flags = set(joined.flags) | self._typed(pair)
        if self.template != "raw" and is_rendered(pair, self.tokenizer):
            flags.add("rendered")
        return replace(joined, flags=tuple(flag for flag in FLAGS if flag in flags))

    def _trained(self, pair: Pair, sides: tuple[SideText, SideText], *_: Tokens) -> EncodedPair:
        """TRL's rule for text rows: the end token's text behind each side, then the rule of chats."""
        prompt, *made = trained_texts(self.tokenizer, sides[0].before, [side.text for side in sides])
        start = min(shared_prefix(prompt, ids) for ids in made)
        cut = [self._cut(ids, start, side.bytes, 0, set()) for ids, side in zip(made, sides, strict=True)]
        return joined_pair(pair, *cut)

    def tokenise(self, texts: list[str]) -> list[Tokens]:
        """The ids of each text, nothing added, and where each token stands, None for slow tokenizers."""
        if self.tokenizer.is_fast:
            once = list(dict.fromkeys(texts))  # pairs share prompts
            batch = self.tokenizer(once, add_special_tokens=False, return_offsets_mapping=True, **NO_MASKS)
            made = dict(zip(once, zip(batch["input_ids"], batch["offset_mapping"], strict=True), strict=True))
            return [made[text] for text in texts]
        return [(self.tokenizer(text, add_special_tokens=False)["input_ids"], None) for text in texts]

    def _place(
        self, side: SideText, ids: list[int], offsets: list[tuple[int, int]] | None
    ) -> tuple[EncodedSide, set[str]]:
        """Token ids with special tokens, boundary, end token and truncation settled."""
        flags: set[str] = set()
        start, stop, merged = self._boundary(side, ids, offsets)
        if merged:
            flags.add("merged")
        end = self._end(ids, stop)
        body = [*ids[:stop], *end]
        lead = self._lead(side, body)
        start, body = start + len(lead), [*lead, *body]
        return self._cut(body, start, side.bytes, len(end), flags)

    def _cut(
        self, body: Sequence[int], start: int, size: int, ends: int, flags: set[str]
    ) -> tuple[EncodedSide, set[str]]:
        """The side cut at the maximal length as TRL's `keep_start` does."""
        if start == 0:
            start = 1
            flags = flags | {"first_token_unscored"}
        n = len(body) - ends
        if self.max_length is not None and len(body) > self.max_length:
            body, ends = body[: self.max_length], max(self.max_length - n, 0)
            if n > self.max_length:  # the bytes of what is scored
                size = len(str(self.tokenizer.decode(body[start:])).encode("utf-8", "surrogatepass"))
                flags = flags | {"truncated"}
            if start >= self.max_length:
                flags = flags | {"prompt_fills"}
        if len(body) - ends <= start:
            flags = flags | {"nothing_left"}
        return EncodedSide(tuple(body), start, size, ends), flags

    def _boundary(
        self, side: SideText, ids: list[int], offsets: list[tuple[int, int]] | None
    ) -> tuple[int, int, bool]:
        """Indices of the first response token and the first token after it; whether the first is merged."""
        if offsets is None:
            return self._boundary_by_prefix(side, ids)
        first, last = len(side.before), len(side.before) + side.characters
        start = next((i for i, (_, stop) in enumerate(offsets) if stop > first), len(ids))
        stop = next((i for i in range(start, len(ids)) if offsets[i][0] >= last), len(ids))
        merged = start < stop and bool(side.text[offsets[start][0] : first].strip())
        return start, stop, merged

    def _boundary_by_prefix(self, side: SideText, ids: list[int]) -> tuple[int, int, bool]:
        """For tokenizers without offsets: the longest common prefix with the tokens of the context alone."""
        alone = self.tokenizer(side.before, add_special_tokens=False)["input_ids"]
        start = shared_prefix(alone, ids)
        return start, len(ids), start < len(alone)

    def _end(self, ids: list[int], stop: int) -> list[int]:
        """The tokenizer's EOS, unless the response ends in it."""
        eos = self.tokenizer.eos_token_id
        return [] if eos is None or ids[stop - 1 : stop] == [eos] else [eos]

    def _lead(self, side: SideText, ids: Sequence[int]) -> list[int]:
        """Special tokens to put in front, never twice."""
        before = list(self.lead)
        if not before and not side.before and self.tokenizer.bos_token_id is not None:
            before = [self.tokenizer.bos_token_id]  # an empty context is scored from BOS, as lm-eval does
        return [] if list(ids[: len(before)]) == before else before


Tokens = tuple[list[int], list[tuple[int, int]] | None]  # ids, and where each stands in the text


@dataclass(frozen=True, slots=True)
class SideText:
    """One text to be tokenised: context and response."""

    before: str
    text: str
    characters: int  # of the response
    bytes: int


def make_encoder(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Iterable[Pair],
    template: str = "auto",
    max_length: int | None = None,
) -> Encoder:
    """An encoder for these pairs; `auto` is settled by the first few hundred of them.

    `max_length` counts all tokens of one sequence, special ones included.
    """
    sample = [pair for pair, _ in zip(pairs, range(AUTO_SAMPLE), strict=False)]
    name = resolve_template(template, tokenizer, sample)
    return Encoder(tokenizer, name, max_length, lead_of(tokenizer), template in ("auto", "chat"))


def _side(before: str, content: Content) -> SideText:
    response = text_of(content)
    return SideText(before, before + response, len(response), len(response.encode("utf-8", "surrogatepass")))


def all_texts(row: Chat | tuple[SideText, SideText]) -> list[str]:
    """The texts of a row in the order that they are tokenised in."""
    return [row.prompt, row.chosen, row.rejected] if isinstance(row, Chat) else [side.text for side in row]
