"""Which pairs depend on each other: those that share a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from ..pairs.record import Content, text_of


def prompt_clusters(prompts: Iterable[Content | None]) -> npt.NDArray[np.int64]:
    """A label per pair: equal for equal prompts, its own where there is none (minimal pairs). Shape [n]."""
    known: dict[bytes | int, int] = {}
    texts = (text_of(prompt) for prompt in prompts)
    # Digests, so that a million prompts are not held as text.
    keys = (
        blake2b(t.encode("utf-8", "surrogatepass"), digest_size=12).digest() if t else i
        for i, t in enumerate(texts)
    )
    return np.fromiter((known.setdefault(key, len(known)) for key in keys), dtype=np.int64)
