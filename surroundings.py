"""The process around a call from Python: what measuring changes in it is put back.

Nothing is imported for that: what is not loaded yet has no state that a program could have set.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

LOUDNESS = f"{__package__}.scoring.loudness"
# A model's attention and the generators are one for all threads: two calls at once would read each other's.
_one_at_a_time = threading.RLock()


@contextmanager
def as_before() -> Iterator[None]:
    """After the block random generators, torch's threads, filters of warnings and the libraries' loudness are
    what they were before it. One thread at a time is in it; others wait."""
    with _one_at_a_time, warnings.catch_warnings(), same_draws():
        torch = sys.modules.get("torch")
        threads = torch.get_num_threads() if torch else None
        # Its module is loaded where transformers is, or will be: the program may have made it loud or quiet.
        loud = import_module(LOUDNESS).loudness() if "transformers" in sys.modules else None
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)
            if made := sys.modules.get(LOUDNESS):
                made.set_loudness(loud or made.AT_FIRST)


@contextmanager
def same_draws() -> Iterator[None]:
    """After the block all random generators, of Python, numpy, torch and its devices, are where they were."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    python = random.getstate()
    arrays = numpy.random.get_state() if numpy else None
    tensors = torch.get_rng_state() if torch else None
    devices = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(arrays)
        if torch:
            torch.set_rng_state(tensors)
        if torch and devices:
            torch.cuda.set_rng_state_all(devices)
