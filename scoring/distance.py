"""How far quantised weights are from the same weights in bfloat16, on the first pairs of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..pairs.record import Pair
from .encode import Encoder
from .engine import token_logps
from .machine import free_bytes
from .model import LoadedModel
from .scores import EncodedSide

REPEATED_PAIRS = 8  # that are scored twice


def distance(
    loaded: LoadedModel, unquantized: Callable[[], LoadedModel], encoder: Encoder, pairs: Sequence[Pair]
) -> Mapping[str, Any]:
    """Mean |Δ log p| a token and mean |Δ gap| a pair, both in nats/token, of `loaded` and bfloat16 weights.

    `unquantized` loads the latter; they are let go before this returns. Where two bytes a parameter are not
    free, or no pair can be scored, the answer is `{"not_measured": why}`.
    """
    free, needed = free_bytes(loaded.device), 2 * int(loaded.facts["parameters"])
    if free is not None and needed > free:
        return {"not_measured": f"bfloat16 weights take {needed >> 20} MiB, and {free >> 20} MiB are free"}
    coded = [
        c for c in encoder.many(list(pairs)[:REPEATED_PAIRS]) if all(map(_scored, (c.chosen, c.rejected)))
    ]
    if not coded:
        return {"not_measured": "none of the first pairs has two scored sides"}
    sides = [side for code in coded for side in (code.chosen, code.rejected)]
    own, other = _logps(loaded, sides), _logps(unquantized(), sides)
    tokens = torch.cat([(a - b).abs() for a, b in zip(own, other, strict=True)])
    gaps = torch.stack([_gap(own, i) - _gap(other, i) for i in range(len(coded))]).abs()
    return {
        "pairs": len(coded),
        "token_difference": float(tokens.mean()),
        "gap_difference": float(gaps.mean()),
    }


def _logps(loaded: LoadedModel, sides: Sequence[EncodedSide]) -> list[torch.Tensor]:
    with torch.no_grad():
        return [logps.float().cpu() for logps in token_logps(loaded.model, sides, plain=True)]


def _gap(logps: Sequence[torch.Tensor], pair: int) -> torch.Tensor:
    return logps[2 * pair].mean() - logps[2 * pair + 1].mean()


def _scored(side: EncodedSide) -> bool:
    return len(side.ids) > side.start
