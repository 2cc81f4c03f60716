"""Where in a model the first non-finite number appears."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from .engine import plain_logps
from .records import EncodedSide


def first_bad_module(model: PreTrainedModel, side: EncodedSide) -> str:
    """The name of the first module (in order of execution) whose output is not finite on this sequence."""
    bad: list[str] = []

    def watch(name: str) -> Any:
        def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            if isinstance(tensor, torch.Tensor) and not bad and not torch.isfinite(tensor).all():
                bad.append(name)

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if n and not any(True for _ in m.children())]
    handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            plain_logps(model, side)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else "the logits or the packed form"
