"""A server's own log-probs of a prompt: OpenAI-like `/v1/completions`, as vLLM and llama-cpp-python serve it.

Token ids are sent where the server takes them, else their text. Either way the answer must show the same
tokens, and the server's log-prob of a token that it has just generated must be that of the same token in a
prompt: some servers are off by one.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag
from urllib.request import Request, urlopen

from transformers import PreTrainedTokenizerBase

from ..errors import CannotMeasure, ProbeError

TRIES = 4  # of a request that a busy server refuses; the pauses double from `PAUSE`
PAUSE = 0.5  # seconds
TIMEOUT = 120.0  # seconds that one answer may take
OPENING_S = 10.0  # seconds for the list of models, before which nothing is measured
LARGEST = 1 << 26  # bytes of an answer
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
NOT_OF_THE_FORM = frozenset({400, 415, 422})  # what a server says to ids that it does not take
PROVEN = 0.05  # nats between a token generated and the same token in a prompt; batches round differently
CERTAIN = 1e-3  # a log-prob that rounding may leave above 0
VOLATILE = ("created", "permission", "meta")


class Refused(ProbeError):
    """The server does not take such a request; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


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
    proven: bool = False

    @classmethod
    def open(cls, address: str, tokenizer: PreTrainedTokenizerBase) -> Endpoint:
        """The model at `http://HOST/v1`, or of several the one named as `http://HOST/v1#NAME`.

        Raises `ProbeError` where there is no such server or model.
        """
        url, wanted = urldefrag(address)
        url = url.rstrip("/")
        try:
            answer = _asked(Request(f"{url}/models"), OPENING_S)
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
        return cls(url, name, says, tokenizer)

    @property
    def longest(self) -> int | None:
        """The most tokens of a prompt, where the server says so."""
        length = self.says.get("max_model_len")
        return length - 1 if isinstance(length, int) and length > 1 else None  # one token is generated

    def logps(self, ids: Sequence[int]) -> list[float]:
        """log p of each token but the first given those before it, in nats: [len(ids) − 1].

        Raises `ProbeError` for an answer without log-probs or of other tokens, `CannotMeasure` where the
        server fails again and again.
        """
        if not self.proven:
            self._prove(ids)
        return self._answer(ids)[0]

    def _prove(self, ids: Sequence[int]) -> None:
        """Settle how prompts are sent, and hold a generated token's log-prob against the same in a prompt."""
        try:
            _, made = self._answer(ids)
        except Refused as error:
            if error.status not in NOT_OF_THE_FORM:
                raise
            print(f"probe: {self.url} takes no token ids; prompts are sent as text.", file=sys.stderr)
            self.as_text = True
            _, made = self._answer(ids)
        if made is not None:
            again = self._answer([*ids, made[0]])[0][-1]
            if not abs(again - made[1]) <= PROVEN:
                raise ProbeError(
                    f"{self.url}: gives a token {made[1]:.3f} nats when it generates it and {again:.3f} in a "
                    "prompt, so its log-probs of prompts are not the model's. Use another server or version."
                )
        self.proven = True

    def _answer(self, ids: Sequence[int]) -> tuple[list[float], tuple[int, float] | None]:
        """The log-probs, and the generated token with its own where it is one of the tokenizer's."""
        body = {
            "model": self.name, "prompt": self._text(ids) if self.as_text else list(ids), "max_tokens": 1,
            "temperature": 0, "echo": True, "logprobs": 1, "return_tokens_as_token_ids": True,
        }  # fmt: skip
        headers = {"Content-Type": "application/json"}
        answer = _asked(Request(f"{self.url}/completions", json.dumps(body).encode(), headers), self.timeout)
        tokens, logps = self._read(answer)
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

    def _read(self, answer: Any) -> tuple[list[str], list[float | None]]:
        """The names of the tokens and their log-probs. Raises `ProbeError` for an answer of another form."""
        try:
            found = answer["choices"][0]["logprobs"]
            tokens, logps = found["tokens"], found["token_logprobs"]
            if not (isinstance(tokens, list) and isinstance(logps, list)):
                raise TypeError
            return [_name(name) for name in tokens], [_log_prob(value) for value in logps]
        except (KeyError, IndexError, TypeError, OverflowError) as error:
            raise ProbeError(
                f"{self.url}: answers without log-probs of the prompt. Use a server that gives them with "
                "echo and logprobs: vLLM, or llama-cpp-python's with --logits_all true."
            ) from error
        except ValueError as error:
            raise ProbeError(f"{self.url}: gives {error}. Use another server or version.") from error

    def _text(self, ids: Sequence[int]) -> str:
        """The prompt as text, without a BOS that the server puts in front itself."""
        own = ids[1:] if self.adds_bos and self._has_bos(ids) else ids
        return str(self.tokenizer.decode(own, skip_special_tokens=False))

    def _has_bos(self, ids: Sequence[int]) -> bool:
        return bool(ids[0] == self.tokenizer.bos_token_id)

    def _aligned(
        self, ids: Sequence[int], tokens: Sequence[str], logps: Sequence[float | None]
    ) -> tuple[list[float], tuple[int, float] | None]:
        """The part of an answer that belongs to `ids`, of which a server may leave out the BOS.

        Raises `ProbeError` where it shows other tokens.
        """
        for left_out in (0, 1) if self._has_bos(ids) else (0,):
            mine, n = ids[left_out:], len(ids) - left_out
            if len(tokens) not in (n, n + 1):
                continue
            if all(self._same(i, token) for i, token in zip(mine, tokens, strict=False)):
                known = logps[1 - left_out : n]
                if len(logps) != len(tokens) or any(value is None for value in known):
                    raise ProbeError(
                        f"{self.url}: gives no log-prob of some of the prompt's tokens. "
                        "Use another server or version."
                    )
                made = self._made(tokens[n], logps[n]) if len(tokens) > n else None
                return [float(value) if value is not None else math.nan for value in known], made
        at = next((k for k, (i, t) in enumerate(zip(ids, tokens, strict=False)) if not self._same(i, t)), 0)
        raise ProbeError(
            f"{self.url}: reads other tokens ({len(tokens)}, {tokens[at : at + 1]} at {at}) than the "
            f"tokenizer makes ({len(ids)}). Name the served model's own with --tokenizer."
        )

    def _same(self, i: int, token: str) -> bool:
        """Whether the server's name of a token is that of id `i`; bytes of a part of a letter have none."""
        if token.startswith("token_id:"):
            return token == f"token_id:{i}"
        own = str(self.tokenizer.decode([i]))
        return own.strip() == token.strip() or "\ufffd" in own + token or not token

    def _made(self, token: str, logp: float | None) -> tuple[int, float] | None:
        if logp is None:
            return None
        if token.startswith("token_id:"):
            name = token.partition(":")[2]
            known = name.isdecimal() and len(name) < 10 and int(name) < len(self.tokenizer)
            return (int(name), logp) if known else None
        ids = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        return (ids[0], logp) if len(ids) == 1 and self._same(ids[0], token) else None


