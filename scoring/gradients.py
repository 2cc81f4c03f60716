"""Gradients of log-probs on the parameters that a LoRA run would train, as inner products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..progress import Advance
from .adapter import refuse_idle_adapter, with_lora
from .engine import token_logps
from .model import LoadedModel
from .scores import EncodedPair

ADAPTER_RANK = 16


def gradient_products(
    loaded: LoadedModel,
    pairs: Sequence[EncodedPair],
    *,
    plain: bool = False,
    advance: Advance = lambda _: None,
) -> list[tuple[float, float, float]]:
    """(‖g⁺‖², ‖g⁻‖², ⟨g⁺, g⁻⟩) of each pair, g = ∇ Σ log p(response | prompt), end token included.

    On the adapter that the model has, else on a fresh LoRA of rank `ADAPTER_RANK` on every linear layer,
    which is taken off again: at its start only the B matrices have a gradient. Two backward passes per pair.
    """
    with _trainable(loaded.model) as (model, weights):
        products = []
        for pair in pairs:
            plus, minus = (_gradient(model, weights, side, plain) for side in (pair.chosen, pair.rejected))
            products.append((plus @ plus, minus @ minus, plus @ minus))
            advance(1)
    return [(float(a), float(b), float(c)) for a, b, c in products]


def _gradient(
    model: torch.nn.Module, weights: Sequence[torch.Tensor], side: object, plain: bool
) -> torch.Tensor:
    (logps,) = token_logps(model, [side], plain=plain)  # type: ignore[list-item]
    parts = torch.autograd.grad(logps.sum(), weights, allow_unused=True)
    # Summed in float64, which not every device has: on the CPU.
    return torch.cat([part.flatten() for part in parts if part is not None]).cpu().double()


@contextmanager
def _trainable(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, list[torch.Tensor]]]:
    """The model with the weights that would be trained; everything is put back at the end."""
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    wrapped = hasattr(model, "peft_config")  # of peft, or transformers' own
    if wrapped:
        refuse_idle_adapter(model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tuned = model if wrapped else with_lora(model, ADAPTER_RANK)
    try:
        for name, p in tuned.named_parameters():
            p.requires_grad_("lora_" in name)
        tuned.eval()
        with torch.enable_grad():
            yield tuned, [p for p in tuned.parameters() if p.requires_grad]
    finally:
        if not wrapped:
            tuned.unload()  # type: ignore[operator]
        for p, was in frozen:
            p.requires_grad_(was)
