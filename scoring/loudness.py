"""What the libraries print: little while probe runs, and after a call from Python what it was before."""

from __future__ import annotations

import warnings

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

Loudness = tuple[int, int, bool]  # verbosity of transformers and of the hub, whether transformers shows bars


def loudness() -> Loudness:
    """How loud the libraries are now."""
    bars = transformers_logging.is_progress_bar_enabled()
    return transformers_logging.get_verbosity(), hub_logging.get_verbosity(), bars


AT_FIRST = loudness()  # before anything here has changed it


def quiet() -> None:
    """Keep the libraries' bars and retries off stderr; what goes wrong is told in one line of our own."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    # peft asks transformers for a name that transformers has renamed; nobody here can act on it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


def set_loudness(before: Loudness) -> None:
    """Make the libraries as loud as they were."""
    transformers_logging.set_verbosity(before[0])
    hub_logging.set_verbosity(before[1])
    if before[2] and not transformers_logging.is_progress_bar_enabled():
        transformers_logging.enable_progress_bar()
