"""The LoRA adapter that probes and training put on a model: one definition for all of them."""

from __future__ import annotations

from typing import cast

import torch

from ..errors import ProbeError

# Their kernels read these weights past the module, so that peft puts no adapter there.
MAMBA_LIKE = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")
MAMBA_EXCLUDED = ["out_proj", "conv1d"]
OFF, MERGED = "switched off", "merged into the weights"


def with_lora(model: torch.nn.Module, rank: int, alpha: int | None = None) -> torch.nn.Module:
    """`model` under a fresh LoRA adapter on all linear layers that take one; `alpha` None is twice the rank.

    A is drawn from torch's generator, B is zero: the start is the model itself whatever the seed.
    """
    from peft import LoraConfig, get_peft_model

    kind = getattr(getattr(model, "config", None), "model_type", None)
    config = LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, target_modules="all-linear", task_type="CAUSAL_LM",
        exclude_modules=MAMBA_EXCLUDED if kind in MAMBA_LIKE else None,
    )  # fmt: skip
    return cast(torch.nn.Module, get_peft_model(model, config))


def adapter_idle(model: torch.nn.Module) -> str:
    """Why no weight of the model's adapters would be trained: they are `OFF` or `MERGED`; else ""."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    if layers and all(layer.disable_adapters for layer in layers):
        return OFF
    return MERGED if any(layer.merged for layer in layers) else ""


def refuse_idle_adapter(model: torch.nn.Module) -> None:
    """Raises `ProbeError` for a model with an adapter that no training would move."""
    if why := adapter_idle(model):
        undone = "Switch it on" if why == OFF else "Unmerge it"
        raise ProbeError(
            f"the adapter of the given model is {why}, and a training would go on with it. {undone}, or give "
            "the model without it: of peft, model.merge_and_unload() or model.unload()."
        )
