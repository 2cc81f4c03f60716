"""What every number that a model gives of a file's pairs depends on: the same wherever a result is kept."""

from __future__ import annotations

from typing import Any

from .encode import Encoder
from .model import LoadedModel

HASHED = (
    "weights_sha256", "adapter_sha256", "own_code", "tokenizer_sha256", "template_sha256", "dtype",
    "quantization",
)  # fmt: skip


def identity(loaded: LoadedModel, encoder: Encoder) -> dict[str, Any]:
    """The model by its hashes, and how rows become tokens, as plain values; the device is not told."""
    served = {"endpoint": loaded.facts["endpoint"]} if "endpoint" in loaded.facts else {}
    return {
        "model": {name: loaded.facts.get(name) for name in HASHED} | served,
        "encoding": [encoder.template, encoder.chat, encoder.max_length],
    }
