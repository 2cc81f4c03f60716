"""The scorer's self-proof: on each loaded model it scores a few sequences both ways before it is trusted.

Recurrent state, unusual masks or heads make the packed form wrong; the proof finds out on the model at hand
and the plain path is taken instead, said aloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .attention import LayoutMissing
from .engine import causal_lm, token_logps
from .positions import changing_length
from .scores import EncodedSide

# Largest difference of a response's mean log-prob (nats/token) that the arithmetic alone explains.
LOGP_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
MOST_GROWTH = 4.0  # in bfloat16 for log-probs of −51


@dataclass(frozen=True, slots=True)
class Proof:
    """`plain`: take the plain path, for the reason in `fact`. `difference`: the largest seen, nats/token.

    `passed`: the greatest length from which the model's attention is another and that was tried.
    """

    plain: bool
    difference: float
    tolerance: float
    fact: str
    passed: int = 0


@torch.no_grad()
def prove(model: torch.nn.Module, dtype: torch.dtype, longest: int = 0) -> Proof:
    """Score sequences that share, branch and repeat, packed and plain, and compare.

    `longest` is the longest sequence to come: when it passes a sliding window, the proof does too.
    """
    sides = _samples(model, longest)
    plain = token_logps(model, sides, plain=True)
    if not all(torch.isfinite(logps).all() for logps in plain):
        return Proof(
            True, float("nan"), LOGP_TOLERANCE.get(dtype, 0.1), "the model's own log-probs are not finite"
        )
    tolerance = _tolerance(dtype, plain)
    try:
        packed = token_logps(model, sides)
    except (LayoutMissing, TypeError, RuntimeError, AttributeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return Proof(
            True, 0.0, tolerance, f"{type(causal_lm(model)).__name__} cannot be packed ({_line(error)})"
        )
    difference = max(abs(float(a.mean() - b.mean())) for a, b in zip(packed, plain, strict=True))
    worst_token = max(float((a - b).abs().max()) for a, b in zip(packed, plain, strict=True))
    # The mean may hide one wrong token in a long response; a token may be off by rounding ten times as far.
    if difference <= tolerance and worst_token <= 10 * tolerance:
        return Proof(False, difference, tolerance, "", changing_length(causal_lm(model), longest))
    return Proof(
        True, difference, tolerance, f"packed and plain scores differ by {difference:.2g} nats/token"
    )


def _tolerance(dtype: torch.dtype, plain: Sequence[torch.Tensor]) -> float:
    """In half precision a log-prob is rounded to a share of its size, and those of random ids are large.

    Beyond `MOST_GROWTH` a wrong pack could pass for rounding: the plain way, which is always right, is taken.
    """
    fixed = LOGP_TOLERANCE.get(dtype, 0.1)
    if torch.finfo(dtype).bits > 16:
        return fixed
    largest = max(abs(float(logps.mean())) for logps in plain)
    return min(max(fixed, torch.finfo(dtype).eps * largest), MOST_GROWTH * fixed)


def _samples(model: torch.nn.Module, longest: int) -> list[EncodedSide]:
    """Three responses under two prompts that begin alike; one passes the sliding window if need be."""
    config = causal_lm(model).config.get_text_config()
    passed = changing_length(causal_lm(model), longest)
    tail = max(0, min(passed + 8, longest - 30)) if passed else 0  # of 30 tokens without
    ids = np.random.default_rng(0).integers(0, config.vocab_size, 64 + tail).tolist()
    common, one, two = ids[:10], ids[10:14], ids[14:20]
    responses: Sequence[list[int]] = (ids[20:28], ids[28:33], ids[20:23] + ids[33:40] + ids[64:])
    contexts = (common + one, common + one, common + two)
    return [EncodedSide(tuple(c + r), len(c), 1) for c, r in zip(contexts, responses, strict=True)]


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
