"""From hidden states to log-probs: the LM head on chosen positions only, in chunks.

log p = logit − logsumexp, in float32. A `[batch, time, vocabulary]` tensor is never made: a chunk holds at
most `CHUNK_LOGITS` logits. In training none outlives its chunk either: under a frozen head the gradient for
the hidden states is made on the way forward, under a trained one a chunk is computed again on the way back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

SHARDED_SETTINGS = (
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
)  # how accelerate's launcher tells of them
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
    must be sorted, and lie on the CPU: where a chunk's targets end is then known without asking the device.
    """
    chunk = max(16, CHUNK_LOGITS // vocabulary)
    logps = _form(head, hidden)
    pieces = []
    starts = range(0, len(hidden), chunk)
    ends = torch.searchsorted(rows, torch.tensor([*starts, starts.stop + chunk])).tolist()
    rows, targets = rows.to(hidden.device), targets.to(hidden.device)
    for start, first, last in zip(starts, ends, ends[1:], strict=False):
        part = (hidden[start : start + chunk], rows[first:last] - start, targets[first:last])
        pieces.append(logps(head, *part))
    return torch.cat(pieces) if pieces else hidden.new_zeros(0, dtype=torch.float32)


def _form(head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor) -> Callable[..., torch.Tensor]:
    """How a chunk is computed: without gradients, with those of the states alone, or with the head's too."""
    if not torch.is_grad_enabled():
        return _chunk_logps
    # Sharded weights are whole only in a module's own forward and backward. Else the head is asked, with no
    # rows, whether a weight of it is trained.
    sharded = any(os.environ.get(name) == "true" for name in SHARDED_SETTINGS)
    if sharded or head(hidden[:0].detach()).requires_grad:
        return lambda *part: checkpoint(_chunk_logps, *part, use_reentrant=False)
    return _FrozenHead.apply


class _FrozenHead(torch.autograd.Function):
    """`_chunk_logps` with ∂ log p/∂ hidden = Jᵀ(e_target − softmax), J the head's Jacobian, made at once.

    Each log-prob has one row of logits of its own, so the backward pass only scales what is kept, [targets,
    hidden]: two products with the head in place of three, and no logits in between.
    """

    @staticmethod
    def forward(
        ctx: Any,
        head: Callable[..., torch.Tensor],
        hidden: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        states = hidden.detach()[rows].requires_grad_()
        with torch.enable_grad():
            logits = head(states)
        slope = logits.detach().float()  # overwritten: no form of head keeps its result for the gradient
        place = (torch.arange(len(rows), device=slope.device), targets.to(slope.device))
        picked, largest = slope[place], slope.amax(dim=-1, keepdim=True)
        total = slope.sub_(largest).exp_().sum(dim=-1, keepdim=True)
        slope.div_(-total)
        slope[place] += 1
        (gradient,) = torch.autograd.grad(logits, states, slope.to(logits.dtype))
        ctx.save_for_backward(gradient, rows)
        ctx.positions = len(hidden)
        return picked - (total.log() + largest)[:, 0]

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[None, torch.Tensor, None, None]:
        gradient, rows = ctx.saved_tensors
        scaled = gradient * slopes[:, None].to(gradient)
        return (
            None,
            gradient.new_zeros(ctx.positions, gradient.shape[1]).index_add_(0, rows, scaled),
            None,
            None,
        )


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
