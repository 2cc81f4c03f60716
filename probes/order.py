"""The order in which a large file is looked at: by prompt, the same for a seed and for every version of it.

A prompt's place is a hash of the seed and its text (with its tools and template options), so a sample is a
uniform one of the prompts, a smaller one is part of a larger one, and two probes, or two gates of a file that
has grown, look at the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from ..pairs.identity import cluster_key
from ..pairs.record import Pair


def by_prompt(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """All pairs, those of one prompt (or, without one, of the same two texts) side by side in file order."""
    return sorted(pairs, key=lambda pair: (_place(pair, seed), pair.line))


def drawn(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most the first `most` pairs of that order, in the file's order."""
    if len(pairs) <= most:
        return list(pairs)
    return sorted(by_prompt(pairs, seed)[:most], key=lambda pair: pair.line)


def _place(pair: Pair, seed: int) -> bytes:
    return blake2b(f"{seed}/{cluster_key(pair)}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
