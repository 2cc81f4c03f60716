"""The values that a number of a flag or config can have: one table, checked before anything is spent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import ProbeError


class Range(NamedTuple):
    """From `low` to `high`; an end belongs to it unless it is open. An infinite `high` is never allowed."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is in it; NaN and infinities never are."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high or math.isinf(self.high) else value <= self.high
        return above and below

    def __str__(self) -> str:
        told = f"{'more than' if self.open_low else 'at least'} {self.low:.10g}"
        if math.isfinite(self.high):
            told += f" and {'less than' if self.open_high else 'at most'} {self.high:.10g}"
        return told


ABOVE_ZERO = Range(0, open_low=True)
NOT_NEGATIVE = Range(0)
COUNT = Range(1)
SHARE = Range(0, 1)
PART = Range(0, 1, open_low=True, open_high=True)

# By the parameter's name, the same in every command. A number without an entry fails tests/test_ranges.py.
RANGES: Mapping[str, Range] = {
    "alpha": Range(0, 0.5, open_low=True, open_high=True),
    "bound": NOT_NEGATIVE,
    "seed": Range(0, 2**32 - 1),  # what NumPy and scikit-learn take
    "minimum_n": COUNT,
    "trial_pairs": Range(2),
    "max_length": Range(2),
    "agreement": Range(0.01, 0.99),
    "expect": Range(0.02, 1),
    "n": COUNT,
    "most": Range(2),
    "samples": NOT_NEGATIVE,
    "gradients": Range(0, 64),
    "tokens": COUNT,
    "top_p": Range(0, 1, open_low=True),
    "trim": PART,
    "learning_rate": ABOVE_ZERO,
    "epochs": ABOVE_ZERO,
    "steps": COUNT,
    "batch": COUNT,
    "beta": ABOVE_ZERO,
    "smoothing": Range(0, 0.5, open_high=True),
    "penalty": NOT_NEGATIVE,
    "nll_weight": NOT_NEGATIVE,
    "odds_weight": NOT_NEGATIVE,
    "gamma": NOT_NEGATIVE,
    "desirable_weight": ABOVE_ZERO,
    "undesirable_weight": ABOVE_ZERO,
    "lora_rank": COUNT,
    "lora_alpha": COUNT,
    "warmup": Range(0, 1, open_high=True),
    "weight_decay": NOT_NEGATIVE,
    "clip": ABOVE_ZERO,
    "held_out": PART,
    "replay_share": Range(0, 1, open_high=True),
    "eval_every": COUNT,
    "log_every": COUNT,
    "micro_tokens": COUNT,
    "patience": COUNT,
    "shots": NOT_NEGATIVE,
    "draws": COUNT,
    "strength": NOT_NEGATIVE,
    "trial_steps": NOT_NEGATIVE,
}
# Limits of conditions and checks are shares, but for these.
GATE_LIMIT_RANGES: Mapping[str, Range] = {
    "gap": NOT_NEGATIVE,
    "group_ratio": COUNT,
    "length_ratio": COUNT,
    "too_few_pairs": NOT_NEGATIVE,
    "attribute": NOT_NEGATIVE,  # in each attribute's own units
    "effect": NOT_NEGATIVE,
}
# Those of transformers' schedules that need nothing but a number of steps.
SCHEDULES = (
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial",
    "inverse_sqrt",
)  # fmt: skip
PRECISIONS = ("no", "bf16", "fp16")
CHOICES: Mapping[str, tuple[str, ...]] = {"schedule": SCHEDULES, "mixed_precision": PRECISIONS}
DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu|npu|hpu|mlu|musa|meta)(:\d{1,3})?")


def check(name: str, value: Any, said: str = "") -> None:
    """Raises `ProbeError` for a value outside its range; `said`: where it stands, else the flag is named."""
    said = said or f"--{name.replace('_', '-')} {f'{value:g}' if isinstance(value, float) else value}"
    known, words = RANGES.get(name), CHOICES.get(name)
    if known is not None and _number(value) and not known.holds(value):
        raise ProbeError(f"{said}: must be {known}.")
    if words is not None and isinstance(value, str) and value not in words:
        raise ProbeError(f"{said}: unknown. Use {', '.join(words)}.")
    if name == "device" and isinstance(value, str) and not DEVICE.fullmatch(value):
        raise ProbeError(f"{said}: not a device. Use cpu, cuda, cuda:1, mps or auto.")


def check_limit(name: str, value: Any, where: str) -> None:
    """Raises `ProbeError` for a limit in a config that no measurement can be held against."""
    known = GATE_LIMIT_RANGES.get(name.replace("-", "_").partition(":")[0], SHARE)
    if _number(value) and not known.holds(value):
        raise ProbeError(f'{where}: "{name}" is {value}. It must be {known}.')


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
