"""Which pairs depend on each other: those that share a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from ..pairs.identity import prompt_identity
from ..pairs.record import Pair


def prompt_clusters(pairs: Iterable[Pair]) -> npt.NDArray[np.int64]:
    """A label per pair: equal for equal prompts, its own where there is none (minimal pairs). Shape [n].

    Prompts are equal that say the same words and are given the same tools and template options.
    """
    known: dict[bytes | int, int] = {}
    texts = map(prompt_identity, pairs)
    # Digests, so that a million prompts are not held as text.
    keys = (
        blake2b(t.encode("utf-8", "surrogatepass"), digest_size=12).digest() if t else i
        for i, t in enumerate(texts)
    )
    return np.fromiter((known.setdefault(key, len(known)) for key in keys), dtype=np.int64)
