"""Quantised weights: bitsandbytes on load, checkpoints quantised before, and what is computed with them.

`nf4` keeps linear layers in 4 bits and multiplies their dequantised values: scores are those of the
dequantised weights to the rounding of the dtype. `int8` (LLM.int8) also rounds the *activations* to 8 bits.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from typing import Any

import torch

from ..errors import ProbeError

# What `--quantize` takes, and the arithmetic that it means.
QUANTIZATIONS = {
    "nf4": "4-bit NormalFloat weights in blocks of 64, dequantised to {dtype} for each product",
    "int8": "8-bit weights and 8-bit activations (LLM.int8), products in integers, the rest in {dtype}",
}
# The `quant_method` of a checkpoint, the module that transformers needs for it, and how that is installed.
LIBRARIES = {
    "bitsandbytes": ("bitsandbytes", "pip install 'prefprobe[quantized]'"),
    "gptq": ("gptqmodel", "pip install gptqmodel"),
    "awq": ("gptqmodel", "pip install gptqmodel"),
    "compressed-tensors": ("compressed_tensors", "pip install compressed-tensors"),
}


def quantizing(kind: str | None, what: str, config: Any, dtype: torch.dtype) -> dict[str, Any]:
    """The options of `from_pretrained` that load `what` quantised; none for `kind` None.

    Raises `ProbeError` for an unknown kind, a checkpoint that is quantised already, one whose library is not
    installed, and where bitsandbytes is not.
    """
    method = _method(config)
    if method in LIBRARIES:
        _need(*LIBRARIES[method], f"{what}: its weights are quantised by {method}")
    if kind is None:
        return {}
    if kind not in QUANTIZATIONS:
        raise ProbeError(f"--quantize {kind}: unknown. Use {', '.join(QUANTIZATIONS)}.")
    if method:
        raise ProbeError(f"{what}: is quantised already ({method}). Leave --quantize out.")
    _need(*LIBRARIES["bitsandbytes"], f"--quantize {kind}")
    from transformers import BitsAndBytesConfig

    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    if kind == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **four)}


def quantization_facts(kind: str | None, config: Any, dtype: torch.dtype) -> dict[str, Any]:
    """What a report says of quantised weights: `quantization` and `arithmetic`; empty for plain ones."""
    short = str(dtype).removeprefix("torch.")
    if kind is not None:
        return {"quantization": kind, "arithmetic": QUANTIZATIONS[kind].format(dtype=short)}
    if method := _method(config):
        return {"quantization": method, "arithmetic": f"{method} weights of the checkpoint, {short}"}
    return {}


def exactly(model: torch.nn.Module) -> torch.nn.Module:
    """The model, its 4-bit layers kept from repacking themselves on CPUs with bfloat16 instructions.

    At its first forward without a gradient such a layer would round its scales to bfloat16 for good, compute
    in bfloat16 whatever dtype was asked for, and differ from its own forward with a gradient: policy and
    reference would not be one function (bitsandbytes 0.50, `Linear4bit.forward`).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    return model


def is_quantized(model: torch.nn.Module) -> bool:
    """Whether some linear layer of the model holds quantised weights."""
    return any(type(module).__name__ in ("Linear4bit", "Linear8bitLt") for module in model.modules()) or (
        getattr(getattr(model, "config", None), "quantization_config", None) is not None
    )


def weight_count(model: torch.nn.Module) -> int:
    """How many weights the model has; bitsandbytes packs several of 4 bits into one element."""
    return sum(_weights(parameter) for parameter in model.parameters())


def _weights(parameter: torch.nn.Parameter) -> int:
    packed = type(parameter).__name__ == "Params4bit" and getattr(parameter, "quant_state", None) is not None
    return parameter.numel() * (2 * parameter.element_size() if packed else 1)


def dequantized(model: torch.nn.Module, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A copy of a bitsandbytes model with plain linear layers of the same values; see `exactly`."""
    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if type(module).__name__ in ("Linear4bit", "Linear8bitLt"):
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, _plain(module, dtype))
    return plain


def _plain(module: Any, dtype: torch.dtype) -> torch.nn.Linear:
    from bitsandbytes import functional as F

    if type(module).__name__ == "Linear4bit":
        weight = F.dequantize_4bit(module.weight.data, module.weight.quant_state)
    else:
        codes = module.state.CB if module.state.CB is not None else module.weight.CB
        scales = module.state.SCB if module.state.SCB is not None else module.weight.SCB
        weight = codes.float() * (scales.float() / 127).unsqueeze(1)
    linear = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
    linear.weight.data = weight.to(dtype).reshape(module.out_features, module.in_features)
    if module.bias is not None:
        linear.bias.data = module.bias.data.to(dtype)
    return linear


def _method(config: Any) -> str | None:
    stated = getattr(config, "quantization_config", None) or {}
    method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))


def _need(module: str, install: str, fact: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ProbeError(f"{fact}, and {module} is not installed. Install it: {install}.")
