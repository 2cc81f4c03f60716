"""The model in training: float32 trainable weights, dropout off, log-probs by the scorer's own engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import ProbeError
from ..scoring.adapter import refuse_idle_adapter, with_lora
from ..scoring.attention import tree_attention_on
from ..scoring.engine import causal_lm, token_logps
from ..scoring.quantized import is_quantized
from ..scoring.scores import EncodedSide
from .recipes import Recipe

DRAWN = re.compile("drop|jitter")  # in the names of rates at which a layer in training mode draws
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

    It is in evaluation mode, in which nothing is drawn (dropout, skipped layers, a router's noise): policy
    and reference are the same function at step 0, as in TRL's DPO. A model that is already a peft model goes
    on with its adapter, which for full tuning is merged. Raises `ProbeError` for weights that cannot be
    trained safely.
    """
    if recipe.full:
        if is_quantized(model):
            raise ProbeError(
                "--full: quantised weights cannot be trained. Leave --full out: QLoRA trains an adapter."
            )
        model = _merged(model)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    elif hasattr(model, "peft_config"):
        refuse_idle_adapter(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    else:
        model = _with_lora(model, recipe, seed)
    model.eval()
    check_trainable(model)
    if checkpointing:
        _checkpoint_gradients(model)
    return model


def adapter_values(model: torch.nn.Module) -> dict[str, Any]:
    """Rank and scale of the LoRA adapter that a model came with, by the names of a recipe; {} without one."""
    adapter: Any = next(iter(getattr(model, "peft_config", {}).values()), None)
    known = hasattr(adapter, "lora_alpha")
    return {"lora_rank": adapter.r, "lora_alpha": adapter.lora_alpha} if known else {}


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


def _merged(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its adapter inside its weights, since a peft model saves its adapter alone."""
    if not hasattr(model, "peft_config"):
        return model
    inner: Any = causal_lm(model)
    ends = (inner.get_input_embeddings(), inner.get_output_embeddings())
    inside = {name for end in ends for name, _ in end.named_children()}
    if inner.config.get_text_config().tie_word_embeddings and inside & {"base_layer", "original_module"}:
        raise ProbeError(
            "--full: the adapter changes the embedding or the head, which this model keeps as one weight, so "
            "that it cannot be merged. Leave --full out: its adapter is then trained on."
        )
    return model.merge_and_unload()  # type: ignore[operator, no-any-return]


def _checkpoint_gradients(model: torch.nn.Module) -> None:
    """Layers checkpoint in training mode only: those that do are in it alone, without what it would draw."""
    inner: Any = causal_lm(model)
    inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    inner.enable_input_require_grads()
    for module in inner.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True  # not `train()`: the modules inside stay in evaluation mode
            _draw_nothing(module)
    _draw_nothing(inner.config)  # some layers read their rate there


def _draw_nothing(holder: object) -> None:
    """Rates of dropout, of skipped layers and of noise on a router that `holder` carries, set to 0."""
    for name, value in vars(holder).items():
        if isinstance(value, float) and DRAWN.search(name):
            setattr(holder, name, 0.0)
