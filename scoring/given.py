"""A model that somebody else has loaded: measured as it is, and handed back as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..surroundings import same_draws
from .adapter import OFF, adapter_idle
from .engine import causal_lm
from .loaded import check_runs
from .model import LoadedModel
from .quantized import weight_count
from .saved_adapter import refuse_virtual_tokens
from .weights import tokenizer_facts


def as_loaded(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase | None, *, runs: bool = True
) -> LoadedModel:
    """`model` (a `PreTrainedModel` or `PeftModel`) as the measuring code takes it; nothing is copied.

    Its weights have no hash: they live in memory, may change, and nothing measured on them is stored. Raises
    `ProbeError` without a tokenizer, for what is no model, and where it `runs` for what is no causal one.
    """
    first = _check_given(model, tokenizer)
    if runs:
        with evaluating(model):
            check_runs("the given model", model, tokenizer)
    config: Any = causal_lm(model).config
    name = str(getattr(config, "_name_or_path", "") or type(causal_lm(model)).__name__)
    facts = {
        "name": name,
        "revision": getattr(config, "_commit_hash", None),
        "adapter": ", ".join(_adapters(model)) or None,
        "weights_sha256": None,
        "adapter_sha256": None,
        **tokenizer_facts(tokenizer),
        "architecture": type(causal_lm(model)).__name__,
        "parameters": weight_count(model),
        "dtype": str(first.dtype).removeprefix("torch."),
        "device": first.device.type,
        "given": True,
    }
    return LoadedModel(model, tokenizer, name, first.device, first.dtype, facts)


def _check_given(model: Any, tokenizer: Any) -> torch.nn.Parameter:
    """A weight of the model. Raises `ProbeError` unless the two are what they are to be."""
    if tokenizer is None:
        raise ProbeError("a loaded model was given without its tokenizer. Pass tokenizer=… too.")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ProbeError(
            f"tokenizer: is a {type(tokenizer).__name__}. Give the loaded tokenizer: "
            "AutoTokenizer.from_pretrained(NAME), or that of a processor."
        )
    if not isinstance(model, torch.nn.Module) or not hasattr(causal_lm(model), "config"):
        raise ProbeError(
            f"model: is a {type(model).__name__}. Give a name, or the loaded transformers model itself: of a "
            "pipeline its .model, of a parallel wrapper its .module."
        )
    first = next(iter(model.parameters()), None)
    if first is None:
        raise ProbeError("the given model has no weights. Give a loaded causal language model.")
    for name in _adapters(model):
        refuse_virtual_tokens(f"the adapter {name} of the given model", model.peft_config[name])  # type: ignore[index]
    return first


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """In the block every module is in evaluation mode; after it, each is in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def uncompiled(model: Any) -> Iterator[Any]:
    """What `torch.compile` wraps, or the model that was compiled in place: the same weights, run as they are.

    A compiled form is not that of other layers, such as those of a trial's adapter.
    """
    plain = getattr(model, "_orig_mod", model)
    compiled = getattr(plain, "_compiled_call_impl", None)
    if compiled is not None:
        plain._compiled_call_impl = None
    try:
        yield plain
    finally:
        if compiled is not None:
            plain._compiled_call_impl = compiled


@contextmanager
def untouched(model: torch.nn.Module) -> Iterator[None]:
    """In the block the model is in evaluation mode; after it, it is bit for bit what it was.

    Put back: the mode of each module, which weights are trainable, their values and gradients, the
    active adapters, and the state of all random generators.
    """
    grads = {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()}
    values = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    config = dict(vars(causal_lm(model).config))
    use_cache = config.get("use_cache")
    was_peft = hasattr(model, "peft_config")
    for parameter in model.parameters():
        parameter.grad = None
    try:
        with evaluating(model), same_draws():
            yield
    finally:
        if not was_peft and "peft_config" in vars(model):
            del model.peft_config  # what a trial's adapter leaves behind
        _restore_weights(model, grads, values)
        vars(causal_lm(model).config).update(config | {"use_cache": use_cache})


def _adapters(model: torch.nn.Module) -> list[str]:
    """The names of the adapters that act."""
    if not hasattr(model, "peft_config") or adapter_idle(model) == OFF:
        return []
    active = getattr(model, "active_adapters", [])
    return list(active() if callable(active) else active)


def _restore_weights(
    model: torch.nn.Module,
    grads: Mapping[str, tuple[bool, torch.Tensor | None]],
    values: Mapping[str, torch.Tensor],
) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in grads:
                continue
            if name in values and not torch.equal(parameter, values[name]):
                parameter.copy_(values[name])
            parameter.requires_grad_(grads[name][0])
            parameter.grad = grads[name][1]
