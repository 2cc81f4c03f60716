"""Responses as tokens, each with the tint of its improbability."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TINT_LEVELS = (0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0)  # nats below certainty at which the next tint begins
MOST_TOKENS = 160  # tokens of a response
CONTEXT = 160  # characters of the prompt before the boundary


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text, its tint (0 likely to 7 unlikely, "x" no number), its log-probability in words."""

    piece: str
    tint: str
    logp: str


@dataclass(frozen=True, slots=True)
class ResponseTokens:
    """One response: whole text where there are no tokens, and how many tokens were left out."""

    name: str
    context: str
    tokens: tuple[Token, ...]
    text: str
    more: int


def side(row: Mapping[str, Any], key: str, name: str) -> ResponseTokens:
    """The `key` side of a worst or best pair."""
    response = row.get(key) or {}
    tokens = response.get("tokens") or []
    prompt = str(row.get("prompt") or "")
    context = prompt if len(prompt) <= CONTEXT else "…" + prompt[-CONTEXT:]
    shown = tuple(token(str(piece), logp) for piece, logp in tokens[:MOST_TOKENS])
    return ResponseTokens(
        name, context, shown, str(response.get("text") or ""), max(0, len(tokens) - MOST_TOKENS)
    )


def token(piece: str, logp: float | None) -> Token:
    """A token with the tint of its log-probability (nats)."""
    if logp is None or not math.isfinite(logp):
        return Token(piece, "x", "no number")
    return Token(piece, str(bisect_right(TINT_LEVELS, -logp)), f"{logp:.2f}".replace("-", "−"))
