"""Matrix products of the scorer's shapes: torch's linear layer beside oneDNN's, weights plain or packed.

    python bench/products.py

oneDNN is reached through the operators that torch's compiler uses. Scoring takes them with plain weights
(`scoring/products.py`); packed ones would be a second copy of the model. GFLOP/s, the best of 40.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SHAPES = ((1024, 576, 576), (1024, 576, 1536), (1024, 1536, 576), (1024, 576, 192), (256, 576, 49152))


def rate(work: Callable[[], object], flops: int) -> float:
    """GFLOP/s of the fastest of 40 calls."""
    work()
    best = float("inf")
    for _ in range(40):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return flops / best / 1e9


@torch.inference_mode()
def main() -> None:
    """Print a row per shape."""
    print("| rows, inputs, outputs | linear | oneDNN, plain weights | oneDNN, packed weights |")
    print("|---|--:|--:|--:|")
    onednn = torch.ops.mkldnn
    for rows, inputs, outputs in SHAPES:
        x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
        packed = onednn._reorder_linear_weight(weight, rows)
        rates = [
            rate(work, 2 * rows * inputs * outputs)
            for work in (
                lambda x=x, w=weight: torch.nn.functional.linear(x, w),
                lambda x=x, w=weight: onednn._linear_pointwise(x, w, None, "none", [], ""),
                lambda x=x, w=packed: onednn._linear_pointwise(x, w, None, "none", [], ""),
            )
        ]
        print(f"| {rows}, {inputs}, {outputs} | " + " | ".join(f"{r:.0f}" for r in rates) + " |")


if __name__ == "__main__":
    main()
