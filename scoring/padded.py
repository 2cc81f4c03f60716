"""Whether answers may be drawn side by side: padding on the left must not change a model's numbers."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from .cache import roomy_cache
from .engine import causal_lm

PADDED_CONTEXTS = ((5, 3, 8, 2, 6, 4), (7, 1))  # in 16ths of the vocabulary
PADDED_NEXT = (2, 4)
PADDED_APART = {torch.float32: 0.01, torch.float64: 0.01}  # of the logits' standard deviation
PADDED_APART_HALF = 0.2
# Attention to the most fitting keys, or within chunks: on rows longer than those that are tried, padding
# takes room in them.
PLACES_COUNTED = ("index_topk", "attention_chunk_size")


@torch.no_grad()
def draw_alone_where_padding_counts(model: torch.nn.Module) -> None:
    """Marks a model whose answers must be drawn one at a time, by transformers' flag for one with a state.

    Positions that are counted from the row's first place, padding included (BART), a state that rows do not
    leave, and code that keeps no cache would give other answers, or none.
    """
    inner: Any = causal_lm(model)
    if inner._is_stateful:
        return
    if any(getattr(inner.config.get_text_config(), name, None) for name in PLACES_COUNTED):
        inner._is_stateful = True
        return
    try:
        beside = _beside(inner)
    except Exception:  # whatever the model's code makes of padding or of a cache; alone it goes its own way
        inner._is_stateful = True
        return
    alone = torch.stack([_alone(inner, *texts) for texts in zip(PADDED_CONTEXTS, PADDED_NEXT, strict=True)])
    far = float((beside - alone).abs().max()) / max(float(alone.std()), 1e-6)
    if not far <= PADDED_APART.get(alone.dtype, PADDED_APART_HALF):
        inner._is_stateful = True


def _ids(model: Any, sixteenths: tuple[int, ...]) -> list[int]:
    rows = int(model.get_input_embeddings().weight.shape[0])
    return [rows * share // 16 for share in sixteenths]


def _beside(model: Any) -> torch.Tensor:
    """Logits [contexts, vocabulary] one token after each context, as samples are drawn."""
    device = model.get_input_embeddings().weight.device
    width = max(map(len, PADDED_CONTEXTS))
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in PADDED_CONTEXTS], device=device)
    ids = torch.tensor([[0] * (width - len(c)) + _ids(model, c) for c in PADDED_CONTEXTS], device=device)
    placed = "position_ids" in inspect.signature(model.forward).parameters
    cache = roomy_cache(model.config.get_text_config(), 2)
    turned = torch.tensor([1, 0], device=device)  # rows leave the cache by their numbers
    for new in (ids, torch.tensor([[i] for i in _ids(model, PADDED_NEXT)], device=device)[turned]):
        if new is not ids:
            cache.batch_select_indices(turned)
            mask = torch.cat([mask[turned], mask.new_ones(len(mask), 1)], dim=1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -new.shape[1] :]
        where = {"position_ids": positions} if placed else {}
        logits: torch.Tensor = model(
            input_ids=new, attention_mask=mask, past_key_values=cache, use_cache=True, **where
        ).logits[:, -1]
    return logits[turned]


def _alone(model: Any, context: tuple[int, ...], token: int) -> torch.Tensor:
    device = model.get_input_embeddings().weight.device
    ids = torch.tensor([_ids(model, (*context, token))], device=device)
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, -1]
    return logits
