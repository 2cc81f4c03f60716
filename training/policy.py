"""The model in training: float32 trainable weights, dropout off, log-probs by the scorer's own engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import ProbeError
from ..scoring.adapter import with_lora
from ..scoring.attention import tree_attention_on
from ..scoring.engine import causal_lm, token_logps
from ..scoring.quantized import is_quantized
from ..scoring.scores import EncodedSide
from .recipes import Recipe

UNLIMITED = 1 << 40  # the loop cuts its own micro-batches; a micro-batch is one packed row


class Policy(torch.nn.Module):
    """A model whose forward is the scorer: sides in, per-token log-probs out.

    A module, so that accelerate can wrap it: data parallel gradients, sharded weights and autocast then reach
    everything inside. `plain` takes one sequence at a time, for models that cannot be packed.
    """

    def __init__(self, model: torch.nn.Module, *, plain: bool = False) -> None:
        super().__init__()
        self.model = model
        self.plain = plain

    def forward(self, sides: Sequence[EncodedSide]) -> list[torch.Tensor]:
        """One float32 tensor [scored tokens] a side, in nats; gradients flow when they are enabled."""
        return token_logps(self.model, sides, budget=UNLIMITED, plain=self.plain)

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Surrounds forward *and* backward: gradient checkpointing runs the layers again in the latter."""
        if self.plain:
            yield
            return
        with tree_attention_on(causal_lm(self.model)):
            yield


def trainable_model(
    model: torch.nn.Module, recipe: Recipe, *, seed: int = 0, checkpointing: bool = False
) -> torch.nn.Module:
    """The model ready for training: under a fresh LoRA adapter, or with all weights trainable.

    A model that is already a peft model goes on with its adapter. Raises `ProbeError` for weights that cannot
    be trained safely.
    """
    if recipe.full:
        if is_quantized(model):
            raise ProbeError(
                "--full: quantised weights cannot be trained. Leave --full out: QLoRA trains an adapter."
            )
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    elif hasattr(model, "peft_config"):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    else:
        model = _with_lora(model, recipe, seed)
    _without_dropout(model)
    check_trainable(model)
    if checkpointing:
        _checkpoint_gradients(model)
    return model


def check_trainable(model: torch.nn.Module) -> None:
    """Raises `ProbeError` unless all trainable weights are float32 and there are some.

    float16 weights under AdamW become NaN at the first update: its eps of 1e-8 is 0 in float16, so that a
    gradient of 0 gives 0/0. bfloat16 weights lose most updates by rounding: 8 bits keep no change below 0.4%.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ProbeError("no weight of this model is trainable. Use LoRA (the default) or --full.")
    bad = next((f"{name} ({p.dtype})" for name, p in trained.items() if p.dtype != torch.float32), None)
    if bad:
        raise ProbeError(
            f"trainable weights must be float32, and {bad.replace('torch.', '')} is not: in float16 AdamW's "
            "eps of 1e-8 is 0, which gives NaN at the first update; in bfloat16 small updates round away. "
            "Use --dtype float32 with --mixed-precision bf16 or fp16, or LoRA, whose weights stay float32."
        )


def _with_lora(model: torch.nn.Module, recipe: Recipe, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    wrapped = with_lora(model, recipe.lora_rank, recipe.lora_alpha)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def _without_dropout(model: torch.nn.Module) -> None:
    """Policy and reference must be the same function at step 0; TRL's DPO turns dropout off too."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    config: Any = causal_lm(model).config
    for key in ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop"):
        if getattr(config, key, 0.0):
            setattr(config, key, 0.0)
    for module in model.modules():
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def _checkpoint_gradients(model: torch.nn.Module) -> None:
    inner = causal_lm(model)
    inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    inner.enable_input_require_grads()
    model.train()  # the layers only checkpoint in training mode; dropout is off
