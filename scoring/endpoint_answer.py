"""What a server's answer holds: the names of the tokens and their log-probs, checked."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ProbeError

CERTAIN = 1e-3  # a log-prob that rounding may leave above 0
STAND_IN = -9999.0  # what servers write for −inf, which JSON has no word for; at or below it


def read_answer(url: str, answer: Any) -> tuple[list[str], list[float | None]]:
    """The names of the tokens and their log-probs in nats, −inf where the server gives none that is finite.

    Raises `ProbeError` for an answer of another form.
    """
    try:
        found = answer["choices"][0]["logprobs"]
        tokens, logps = found["tokens"], found["token_logprobs"]
        if not (isinstance(tokens, list) and isinstance(logps, list)):
            raise TypeError
        return [_name(name) for name in tokens], [_log_prob(value) for value in logps]
    except (KeyError, IndexError, TypeError, OverflowError) as error:
        raise ProbeError(
            f"{url}: answers without log-probs of the prompt. Use a server that gives them with echo and "
            "logprobs: vLLM, or llama-cpp-python's with --logits_all true."
        ) from error
    except ValueError as error:
        raise ProbeError(f"{url}: gives {error}. Use another server or version.") from error


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
    return -math.inf if value <= STAND_IN else float(value)
