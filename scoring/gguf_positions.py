"""How a GGUF file scales its positions, put into the config of its conversion, where transformers loses it.

llama.cpp turns by base^(−2i/n) / (factor · rope_freqs[i]) radians a position. What the loaded model turns by
is compared with that: a scaling that is lost gives log-probs that look like any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ProbeError
from .gguf_header import GgufHeader

FREQS = "rope_freqs.weight"
REMEDY = "Give the original model's safetensors with --model."
ORIGINAL_LENGTHS = tuple(2**k for k in range(20, 4, -1))  # of training before the context was stretched
TOLERANCE = 1e-4  # relative, of frequencies; float32 files, and powers taken in another order


def settle_positions(what: str, model: Any, header: GgufHeader) -> None:
    """Give `model.config` the positions that the header names; a model loaded with it computes them.

    Raises `ProbeError` for a scaling or window that cannot be carried over exactly.
    """
    _settle_window(what, model.config, header)
    kind, factor = _scaling(header)
    rotary = _rotary(model)
    if kind not in ("none", "linear") or any(name != FREQS for name in header.tensors):
        if rotary is None or _parameters(model.config, rotary[1]).get("rope_type") != kind:
            raise _lost(what, f"its positions are scaled by {kind}")
    elif rotary is not None:
        _settle_frequencies(what, model.config, *rotary, header, factor)
    elif factor != 1 or header.tensors:
        raise _lost(what, "its positions are scaled, and the loaded model has none that turn")


def _settle_frequencies(
    what: str, config: Any, module: Any, name: str, header: GgufHeader, factor: float
) -> None:
    held = getattr(module, name).float().cpu().numpy()
    said = _said(header, len(held), factor)
    if _close(held, said):
        return
    parameters = _parameters(config, name)
    for changes in _candidates(config, parameters, header, len(said), factor):
        parameters.update(changes)
        try:
            again = getattr(type(module)(config), name)
        except (TypeError, ValueError, KeyError, AttributeError):  # a model that takes no such parameters
            break
        if _close(again.float().cpu().numpy(), said):
            return
    raise _lost(what, "its positions turn by other frequencies than those of the loaded model")


def _scaling(header: GgufHeader) -> tuple[str, float]:
    """The kind of the scaling and its factor, with llama.cpp's defaults: linear, and 0 for none."""
    factor = float(header.of_model("rope.scaling.factor", header.of_model("rope.scale_linear", 0.0)) or 1.0)
    kind = str(header.of_model("rope.scaling.type", "linear"))
    if not header.of_model("rope.scaling.type") and "rope_factors_long.weight" in header.tensors:
        kind = "longrope"
    return kind, 1.0 if kind == "none" else factor


def _said(header: GgufHeader, held: int, factor: float) -> NDArray[np.float64]:
    """Radians a position that the header names; `held` are as many as the loaded model has."""
    n = int(header.of_model("rope.dimension_count", 2 * held))
    plain = float(header.of_model("rope.freq_base", 10_000.0)) ** (-np.arange(0, n, 2) / n)
    return np.asarray(plain / factor / header.tensors.get(FREQS, np.ones(1, dtype=np.float32)))


def _close(held: NDArray[Any], said: NDArray[Any]) -> bool:
    return held.shape == said.shape and np.allclose(held, said, rtol=TOLERANCE, atol=1e-12)


def _rotary(model: Any) -> tuple[torch.nn.Module, str] | None:
    """The module that turns positions and the name of its frequencies: of the layers that see all tokens."""
    paths = [path.rpartition(".") for path, _ in model.named_buffers()]
    for parent, _, name in paths:
        if name.endswith("inv_freq") and "original" not in name and not name.startswith("sliding"):
            return model.get_submodule(parent), name
    return None


def _parameters(config: Any, name: str) -> dict[str, Any]:
    """The config's own parameters of the frequencies of that name, such as `full_attention_inv_freq`."""
    parameters: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    kind = name.removesuffix("inv_freq").rstrip("_")
    return parameters.get(kind, {}) if kind else parameters


def _candidates(
    config: Any, parameters: dict[str, Any], header: GgufHeader, n: int, factor: float
) -> Iterator[dict[str, Any]]:
    """Parameters that may give the frequencies of the header; which of them do is tried.

    Llama 3's scaling is written as a divisor for each frequency; the length that it comes from is not told.
    """
    shared = {"rope_theta": float(header.of_model("rope.freq_base", 10_000.0))}
    if "partial_rotary_factor" in parameters:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shared["partial_rotary_factor"] = 2 * n / width
    if FREQS not in header.tensors:
        yield {**shared, **({"rope_type": "linear", "factor": factor} if factor != 1 else {})}
        return
    if factor != 1:
        return
    most = float(header.tensors[FREQS].max())
    for length in ORIGINAL_LENGTHS:
        yield {
            **shared, "rope_type": "llama3", "factor": most, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": length,
        }  # fmt: skip


def _settle_window(what: str, config: Any, header: GgufHeader) -> None:
    """The window of attention, where it is shorter than the context; every layer has it, or config says."""
    window, length = header.of_model("attention.sliding_window"), header.of_model("context_length")
    held = getattr(config, "sliding_window", None)
    if not window or window == held or (length and window >= length):
        return
    if held is not None or not hasattr(config, "sliding_window") or getattr(config, "layer_types", None):
        raise _lost(what, f"its attention has a window of {window} tokens")
    config.sliding_window = int(window)


def _lost(what: str, fact: str) -> ProbeError:
    return ProbeError(f"{what}: {fact}, and its conversion loses that. {REMEDY}")
