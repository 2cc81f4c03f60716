"""What is wrong with the options of a run, said before a model is loaded."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ProbeError
from .plan import Options

# Those of transformers' schedules that need nothing but a number of steps.
SCHEDULES = (
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial",
    "inverse_sqrt",
)  # fmt: skip
PRECISIONS = ("no", "bf16", "fp16")
TRACKERS = ("tensorboard", "wandb", "mlflow")
# The lower end, the upper end (never allowed itself), and whether the lower end is allowed.
RANGES: dict[str, tuple[float, float, bool]] = {
    "learning_rate": (0, math.inf, False),
    "epochs": (0, math.inf, False),
    "steps": (1, math.inf, True),
    "batch": (1, math.inf, True),
    "beta": (0, math.inf, False),
    "smoothing": (0, 0.5, True),
    "penalty": (0, math.inf, True),
    "nll_weight": (0, math.inf, True),
    "odds_weight": (0, math.inf, True),
    "gamma": (0, math.inf, True),
    "lora_rank": (1, math.inf, True),
    "lora_alpha": (1, math.inf, True),
    "warmup": (0, 1, True),
    "weight_decay": (0, math.inf, True),
    "clip": (0, math.inf, False),
    "held_out": (0, 1, False),
    "replay_share": (0, 1, True),
    "eval_every": (1, math.inf, True),
    "log_every": (1, math.inf, True),
    "micro_tokens": (1, math.inf, True),
    "patience": (1, math.inf, True),
}


def check_options(changes: Mapping[str, Any], loop: Options, held_out: float) -> None:
    """Raises `ProbeError` for a value that no training can have, or a tracker that is not installed.

    `changes`: recipe values by name, as `Recipe.with_values` takes them; None is ignored.
    """
    own = ("steps", "eval_every", "log_every", "micro_tokens", "replay_share")
    values = {**changes, **{name: getattr(loop, name) for name in own}}
    for name, value in {**values, "held_out": held_out, "patience": loop.limits.patience}.items():
        if name in RANGES and value is not None:
            _check_range(name, value)
    _check_name("schedule", changes.get("schedule") or SCHEDULES[0], SCHEDULES)
    _check_name("mixed_precision", loop.mixed_precision, PRECISIONS)
    for tracker in loop.trackers:
        _check_name("tracker", tracker, TRACKERS)
        # accelerate leaves a tracker that it cannot import out without a word.
        if importlib.util.find_spec(tracker) is None:
            raise ProbeError(f"--tracker {tracker}: not installed. pip install {tracker}")


def check_device(mixed_precision: str, device: str) -> None:
    """Raises `ProbeError` for float16 on a CPU, where accelerate has no loss scaler."""
    if mixed_precision == "fp16" and device == "cpu":
        raise ProbeError("--mixed-precision fp16: needs a GPU. On a CPU leave it out, or use bf16.")


def _check_range(name: str, value: float) -> None:
    low, high, with_low = RANGES[name]
    above = value >= low if with_low else value > low
    if not (above and value < high):  # NaN is neither
        told = f"{'at least' if with_low else 'more than'} {low:g}"
        if math.isfinite(high):
            told += f" and less than {high:g}"
        raise ProbeError(f"--{name.replace('_', '-')} {value:g}: must be {told}.")


def _check_name(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ProbeError(f"--{name.replace('_', '-')} {value}: unknown. Use {', '.join(known)}.")
