"""Which pairs depend on each other: those that share a prompt, or the same texts."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from ..pairs.identity import cluster_key
from ..pairs.record import Pair


def prompt_clusters(pairs: Iterable[Pair]) -> npt.NDArray[np.int64]:
    """A label per pair: equal for equal prompts, and without one (minimal pairs) for the same two texts.
    Shape [n].

    Prompts are equal that say the same words and are given the same tools and template options.
    """
    known: dict[bytes, int] = {}
    texts = map(cluster_key, pairs)
    # Digests, so that a million prompts are not held as text.
    keys = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest() for text in texts)
    return np.fromiter((known.setdefault(key, len(known)) for key in keys), dtype=np.int64)
