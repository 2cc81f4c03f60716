"""Where in a model the first non-finite number appears."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from .engine import plain_logps
from .scores import EncodedSide


def first_bad_module(model: PreTrainedModel, side: EncodedSide) -> str:
    """The name of the first module (in order of execution) whose output is not finite on this sequence.

    `the input of NAME` where that was not finite already: made between modules, as attention scores are.
    """
    bad: list[str] = []

    def watch(name: str) -> Any:
        def hook(_module: torch.nn.Module, inputs: Any, output: Any) -> None:
            given, made = inputs[0] if inputs else None, output[0] if isinstance(output, tuple) else output
            if not bad and not _finite(given):
                bad.append(f"the input of {name}")
            elif not bad and not _finite(made):
                bad.append(name)

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if n and not any(True for _ in m.children())]
    handles = [m.register_forward_hook(watch(name.removesuffix(".base_layer"))) for name, m in leaves]
    try:
        with torch.no_grad():
            plain_logps(model, side)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else "the logits or the packed form"


def _finite(value: Any) -> bool:
    """Whether no number of a tensor is infinite or NaN; true of what is no tensor."""
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())
