"""The least time that the matrix products of a scoring run can take here: what no engine goes below.

Imported by the other benchmarks. Attention, norms and activations are not counted, so the floor is a little
too low and a fraction of it a little too strict.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from probe.scoring.products import fast_products

ROWS = (256, 512, 1024, 2048)  # of the left matrix; the best is taken


def linear_shapes(model: torch.nn.Module) -> Counter[tuple[int, int]]:
    """(inputs, outputs) of every linear layer of the decoder, counted; the LM head is left out."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    layers = (m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return Counter((m.in_features, m.out_features) for m in layers)


def head_shape(model: torch.nn.Module) -> tuple[int, int]:
    """(hidden size, vocabulary)."""
    vocabulary, hidden = model.get_output_embeddings().weight.shape  # type: ignore[operator]
    return int(hidden), int(vocabulary)


@torch.no_grad()
def flops_per_second(
    shape: tuple[int, int], device: torch.device, dtype: torch.dtype, rows: Sequence[int] = ROWS
) -> float:
    """The best rate of `[rows, inputs] @ [inputs, outputs]` over several row counts, kernels and repeats."""
    best = 0.0
    layer = torch.nn.Linear(*shape, bias=False, device=device, dtype=dtype)
    for n in rows:
        x = torch.randn(n, shape[0], device=device, dtype=dtype)
        for _ in range(5):
            spent = _seconds(lambda x=x: layer(x), device)
            with fast_products(layer):
                spent = min(spent, _seconds(lambda x=x: layer(x), device))
            best = max(best, 2 * n * shape[0] * shape[1] / spent)
    return best


def _seconds(work: Any, device: torch.device) -> float:
    """Seconds of one call, the better part of 20 ms repeated."""
    work()
    repeats = 1
    while True:
        _wait(device)
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        _wait(device)
        spent = time.perf_counter() - started
        if spent > 0.02:
            return spent / repeats
        repeats *= 4


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def floor(
    model: torch.nn.Module, tokens: int, positions: int, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Seconds of `tokens` through the decoder and `positions` through the head at the fastest rates."""
    body = 0.0
    flops = 0.0
    for shape, count in linear_shapes(model).items():
        needed = 2.0 * tokens * count * shape[0] * shape[1]
        body += needed / flops_per_second(shape, device, dtype)
        flops += needed
    shape = head_shape(model)
    needed = 2.0 * positions * shape[0] * shape[1]
    head = needed / flops_per_second(shape, device, dtype, rows=(64, 256, 340, 1024))
    return {"seconds": body + head, "body": body, "head": head, "flops": flops + needed}
