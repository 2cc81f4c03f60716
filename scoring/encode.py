"""From a pair to token ids with an exact boundary between context and response.

Text is tokenised jointly, as a model would meet it. A token belongs to the response when it ends after the
boundary; one that begins before it has merged prompt and response and is flagged, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..pairs.record import Pair
from .records import EncodedPair, EncodedSide
from .templates import Rendered, render, resolve_template

# What the encoder may meet, as it stands in reports.
FLAGS = {
    "merged": "a token joins the end of the prompt and the start of the response",
    "truncated_chosen": "the chosen response is cut at the maximal length",
    "truncated_rejected": "the rejected response is cut at the maximal length",
    "nothing_left": "no response token is left, or there was none",
    "identical": "both sides are the same tokens",
    "first_token_unscored": "no prompt and no BOS token: the first token has nothing to be predicted from",
    "stray_template": "the chat template renders a finished answer unlike the start of one",
}
EXCLUDING = frozenset({"nothing_left", "identical"})  # nothing can be learned or measured from such a pair
SAMPLE = 256  # pairs that `auto` looks at


@dataclass(frozen=True, slots=True)
class Affixes:
    """What a tokenizer adds by itself: ids before a text, ids after it."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes pairs for one tokenizer, template and length limit. Made by `make_encoder`."""

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_length: int | None
    affixes: Affixes

    def __call__(self, pair: Pair) -> EncodedPair:
        """One pair as token ids."""
        return self.many([pair])[0]

    def many(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Several pairs, tokenised in one parallel call. Raises `ProbeError`, with the line, for bad ones."""
        if not pairs:
            return []
        sides = [side for pair in pairs for side in self._sides(pair)]
        encoded = self._tokenise([side.text for side in sides])
        placed = [self._place(side, *tokens) for side, tokens in zip(sides, encoded, strict=True)]
        rows = zip(pairs, placed[::2], placed[1::2], strict=True)
        return [_joined(pair, chosen, rejected) for pair, chosen, rejected in rows]

    def neutral(self, pair: Pair, premise: str = "") -> Pair:
        """The pair under a premise that says nothing, for the prompt-corrected gap."""
        return (
            replace(pair, prompt=premise)
            if isinstance(pair.prompt, str | None)
            else replace(pair, prompt=({"role": "user", "content": premise},))
        )

    def _sides(self, pair: Pair) -> list[_Side]:
        options = dict(pair.meta.get("chat_template_kwargs") or {})
        if pair.meta.get("tools"):
            options["tools"] = pair.meta["tools"]
        try:
            return [
                _side(*render(self.template, self.tokenizer, pair.prompt, response, options))
                for response in (pair.chosen, pair.rejected)
            ]
        except ProbeError as error:
            raise ProbeError(f"line {pair.line}: {error}") from error

    def _tokenise(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]] | None]]:
        if self.tokenizer.is_fast:
            batch = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
            return list(zip(batch["input_ids"], batch["offset_mapping"], strict=True))
        return [(self.tokenizer(text, add_special_tokens=False)["input_ids"], None) for text in texts]

    def _place(
        self, side: _Side, ids: list[int], offsets: list[tuple[int, int]] | None
    ) -> tuple[EncodedSide, set[str]]:
        """Token ids with special tokens, boundary, end token and truncation settled."""
        flags = {"stray_template"} if side.rendered.stray else set()
        start, stop, merged = self._boundary(side, ids, offsets)
        if merged:
            flags.add("merged")
        end = self._end(side, ids, stop)
        body = [*ids[:stop], *end]
        lead = self._lead(side, body)
        start, body = start + len(lead), [*lead, *body]
        if start == 0:
            start = 1
            flags.add("first_token_unscored")
        if self.max_length is not None and len(body) - bool(end) > self.max_length:
            # As TRL's keep_start; an end token alone is not worth a warning, so it is dropped first.
            body, end = body[: self.max_length], []
            flags.add("truncated")
        elif self.max_length is not None and len(body) > self.max_length:
            body, end = body[:-1], []
        if len(body) - bool(end) <= start:
            flags.add("nothing_left")
        return EncodedSide(tuple(body), start, side.bytes, bool(end)), flags

    def _boundary(
        self, side: _Side, ids: list[int], offsets: list[tuple[int, int]] | None
    ) -> tuple[int, int, bool]:
        """Indices of the first response token and the first token after it; whether the first is merged."""
        if offsets is None:
            return self._boundary_by_prefix(side, ids)
        first, last = len(side.rendered.before), len(side.rendered.before) + side.characters
        start = next((i for i, (_, stop) in enumerate(offsets) if stop > first), len(ids))
        stop = next((i for i in range(start, len(ids)) if offsets[i][0] >= last), len(ids))
        merged = start < stop and bool(side.text[offsets[start][0] : first].strip())
        return start, stop, merged

    def _boundary_by_prefix(self, side: _Side, ids: list[int]) -> tuple[int, int, bool]:
        """For tokenizers without offsets: the longest common prefix with the tokens of the context alone."""
        alone = self.tokenizer(side.rendered.before, add_special_tokens=False)["input_ids"]
        until = self.tokenizer(
            side.text[: len(side.text) - len(side.rendered.after)], add_special_tokens=False
        )
        start, stop = _shared(alone, ids), _shared(until["input_ids"], ids)
        return start, stop, start < len(alone)

    def _end(self, side: _Side, ids: list[int], stop: int) -> list[int]:
        """The end token: the template's own first one after the response, else the tokenizer's EOS."""
        if side.rendered.special:
            return ids[stop : stop + 1]
        eos = self.tokenizer.eos_token_id
        return [] if eos is None or ids[stop - 1 : stop] == [eos] else [eos]

    def _lead(self, side: _Side, ids: Sequence[int]) -> list[int]:
        """Special tokens to put in front: never twice, none where a template has written its own."""
        before = list(self.affixes.before)
        if side.rendered.special:
            return []
        if not before and not side.rendered.before and self.tokenizer.bos_token_id is not None:
            before = [self.tokenizer.bos_token_id]  # an empty context is scored from BOS, as lm-eval does
        return [] if list(ids[: len(before)]) == before else before


@dataclass(frozen=True, slots=True)
class _Side:
    """One text to be tokenised: context, response, what comes after."""

    rendered: Rendered
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
    sample = [pair for pair, _ in zip(pairs, range(SAMPLE), strict=False)]
    name = resolve_template(template, tokenizer, sample)
    return Encoder(tokenizer, name, max_length, affixes_of(tokenizer))


def affixes_of(tokenizer: PreTrainedTokenizerBase) -> Affixes:
    """What this tokenizer puts around a text by itself."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
    return Affixes(tuple(full[:at]), tuple(full[at + len(bare) :]))


def _side(rendered: Rendered, response: str) -> _Side:
    text = rendered.before + response + rendered.after
    return _Side(rendered, text, len(response), len(response.encode("utf-8", "surrogatepass")))


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


def _joined(
    pair: Pair, chosen: tuple[EncodedSide, set[str]], rejected: tuple[EncodedSide, set[str]]
) -> EncodedPair:
    sides: Mapping[str, tuple[EncodedSide, set[str]]] = {"chosen": chosen, "rejected": rejected}
    flags: set[str] = set()
    for name, (_, met) in sides.items():
        flags |= {f"truncated_{name}" if flag == "truncated" else flag for flag in met}
    if chosen[0].ids == rejected[0].ids and chosen[0].start == rejected[0].start:
        flags.add("identical")
    return EncodedPair(pair.id, chosen[0], rejected[0], tuple(flag for flag in FLAGS if flag in flags))


def describe(flag_counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Counted flags as report rows."""
    return [{"flag": flag, "count": n, "meaning": FLAGS[flag]} for flag, n in flag_counts.items() if n]
