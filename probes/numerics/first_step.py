"""One step of the planned run on a few pairs: forward, loss, backward, optimizer step, forward again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import torch

from ...scoring.adapter import with_lora
from ...scoring.engine import causal_lm, token_logps
from ...scoring.model import DTYPES
from ...scoring.numerics import first_bad_module
from ...scoring.quantized import dequantized, is_quantized
from ...scoring.scores import EncodedPair, EncodedSide
from ...training.losses import Logps, outcome
from ...training.methods import LossConstants
from .judge import STEP_PAIRS, Plan
from .taken import FirstStep


def first_step(model: torch.nn.Module, pairs: Sequence[EncodedPair], plan: Plan) -> FirstStep:
    """Try the plan on the first `STEP_PAIRS` pairs that can be scored and whose sides differ, on a copy of
    the model: the loss of two sides of the same tokens depends on no weight.

    Sequence by sequence through the model's own forward, as a trainer runs it: packed attention is computed
    in another way and may stay finite where the model's does not. Dropout is off, as in DPO. Memory: the
    weights a second time, and AdamW's state for those that are trained.
    """
    empty = tuple(p.id for p in pairs if "nothing_left" in p.flags or _empty(p.chosen) or _empty(p.rejected))
    some = [p for p in pairs if p.id not in empty and not _alike(p)][:STEP_PAIRS]
    if not some:
        return FirstStep(len(pairs), empty, alike=sum(map(_alike, pairs)))
    torch.manual_seed(0)
    tuned = _planned(model, plan)
    with torch.enable_grad():
        logps = _logps(tuned, some)
        if _finite(logps):
            return _step(tuned, some, logps, plan, FirstStep(len(pairs), empty))
    bad, fine = _first_bad(tuned, some), _fine_in_float32(model, some)
    return FirstStep(len(pairs), empty, bad_module=bad, fine_in_float32=fine)


def _step(
    model: torch.nn.Module,
    pairs: Sequence[EncodedPair],
    logps: Logps,
    plan: Plan,
    so_far: FirstStep,
) -> FirstStep:
    """From finite log-probs to the log-probs after one update."""
    loss = _loss(logps, plan)
    trained = [p for p in model.parameters() if p.requires_grad]
    loss.backward()  # type: ignore[no-untyped-call]
    so_far = replace(so_far, loss=float(loss.detach()), gradients_finite=_all_finite(p.grad for p in trained))
    if not so_far.gradients_finite:
        return so_far
    live = [p.grad != 0 if p.grad is not None else torch.zeros_like(p, dtype=torch.bool) for p in trained]
    before = [p.detach().clone() for p in trained]
    torch.optim.AdamW(trained, lr=plan.learning_rate, eps=plan.eps, fused=plan.fused or None).step()
    moved = sum(int((p != old)[mask].sum()) for p, old, mask in zip(trained, before, live, strict=True))
    alive, weights = sum(int(mask.sum()) for mask in live), sum(p.numel() for p in trained)
    after = _all_finite(trained)
    with torch.no_grad():
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
    """A copy of the model in the planned dtype, with what would be trained requiring gradients."""
    inner = copy.deepcopy(causal_lm(model)).eval()
    if is_quantized(inner):  # QLoRA: the weights stay as they are, the adapter is trained
        return with_lora(inner, plan.lora_rank or 16).eval()
    inner = inner.to(DTYPES[plan.dtype])
    if plan.lora_rank is None:
        return cast(torch.nn.Module, inner.requires_grad_(True))
    return with_lora(inner, plan.lora_rank).eval()


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


def _first_bad(model: torch.nn.Module, pairs: Sequence[EncodedPair]) -> str:
    """The module in which the forward pass leaves the finite numbers."""
    names = [first_bad_module(causal_lm(model), s) for pair in pairs for s in (pair.chosen, pair.rejected)]
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
