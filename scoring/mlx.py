"""MLX checkpoints whose weights are quantised by groups (`quantization` in config.json), made plain.

A group of weights shares a scale s and a bias b: w = s·q + b, q an integer of `bits` bits. The integers are
packed from the lowest bit on into words of 32, so that q number i stands at the bits i·bits and following.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..errors import ProbeError
from .weights import CONFIG, INDEX, WHOLE, model_files, read_json

BITS = (2, 3, 4, 5, 6, 8)
KEYS = ("quantization", "quantization_config")  # MLX writes the same under both names


def is_mlx(directory: Path) -> bool:
    """Whether a model's directory holds weights that MLX quantised by groups."""
    path = directory / CONFIG
    if not path.is_file():
        return False
    stated = read_json(path).get("quantization")
    return isinstance(stated, dict) and "bits" in stated and "group_size" in stated


def unpack(words: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint8]:
    """The integers in rows of packed words, [rows, 32·words/bits]."""
    octets = np.ascontiguousarray(words).astype("<u4", copy=False).view(np.uint8).reshape(len(words), -1)
    if bits == 8:
        return octets
    single = np.unpackbits(octets, axis=1, bitorder="little").reshape(len(words), -1, bits)
    weights = (1 << np.arange(bits)).astype(np.uint8)
    values: npt.NDArray[np.uint8] = (single * weights).sum(-1, dtype=np.uint8)
    return values


def dequantize(
    words: torch.Tensor, scales: torch.Tensor, biases: torch.Tensor, bits: int, group: int
) -> torch.Tensor:
    """s·q + b in float32, [rows, columns]. Raises `ValueError` where the shapes do not agree."""
    codes = torch.from_numpy(unpack(words.view(torch.int32).numpy().view(np.uint32), bits))
    rows, columns = codes.shape
    if columns % group or scales.shape != (rows, columns // group) or biases.shape != scales.shape:
        raise ValueError(f"{tuple(scales.shape)} scales for {rows} rows of {columns} weights in {group}s")
    grouped = codes.reshape(rows, -1, group).float()
    return (grouped * scales.float().unsqueeze(-1) + biases.float().unsqueeze(-1)).reshape(rows, columns)


def write_plain(directory: Path, target: Path) -> None:
    """Write the model of `directory` into `target` with float32 weights, its tokenizer beside them.

    Raises `ProbeError` for another mode than affine, unknown bits, or packed weights without their scales.
    """
    started = time.monotonic()
    config = read_json(directory / CONFIG)
    stated = config["quantization"]
    tensors: dict[str, torch.Tensor] = {}
    for file in model_files(directory):
        with safe_open(file, framework="pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    plain = {
        name: _plain(directory, name, tensors, stated) for name in tensors if not _companion(name, tensors)
    }
    for file in directory.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in (CONFIG, INDEX):
            shutil.copy2(file, target / file.name)
    kept = {key: value for key, value in config.items() if key not in KEYS} | {"dtype": "float32"}
    kept.pop("torch_dtype", None)
    (target / CONFIG).write_text(json.dumps(kept), encoding="utf-8")
    save_file(plain, target / WHOLE, {"format": "pt"})
    print(f"dequantised {directory.name} in {time.monotonic() - started:.0f} s", file=sys.stderr)


def _plain(
    directory: Path, name: str, tensors: Mapping[str, torch.Tensor], stated: Mapping[str, Any]
) -> torch.Tensor:
    stem = name.removesuffix(".weight")
    own = stated.get(stem)
    layer = {**stated, **own} if isinstance(own, dict) else stated
    if tensors[name].dtype != torch.uint32:
        return tensors[name].float() if tensors[name].is_floating_point() else tensors[name]
    mode, bits, group = layer.get("mode", "affine"), int(layer["bits"]), int(layer["group_size"])
    if mode != "affine" or bits not in BITS:
        raise ProbeError(
            f"{directory}: {stem} is quantised as {mode} in {bits} bits. Only MLX's affine groups of "
            f"{', '.join(map(str, BITS))} bits are read; `mlx_lm.convert --dequantize` writes plain weights."
        )
    try:
        parts = tensors[f"{stem}.scales"], tensors[f"{stem}.biases"]
        return dequantize(tensors[name], *parts, bits, group)
    except (KeyError, ValueError) as error:
        raise ProbeError(f"{directory}: {name} cannot be dequantised ({error}). Fetch it again.") from error


def _companion(name: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a tensor is the scales or biases of packed weights."""
    stem, _, last = name.rpartition(".")
    packed = tensors.get(f"{stem}.weight")
    return last in ("scales", "biases") and packed is not None and packed.dtype == torch.uint32
