"""What is wrong with the options of a run, said before a model is loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from .. import config
from ..errors import ProbeError
from ..ranges import check
from .methods import METHODS, LossConstants, method_of
from .plan import Options

LORA_VALUES = ("lora_rank", "lora_alpha")
TRACKERS = ("tensorboard", "wandb", "mlflow")


def check_options(changes: Mapping[str, Any], loop: Options, held_out: float) -> None:
    """Raises `ProbeError` for a value that no training can have, or a tracker that is not installed.

    `changes`: recipe values by name, as `Recipe.with_values` takes them; None is ignored.
    """
    own = ("steps", "eval_every", "log_every", "micro_tokens", "replay_share")
    values = {**changes, **{name: getattr(loop, name) for name in own}}
    for name, value in {**values, "held_out": held_out, "patience": loop.limits.patience}.items():
        check(name, value)
    check("mixed_precision", loop.mixed_precision)
    for tracker in loop.trackers:
        _check_name("tracker", tracker, TRACKERS)
        # accelerate leaves a tracker that it cannot import out without a word.
        if importlib.util.find_spec(tracker) is None:
            raise ProbeError(f"--tracker {tracker}: not installed. pip install {tracker}")


def check_constants(changes: Mapping[str, Any], stages: Sequence[str]) -> None:
    """Raises `ProbeError` for a constant that no stage's loss reads: the run would be one without it.

    A config file's are for every run below it, and are ignored where they are not read.
    """
    read = {name for stage in stages for name in method_of(stage).constants}
    for constant in fields(LossConstants):
        value, name = changes.get(constant.name), constant.name
        if _asked_for(name, value) and name not in read:
            who = [method for method, one in METHODS.items() if name in one.constants]
            raise ProbeError(
                f"--{name.replace('_', '-')} {value}: the loss of {' and '.join(stages)} does not have it. "
                f"Leave it out, or use {', '.join(who)}."
            )


def check_lora(changes: Mapping[str, Any], *, full: bool, adapter: bool) -> None:
    """Raises `ProbeError` for a rank or scale of LoRA where no adapter is made: in full tuning, and where
    training goes on with the one that was given. A config file's are ignored there."""
    for name in LORA_VALUES if full or adapter else ():
        if _asked_for(name, value := changes.get(name)):
            fact = "--full trains all weights, and no adapter" if full else "--adapter brings its own"
            raise ProbeError(f"--{name.replace('_', '-')} {value}: {fact}. Leave it out.")


def _asked_for(name: str, value: Any) -> bool:
    """Whether a value was given to this run, by a flag or an argument."""
    origin = config.current().get("origins", {}).get(name, config.ARGUMENT)
    return value is not None and origin in config.TYPED


def check_device(mixed_precision: str, device: str) -> None:
    """Raises `ProbeError` for float16 on a CPU, where accelerate has no loss scaler."""
    if mixed_precision == "fp16" and device == "cpu":
        raise ProbeError("--mixed-precision fp16: needs a GPU. On a CPU leave it out, or use bf16.")


def _check_name(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ProbeError(f"--{name.replace('_', '-')} {value}: unknown. Use {', '.join(known)}.")
