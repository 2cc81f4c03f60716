"""What the header of a GGUF file says of its model, for those keys that transformers passes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The single values of a header by their keys, arrays left out, and the tensors that scale positions."""

    values: Mapping[str, Any]
    tensors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def of_model(self, key: str, default: Any = None) -> Any:
        """The value of a key that stands behind the architecture's name, such as `rope.freq_base`."""
        return self.values.get(f"{self.values.get('general.architecture')}.{key}", default)


def read_header(path: Path) -> GgufHeader:
    """The header of a GGUF file. Raises whatever the `gguf` package raises on a file that it cannot read."""
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(str(path))
    values = {key: _value(one) for key, one in reader.fields.items() if len(one.types) == 1}
    tensors = {
        one.name: np.asarray(dequantize(one.data, one.tensor_type), dtype=np.float32).reshape(-1)
        for one in reader.tensors
        if one.name in ROPE_TENSORS
    }
    return GgufHeader(values, tensors)


def _value(one: Any) -> Any:
    """A field's text, number or truth value."""
    from gguf import GGUFValueType

    part = one.parts[one.data[0]]
    return bytes(part).decode("utf-8", "replace") if one.types[0] == GGUFValueType.STRING else part[0].item()
