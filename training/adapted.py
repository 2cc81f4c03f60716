"""Linear layers under a LoRA adapter as one step of autograd, for short runs on a CPU.

What peft computes in five steps, y = x Wᵀ + s (x Aᵀ) Bᵀ, goes over the output four times and back again four
times; here the adapter's part is added by the product that makes it. The products with W, which is not
trained, can be made in bfloat16, on processors that have units for it. Activations, adapter, gradients and
the head stay float32: a small change of the adapter is so not rounded away by a large output beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..scoring.products import LEAST_WEIGHTS
from ..scoring.quantized import is_quantized


@contextmanager
def adapted_products(model: torch.nn.Module, *, half: bool = False) -> Iterator[int]:
    """Inside, plain adapted layers on the CPU are computed in one step; gives how many there are.

    `half`: their products with W in bfloat16, of which a copy is kept. What is not plain (quantised weights,
    DoRA, several adapters, dropout, autocast) is left to peft.
    """
    layers = [] if is_quantized(model) else [layer for layer in model.modules() if _is_plain(layer)]
    for layer in layers:
        base: Any = layer.base_layer
        weight = base.weight.detach().bfloat16() if half else None
        layer.__dict__["forward"] = partial(_forward, layer, layer.forward, weight)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _is_plain(layer: Any) -> bool:
    """One LoRA adapter without any extension on a frozen float32 linear layer on the CPU."""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or "forward" in layer.__dict__ or len(layer.active_adapters) != 1:
        return False
    name, base = layer.active_adapters[0], layer.base_layer
    if type(base) is not torch.nn.Linear or "forward" in base.__dict__ or name not in layer.lora_A:
        return False
    weight, dropout = base.weight, layer.lora_dropout[name]
    return (
        (weight.device.type, weight.dtype, weight.requires_grad) == ("cpu", torch.float32, False)
        and weight.numel() >= LEAST_WEIGHTS
        and layer.lora_A[name].weight.dtype == torch.float32
        and not getattr(dropout, "p", 0.0)
        and layer.lora_B[name].bias is None
        and not any(getattr(layer, kind, {}).get(name) for kind in ("use_dora", "lora_variant"))
    )


def _forward(
    layer: Any, usual: Any, half: torch.Tensor | None, x: torch.Tensor, *rest: Any, **more: Any
) -> Any:
    """The layer's own forward, where nothing else is asked of it than its one adapter; else peft's."""
    special = rest or more or layer.disable_adapters or layer.merged
    if special or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return usual(x, *rest, **more)
    name, base = layer.active_adapters[0], layer.base_layer
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    if torch.is_grad_enabled():
        return _Adapted.apply(  # type: ignore[no-untyped-call]
            x, base.weight, base.bias, half, a, b, scale
        )
    flat = x.reshape(-1, x.shape[-1])
    frozen = base(flat) if half is None else _product(flat, half, base.bias)
    return torch.addmm(frozen, flat @ a.t(), b.t(), alpha=scale).view(*x.shape[:-1], -1)


def _product(x: torch.Tensor, half: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x [n, in] times the bfloat16 weight [out, in], in float32."""
    made = (x.bfloat16() @ half.t()).float()
    return made if bias is None else made.add_(bias)


class _Adapted(torch.autograd.Function):
    """x [.., in] to x Wᵀ + bias + s (x Aᵀ) Bᵀ, with gradients for x, A and B."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, half: torch.Tensor | None,
        a: torch.Tensor, b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        flat = x.reshape(-1, x.shape[-1])
        if half is None:
            frozen = torch.nn.functional.linear(flat, weight, bias)
        else:
            frozen = _product(flat, half, bias)
        inner = flat @ a.t()
        ctx.save_for_backward(flat, inner, a, b)
        ctx.weight, ctx.half, ctx.scale, ctx.shape = weight, half, scale, x.shape
        return torch.addmm(frozen, inner, b.t(), alpha=scale).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        flat, inner, a, b = ctx.saved_tensors
        outer = gradient.reshape(-1, gradient.shape[-1])
        slope = (outer @ b).mul_(ctx.scale)
        of_b = (outer.t() @ inner).mul_(ctx.scale)
        of_x = None
        if ctx.needs_input_grad[0]:
            frozen = outer @ ctx.weight if ctx.half is None else (outer.bfloat16() @ ctx.half).float()
            of_x = frozen.addmm_(slope, a).view(ctx.shape)
        return of_x, None, None, None, slope.t() @ flat, of_b, None