def _name(value: Any) -> str:
    """A token's name. Raises `TypeError` for what is none."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _log_prob(value: Any) -> float | None:
    """A log-prob, or None for a token that has none. Raises `TypeError` or `ValueError` for what is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if value > CERTAIN:
        raise ValueError(f"a log-prob of {value:.3g}, and none is above 0")
    return float(value)


def _asked(request: Request, timeout: float) -> Any:
    """The JSON of an answer. Raises `Refused`, `ProbeError` for no JSON, `CannotMeasure` in the end."""
    said = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with urlopen(request, timeout=timeout) as reply:
                body = _body(reply, request.full_url, time.monotonic() + timeout)
                return _decoded(request.full_url, reply.headers.get("Content-Type"), body)
        except HTTPError as error:
            said = f"answers {error.code} ({_reason(error)})"
            if error.code not in BUSY:
                raise Refused(f"{request.full_url}: {said}.", error.code) from error
        except (TimeoutError, URLError, HTTPException, OSError) as error:
            said = f"cannot be reached ({getattr(error, 'reason', error) or type(error).__name__})"
    raise CannotMeasure(f"{request.full_url}: {said}, {TRIES} times.")


def _body(reply: HTTPResponse, url: str, until: float) -> bytes:
    """What is read of an answer. Raises `TimeoutError` after `until`, `ProbeError` for one without end."""
    body = bytearray()
    while part := reply.read1(1 << 16):
        body += part
        if time.monotonic() > until:
            raise TimeoutError("the answer takes too long")
        if len(body) > LARGEST:
            raise ProbeError(f"{url}: its answer has no end. Give the URL of a server of models.")
    return bytes(body)


def _decoded(url: str, kind: str | None, body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProbeError(
            f"{url}: answers with {kind or 'bytes'}, not JSON. Give the server's base URL, ending in /v1."
        ) from error


def _reason(error: HTTPError) -> str:
    """What a server says is wrong, in one short line."""
    body = error.read(2000)
    try:
        told = json.loads(body)
    except ValueError:
        return str(error.reason)
    inner = told.get("error", told) if isinstance(told, Mapping) else told
    text = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    return " ".join(str(text).split())[:160]
