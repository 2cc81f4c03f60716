"""Asking a server for JSON: tries again where it is busy, and every other answer is one line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..errors import CannotMeasure, ProbeError

TRIES = 4  # of a request that a busy server refuses; the pauses double from `PAUSE`
PAUSE = 0.5  # seconds
LARGEST = 1 << 26  # bytes of an answer
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
KEY_VARIABLE = "PROBE_API_KEY"  # the variable that holds the key of a server that asks for one


class Refused(ProbeError):
    """The server does not take such a request; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Failing(CannotMeasure):
    """The server fails again and again; `status` is HTTP's, None where none came."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def ask_json(url: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
    """The JSON of an answer. Raises `Refused`, `ProbeError` for no JSON, `Failing` in the end."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    said, status = "", None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with urlopen(request, timeout=timeout) as reply:
                read = _body(reply, url, time.monotonic() + timeout)
                return _decoded(url, reply.headers.get("Content-Type"), read)
        except HTTPError as error:
            said, status = f"answers {error.code} ({_reason(error)})", error.code
            if error.code in (401, 403):
                raise Refused(
                    f"{url}: {said}. Set {KEY_VARIABLE} to the server's key.", error.code
                ) from error
            if error.code not in BUSY:
                raise Refused(f"{url}: {said}.", error.code) from error
        except (TimeoutError, URLError, HTTPException, OSError) as error:
            said = f"cannot be reached ({getattr(error, 'reason', error) or type(error).__name__})"
            status = None
    raise Failing(f"{url}: {said}, {TRIES} times.", status)


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
