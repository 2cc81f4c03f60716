"""The LoRA adapter that probes and training put on a model: one definition for all of them."""

from __future__ import annotations

from typing import cast

import torch


def with_lora(model: torch.nn.Module, rank: int, alpha: int | None = None) -> torch.nn.Module:
    """`model` under a fresh LoRA adapter on all its linear layers; `alpha` None is twice the rank.

    A is drawn from torch's generator, B is zero: the start is the model itself whatever the seed.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return cast(torch.nn.Module, get_peft_model(model, config))
