"""One step of the planned run on a few pairs: forward, loss, backward, optimizer step, forward again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch

from ...scoring.adapter import refuse_idle_adapter, with_lora
from ...scoring.engine import causal_lm, token_logps
from ...scoring.model import DTYPES
from ...scoring.numerics import first_bad_module
from ...scoring.quantized import dequantized, is_quantized
from ...scoring.scores import EncodedPair, EncodedSide
from ...training.losses import Logps, outcome
from ...training.methods import LossConstants
from ...training.policy import check_trainable
from .judge import STEP_PAIRS, Plan
from .taken import FirstStep

Arithmetic = Callable[[], AbstractContextManager[Any]]  # of a forward, as mixed precision sets it


def first_step(model: torch.nn.Module, pairs: Sequence[EncodedPair], plan: Plan) -> FirstStep:
    """Try the plan on the first `STEP_PAIRS` pairs that can be scored and whose sides differ, on a copy of
    the model: the loss of two sides of the same tokens depends on no weight.

    Sequence by sequence through the model's own forward, as a trainer runs it: packed attention is computed
    in another way and may stay finite where the model's does not. Dropout is off, as in DPO. Memory: the
    weights a second time, and AdamW's state for those that are trained.
    """
    some, so_far = steppable(pairs)
    if not some:
        return so_far
    torch.manual_seed(0)
    return tried(_planned(model, plan), some, plan, so_far, original=model)


def first_step_in_place(
    model: torch.nn.Module,
    pairs: Sequence[EncodedPair],
    plan: Plan,
    arithmetic: Arithmetic = nullcontext,
) -> FirstStep:
    """As `first_step`, on the model's own trainable weights, which are changed by it and have gradients after
    it: for a model that the caller puts back (`scoring.given.untouched`).

    `arithmetic` is the context of each forward, as mixed precision sets it. Memory: the gradient and AdamW's
    state of the trained weights, which the training itself takes too, and a copy of these weights.
    """
    some, so_far = steppable(pairs)
    return tried(model, some, plan, so_far, original=model, arithmetic=arithmetic) if some else so_far


def steppable(pairs: Sequence[EncodedPair]) -> tuple[list[EncodedPair], FirstStep]:
    """The pairs that the step is made on, and what is known before it: how many were looked at, which are
    empty, and, where none is left, how many have the same tokens on both sides."""
    empty = tuple(p.id for p in pairs if "nothing_left" in p.flags or _empty(p.chosen) or _empty(p.rejected))
    some = [p for p in pairs if p.id not in empty and not _alike(p)][:STEP_PAIRS]
    alike = 0 if some else sum(map(_alike, pairs))
    return some, FirstStep(len(pairs), empty, alike=alike, tried=len(some))


def tried(
    model: torch.nn.Module,
    pairs: Sequence[EncodedPair],
    plan: Plan,
    so_far: FirstStep,
    *,
    original: torch.nn.Module,
    arithmetic: Arithmetic = nullcontext,
) -> FirstStep:
    """One update of `model` on `pairs`, or the module of its first forward that is not finite, and whether
    the weights of `original` are finite there in float32."""
    with torch.enable_grad():
        loss = _backward(model, pairs, plan, arithmetic)
    if loss is None:
        bad, fine = _first_bad(model, pairs, arithmetic), _fine_in_float32(original, pairs)
        return replace(so_far, bad_module=bad, fine_in_float32=fine)
    return _step(model, pairs, plan, replace(so_far, loss=loss), arithmetic)


def _backward(
    model: torch.nn.Module, pairs: Sequence[EncodedPair], plan: Plan, arithmetic: Arithmetic
) -> float | None:
    """The mean loss, its gradient left in the weights; None where a log-prob is not finite.

    Pair by pair, so that one pair's activations are held at a time.
    """
    total = 0.0
    for pair in pairs:
        with arithmetic():
            logps = _logps(model, [pair])
        if not _finite(logps):
            return None
        loss = _loss(logps, plan) / len(pairs)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _step(
    model: torch.nn.Module,
    pairs: Sequence[EncodedPair],
    plan: Plan,
    so_far: FirstStep,
    arithmetic: Arithmetic,
) -> FirstStep:
    """From the gradient to the log-probs after one update."""
    trained = [p for p in model.parameters() if p.requires_grad]
    so_far = replace(so_far, gradients_finite=_all_finite(p.grad for p in trained))
    if not so_far.gradients_finite:
        return so_far
    live = [p.grad != 0 if p.grad is not None else torch.zeros_like(p, dtype=torch.bool) for p in trained]
    before = [p.detach().clone() for p in trained]
    torch.optim.AdamW(trained, lr=plan.learning_rate, eps=plan.eps, fused=plan.fused or None).step()
    moved = sum(int((p != old)[mask].sum()) for p, old, mask in zip(trained, before, live, strict=True))
    alive, weights = sum(int(mask.sum()) for mask in live), sum(p.numel() for p in trained)
    after = _all_finite(trained)
    with torch.no_grad(), arithmetic():
        again = after and _finite(_logps(model, pairs))
    return replace(
        so_far,
        zero_gradients=weights - alive,
        weights=weights,
        weights_finite=after,
        moved=moved / alive if alive else None,
        after_finite=again,
    )


def _planned(model: torch.nn.Module, plan: Plan) -> torch.nn.Module:
    """A copy of the model in the planned dtype, with what would be trained requiring gradients: of LoRA the
    adapter that the model came with, else a fresh one."""
    inner = copy.deepcopy(causal_lm(model)).eval()
    if not is_quantized(inner):  # else QLoRA: the weights stay as they are, the adapter is trained
        inner = inner.to(DTYPES[plan.dtype])
        if plan.lora_rank is None:
            return cast(torch.nn.Module, inner.requires_grad_(True))
    if not hasattr(model, "peft_config"):
        return with_lora(inner, plan.lora_rank or 16).eval()
    refuse_idle_adapter(inner)
    for name, weight in inner.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            weight.data = weight.data.float()
    check_trainable(inner)
    return cast(torch.nn.Module, inner)


def _logps(model: torch.nn.Module, pairs: Sequence[EncodedPair]) -> Logps:
    sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
    sums = torch.stack([logps.sum() for logps in token_logps(model, sides, plain=True)])
    tokens = torch.tensor([len(s.ids) - s.start for s in sides], device=sums.device)
    return Logps(sums[::2], sums[1::2], tokens[::2], tokens[1::2])


def _loss(logps: Logps, plan: Plan) -> torch.Tensor:
    """The method's mean loss against the model itself as reference; for SFT nats per chosen token."""
    reference = Logps(
        logps.chosen.detach(), logps.rejected.detach(), logps.chosen_tokens, logps.rejected_tokens
    )
    return outcome(plan.method, logps, reference, LossConstants(beta=plan.beta)).loss.mean()


def _first_bad(model: torch.nn.Module, pairs: Sequence[EncodedPair], arithmetic: Arithmetic) -> str:
    """The module in which the forward pass leaves the finite numbers."""
    sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
    with arithmetic():
        names = [first_bad_module(causal_lm(model), side) for side in sides]
    return next((name for name in names if not name.startswith("the logits")), "the logits")


def _fine_in_float32(model: torch.nn.Module, pairs: Sequence[EncodedPair]) -> bool:
    """Whether the weights as they were loaded give finite log-probs in float32."""
    with torch.no_grad():
        return _finite(_logps(dequantized(causal_lm(model)).float(), pairs))


def _alike(pair: EncodedPair) -> bool:
    """Whether both sides are the same tokens."""
    one, other = pair.chosen, pair.rejected
    return "identical" in pair.flags or (list(one.ids) == list(other.ids) and one.start == other.start)


def _empty(side: EncodedSide) -> bool:
    return len(side.ids) <= side.start


def _finite(logps: Logps) -> bool:
    return bool(torch.isfinite(logps.chosen).all() and torch.isfinite(logps.rejected).all())


def _all_finite(tensors: Iterable[torch.Tensor | None]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors if t is not None)
