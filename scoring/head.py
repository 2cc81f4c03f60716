"""From hidden states to log-probs: the LM head on chosen positions only, in chunks.

log p = logit − logsumexp, in float32. A `[batch, time, vocabulary]` tensor is never made: a chunk holds at
most `CHUNK_LOGITS` logits, and in training a chunk is computed again in the backward pass instead of kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

CHUNK_LOGITS = 1 << 24  # 64 MiB of float32


def head_of(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map from final hidden states [n, hidden] to logits [n, vocabulary], scaling and capping included.

    The self-proof compares it with the model's own logits, so a form not known here is noticed, not missed.
    """
    projection = model.get_output_embeddings()
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    # Cohere multiplies its logits, Granite divides them.
    factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)

    def head(hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = projection(hidden)
        if factor != 1.0:
            logits = logits * factor
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return head


def target_logps(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
    vocabulary: int,
) -> torch.Tensor:
    """Log-probs [n], float32, of `targets[i]` at the position whose hidden state is `hidden[rows[i]]`.

    `hidden` [positions, hidden]: each position is projected once, however many targets ask for it. `rows`
    must be sorted.
    """
    chunk = max(16, CHUNK_LOGITS // vocabulary)
    pieces = []
    for start in range(0, len(hidden), chunk):
        first, last = torch.searchsorted(
            rows, torch.tensor([start, start + chunk], device=rows.device)
        ).tolist()
        part = (hidden[start : start + chunk], rows[first:last] - start, targets[first:last])
        if torch.is_grad_enabled():
            pieces.append(checkpoint(_chunk_logps, head, *part, use_reentrant=False))
        else:
            pieces.append(_chunk_logps(head, *part))
    return torch.cat(pieces) if pieces else hidden.new_zeros(0, dtype=torch.float32)


def _chunk_logps(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    logits = head(hidden).float()
    rows, targets = rows.to(logits.device), targets.to(logits.device)  # the head may lie on another device
    picked = logits[rows, targets]
    return picked - _logsumexp(logits)[rows]


def _logsumexp(logits: torch.Tensor) -> torch.Tensor:
    """log Σ exp of each row; overwrites `logits` where no gradient needs them, to save their copy."""
    if logits.requires_grad:
        return torch.logsumexp(logits, dim=-1)
    largest = logits.amax(dim=-1, keepdim=True)
    return logits.sub_(largest).exp_().sum(dim=-1).log() + largest[:, 0]
