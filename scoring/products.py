"""The matrix products of the packed forward, by oneDNN where torch's own linear layer is slower.

On x86 CPUs torch hands float32 products to MKL; oneDNN's kernels, which torch brings along for its compiler,
were 6 to 35% faster at the scorer's shapes (`bench/products.py`). They are an operator of torch's that is not
public, so it is asked for, not presumed; and since only the packed form takes it, the self-proof compares it
with the model's own layers on every model that is loaded.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard

import torch
from torch.nn.functional import linear

X86 = ("x86_64", "AMD64")
LEAST_WEIGHTS = 1 << 16  # of a layer: below, a call costs more than the faster kernel saves
LEAST_ROWS = 16


@contextmanager
def fast_products(model: torch.nn.Module) -> Iterator[None]:
    """Inside, plain float32 linear layers on the CPU take the faster kernel where no gradient is wanted."""
    layers = [layer for layer in model.modules() if _gains(layer)] if available() else []
    for layer in layers:
        layer.__dict__["forward"] = partial(_product, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def available() -> bool:
    """Whether this torch on this machine has the operator."""
    return (
        platform.machine() in X86
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32 ones (AVX512-BF16, AMX)."""
    if platform.machine() not in X86:
        return False
    read = getattr(torch.cpu, "get_capabilities", None)  # not every torch has it
    known = read() if read else {}
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def _gains(layer: torch.nn.Module) -> TypeGuard[torch.nn.Linear]:
    """A linear layer that is nothing more: no subclass, no hook of accelerate's in place of its forward."""
    if type(layer) is not torch.nn.Linear or "forward" in layer.__dict__:
        return False
    weight = layer.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and weight.numel() >= LEAST_WEIGHTS
    )


def _product(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    few = x.numel() < LEAST_ROWS * layer.in_features
    if few or torch.is_grad_enabled() or x.dtype != torch.float32:
        return linear(x, layer.weight, layer.bias)
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), layer.weight, layer.bias, "none", [], ""
    )
    return result
