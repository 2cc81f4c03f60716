"""A server's own log-probs of a prompt: OpenAI-like `/v1/completions`, as vLLM and llama-cpp-python serve it.

Token ids are sent where the server takes them, else their text. Either way the answer must show the same
tokens, and the server's log-prob of a token that it has just generated must be that of the same token in a
prompt: some servers are off by one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urldefrag

from transformers import PreTrainedTokenizerBase

from ..errors import CannotMeasure, ProbeError
from .asking import Failing, Refused, ask_json
from .endpoint_answer import read_answer

TIMEOUT = 300.0  # seconds that one answer may take
OPENING_S = 10.0  # seconds for the list of models, before which nothing is measured
NOT_OF_THE_FORM = frozenset({400, 415, 422, 500})  # what servers say to ids that they do not take
PROVEN = 0.05  # nats between a token generated and the same token in a prompt; batches round differently
CUTS = (0, 1, 2, 3, 5, 8, 13)  # tokens off the end of a prompt until the server generates one that it shows
VOLATILE = ("created", "permission", "meta")

Made = tuple[int, float]  # a generated token and its log-prob
Answer = tuple[list[float | None], Made | None]  # log-probs by position, None where there is none


class NotShown(ProbeError):
    """The server does not show what is asked of prompts of this kind; of others it may."""


class OtherModel(ProbeError):
    """Another model answers than before."""


@dataclass
class Endpoint:
    """One model of a server. `says`: what the server says of it, but for what changes at each start."""

    url: str
    name: str
    says: Mapping[str, Any]
    tokenizer: PreTrainedTokenizerBase
    timeout: float = TIMEOUT
    as_text: bool = False
    adds_bos: bool = True  # to a text; settled by how many tokens the server counts
    proven: set[bool] = field(default_factory=set)  # by whether prompts begin with a BOS
    answers_as: str | None = None  # the model that its answers name, where they name one
    still: bool | None = None  # whether it gives the numbers that were kept of it; None: not asked yet

    @classmethod
    def open(cls, address: str, tokenizer: PreTrainedTokenizerBase) -> Endpoint:
        """The model at `http://HOST/v1`, or of several the one named as `http://HOST/v1#NAME`.

        Asks one short prompt, to learn which model answers. Raises `ProbeError` where there is no such
        server or model.
        """
        url, wanted = urldefrag(address)
        url = url.rstrip("/")
        try:
            answer = ask_json(f"{url}/models", None, OPENING_S)
        except CannotMeasure as error:
            raise ProbeError(f"{error} Is the server running, and does the URL end in /v1?") from error
        served = answer.get("data") if isinstance(answer, Mapping) else None
        listed = served if isinstance(served, list) else []
        models = {str(m["id"]): m for m in listed if isinstance(m, Mapping) and "id" in m}
        if not models:
            raise ProbeError(f"{url}/models: lists no model. Give the URL of an OpenAI-like server.")
        if (wanted and wanted not in models) or (not wanted and len(models) > 1):
            raise ProbeError(f"{address}: serves {', '.join(models)}. Name one: --model '{url}#NAME'.")
        name = wanted or next(iter(models))
        says = {key: value for key, value in models[name].items() if key not in VOLATILE}
        opened = cls(url, name, says, tokenizer)
        with suppress(ProbeError):  # the first prompt that counts tells what is wrong
            body = {"model": name, "prompt": "a", "max_tokens": 1, "temperature": 0}
            opened.hear(ask_json(f"{url}/completions", body, OPENING_S))
        return opened

    @property
    def longest(self) -> int | None:
        """The most tokens of a prompt, where the server says so."""
        length = self.says.get("max_model_len")
        return length - 1 if isinstance(length, int) and length > 1 else None  # one token is generated

    def logps(self, ids: Sequence[int], start: int = 1) -> list[float]:
        """log p of each token from `start` on, 1 or more, given those before it, in nats: [len(ids) − start].

        Raises `ProbeError` for an answer without log-probs or of other tokens, `CannotMeasure` where the
        server fails again and again.
        """
        self.settle(ids)
        found = self._answer(ids)[0][start:]
        if None in found:
            raise NotShown(
                f"{self.url}: gives no log-prob of token {start + found.index(None)} of a prompt, "
                f"{self.tokenizer.decode([ids[start + found.index(None)]])!r}. Some servers leave out the "
                "first token after a BOS, and each BOS: choose a --template with text before the answer."
            )
        return [float(value) for value in found if value is not None]

    @property
    def alias(self) -> str | None:
        """The model that answers, where it is not called what was asked for."""
        return self.answers_as if self.answers_as != self.name else None

    def hear(self, answer: Any) -> None:
        """Note which model an answer names; told once where it is another name than the one asked for.

        Raises `OtherModel` where it is not that of the answers before.
        """
        named = answer.get("model") if isinstance(answer, Mapping) else None
        if not isinstance(named, str) or not named or named == self.answers_as:
            return
        if self.answers_as is not None:
            raise OtherModel(
                f"{self.url}: answers as {self.answers_as}, then as {named}: numbers of two models do not "
                "compare. Name a server of one model, or switch its fallback off, and run again."
            )
        self.answers_as = named
        if self.alias:
            print(
                f"probe: {self.url} answers as {named}, and was asked for {self.name}: another name of it, "
                "or another model, whose numbers these then are.",
                file=sys.stderr,
            )

    def settle(self, ids: Sequence[int]) -> None:
        """Ask once how prompts are sent, unless a prompt of this kind was asked before."""
        if self._has_bos(ids) not in self.proven:
            self._prove(ids)

    def reads(self, ids: Sequence[int]) -> bool:
        """Whether the text of these ids, where text is what is sent, is these tokens again."""
        own = ids[1:] if self.adds_bos and self._has_bos(ids) else ids
        return list(self.tokenizer(self._text(ids), add_special_tokens=False)["input_ids"]) == list(own)

    def _prove(self, ids: Sequence[int]) -> None:
        """Settle how prompts are sent, and hold a generated token's log-prob against the same in a prompt.

        Raises `ProbeError` where the two differ, and where the server shows no token that it generates.
        """
        try:
            made = self._answer(ids)[1]
        except (Refused, Failing) as error:
            if error.status not in NOT_OF_THE_FORM:
                raise
            print(f"probe: {self.url} takes no token ids; prompts are sent as text.", file=sys.stderr)
            self.as_text = True
            made = self._answer(ids)[1]
        for prompt in (ids[: len(ids) - cut] for cut in CUTS if len(ids) - cut >= 2):
            if (both := self._twice(prompt, made if len(prompt) == len(ids) else None)) is None:
                continue
            if not abs(both[0] - both[1]) <= PROVEN:
                raise ProbeError(
                    f"{self.url}: gives a token {both[0]:.3f} nats when it generates it and {both[1]:.3f} in "
                    "a prompt, so its log-probs of prompts are not the model's. Use another server."
                )
            self.proven.add(self._has_bos(ids))
            return
        raise NotShown(
            f"{self.url}: shows no token that it generates, which its log-probs of prompts could be held "
            "against. llama-cpp-python's server is so for prompts without a BOS: use a --template that "
            "begins with one, or another server."
        )

    def _twice(self, ids: Sequence[int], made: Made | None) -> tuple[float, float] | None:
        """Log-prob of the token that the server generates here: as generated, and as part of a prompt.

        None where it shows none, and where the text of the two is other tokens. `made`: it is known already.
        """
        try:
            if (made := made or self._answer(ids)[1]) is None:
                return None
            again = self._answer([*ids, made[0]])[0][-1]
        except (Refused, CannotMeasure, OtherModel):
            raise
        except ProbeError:
            return None
        return None if again is None else (made[1], again)

    def _answer(self, ids: Sequence[int]) -> Answer:
        """The log-probs by position, and the generated token where it is one of the tokenizer's."""
        body = {
            "model": self.name, "prompt": self._text(ids) if self.as_text else list(ids), "max_tokens": 1,
            "temperature": 0, "echo": True, "logprobs": 1, "return_tokens_as_token_ids": True,
        }  # fmt: skip
        answer = ask_json(f"{self.url}/completions", body, self.timeout)
        self.hear(answer)
        tokens, logps = read_answer(self.url, answer)
        usage = answer.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        if self.as_text and isinstance(counted, int) and counted != len(ids):
            if self.adds_bos and self._has_bos(ids) and counted == len(ids) - 1:
                self.adds_bos = False
                return self._answer(ids)
            raise ProbeError(
                f"{self.url}: reads {counted} tokens where the tokenizer makes {len(ids)}: one of them adds "
                "a BOS, or they differ. Name the model's own with --tokenizer, or a server that takes ids."
            )
        return self._aligned(ids, tokens, logps)

    def _text(self, ids: Sequence[int]) -> str:
        """The prompt as text, without a BOS that the server puts in front itself."""
        own = ids[1:] if self.adds_bos and self._has_bos(ids) else ids
        return str(self.tokenizer.decode(own, skip_special_tokens=False))

    @cached_property
    def _special(self) -> frozenset[int]:
        """Ids that a text has no letters for."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(self.tokenizer.all_special_ids) | {i for i, token in added if token.special}

    def _has_bos(self, ids: Sequence[int]) -> bool:
        return bool(ids[0] == self.tokenizer.bos_token_id)

    def _aligned(self, ids: Sequence[int], tokens: Sequence[str], logps: Sequence[float | None]) -> Answer:
        """The part of an answer that belongs to `ids`, of which a server may leave out one BOS or all.

        Raises `ProbeError` where it shows other tokens.
        """
        for shown in self._shown(ids):
            n = len(shown)
            if len(tokens) not in (n, n + 1):
                continue
            if all(self._same(ids[at], token) for at, token in zip(shown, tokens, strict=False)):
                if len(logps) != len(tokens) or None in logps[1:n]:
                    raise ProbeError(
                        f"{self.url}: gives no log-prob of some of the prompt's tokens. "
                        "Use another server or version."
                    )
                known: list[float | None] = [None] * len(ids)
                for at, value in zip(shown, logps, strict=False):
                    known[at] = value
                return known, self._made(tokens[n], logps[n]) if len(tokens) > n else None
        at = next((k for k, (i, t) in enumerate(zip(ids, tokens, strict=False)) if not self._same(i, t)), 0)
        raise ProbeError(
            f"{self.url}: reads other tokens ({len(tokens)}, {tokens[at : at + 1]} at {at}) than the "
            f"tokenizer makes ({len(ids)}). Name the served model's own with --tokenizer."
        )

    def _shown(self, ids: Sequence[int]) -> list[list[int]]:
        """The positions that a server may show: all, all but a BOS in front, all but every BOS."""
        every = list(range(len(ids)))
        without = [at for at in every if ids[at] != self.tokenizer.bos_token_id]
        return [every, *([every[1:]] if self._has_bos(ids) else []), *([without] if without != every else [])]

    def _same(self, i: int, token: str) -> bool:
        """Whether the server's name of a token is that of id `i`.

        Bytes of a part of a letter have no name of their own, and some servers name no special token.
        """
        if token.startswith("token_id:"):
            return token == f"token_id:{i}"
        own = str(self.tokenizer.decode([i]))
        return own.strip() == token.strip() or "\ufffd" in own or (not token and i in self._special)

    def _made(self, token: str, logp: float | None) -> Made | None:
        if logp is None:
            return None
        if token.startswith("token_id:"):
            name = token.partition(":")[2]
            known = name.isdecimal() and len(name) < 10 and int(name) < len(self.tokenizer)
            return (int(name), logp) if known else None
        ids = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        return (ids[0], logp) if len(ids) == 1 and self._same(ids[0], token) else None
