"""A vector added to one block's output at the positions that predict a response, by a hook.

One sequence at a time through the model's own forward: a packed row shares positions between sequences, and a
position that is scored in one may be the context of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .engine import block_outputs, blocks, causal_lm, plain_logps
from .model import LoadedModel
from .scores import EncodedSide, LogProbs
from .service import STORE
from .store import Store, model_key

Vector = npt.NDArray[np.float32]


@torch.no_grad()
def mean_states(
    loaded: LoadedModel, sides: Sequence[EncodedSide], layers: Sequence[int],
    advance: Callable[[float], None] = lambda _: None,
) -> Vector:  # fmt: skip
    """The mean output of some blocks over each side's scored tokens, float32 [sides, layers, hidden]."""
    model = causal_lm(loaded.model)
    device = model.get_input_embeddings().weight.device
    rows = []
    for side in sides:
        row = {"input_ids": torch.tensor([side.ids], device=device), "use_cache": False}
        means = [states[side.start :].float().mean(0) for states in block_outputs(model, row, layers)]
        rows.append(torch.stack(means).cpu().numpy())
        advance(1)
    return np.stack(rows)


@contextmanager
def steered(model: torch.nn.Module, layer: int, vector: torch.Tensor, start: int) -> Iterator[None]:
    """Add `vector` [hidden] to block `layer`'s output from position `start` on."""

    def add(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        states = output if isinstance(output, torch.Tensor) else output[0]
        states = states.clone()
        states[:, start:] += vector.to(states.dtype)
        return states if isinstance(output, torch.Tensor) else (states, *output[1:])

    hook = blocks(model)[layer].register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def steered_logps(
    loaded: LoadedModel, sides: Sequence[EncodedSide], layer: int, vector: Vector, *,
    store: bool = True, advance: Callable[[float], None] = lambda _: None,
) -> list[LogProbs]:  # fmt: skip
    """Log-probs of the scored tokens of each side under the vector; from the store where it has them.

    The vector acts on every position whose output is scored: from the last one before the response.
    """
    kept = Store(STORE, _key(loaded, layer, vector)) if store else None
    model, result = causal_lm(loaded.model), []
    known = kept.get(sides) if kept else [None] * len(sides)
    moved = torch.from_numpy(np.ascontiguousarray(vector)).to(model.get_input_embeddings().weight.device)
    for side, logps in zip(sides, known, strict=True):
        if logps is None:
            with steered(model, layer, moved, side.start - 1):
                logps = plain_logps(model, side).cpu().numpy()
            if kept:
                kept.put([side], [logps])
        result.append(logps)
        advance(1)
    if kept:
        kept.close()
    return result


def _key(loaded: LoadedModel, layer: int, vector: Vector) -> bytes:
    # Rounded, so that a vector computed again in another order of sums is the same one.
    digest = hashlib.blake2b(np.round(vector, 4).tobytes(), digest_size=16).hexdigest()
    return model_key(loaded.facts, steering=[layer, digest])
