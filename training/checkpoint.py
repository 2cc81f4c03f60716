"""Checkpoints that are either whole or not there: trainable weights, optimizer, schedule, random states, log.

accelerate writes the state of whatever it prepared (sharded too); only the trainable weights are stored where
they are not sharded, so that a LoRA checkpoint is as small as its adapter.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import CannotMeasure, ProbeError

SHARDED_TYPES = frozenset({DistributedType.FSDP, DistributedType.DEEPSPEED})
TRAINABLE_FILE, PROGRESS = "trainable.safetensors", "progress.json"


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only a part of the weights."""
    return accelerator.distributed_type in SHARDED_TYPES


def keep_trainable_only(accelerator: Accelerator) -> None:
    """Make `accelerator` save and load trainable weights instead of whole models. Not for sharded runs."""
    if is_sharded(accelerator):
        return

    def save(models: list[torch.nn.Module], weights: list[Any], directory: str) -> None:
        weights.clear()
        if accelerator.is_main_process:
            save_file(
                trainable_weights(accelerator.unwrap_model(models[0])), Path(directory) / TRAINABLE_FILE
            )

    def load(models: list[torch.nn.Module], directory: str) -> None:
        put_weights(accelerator.unwrap_model(models.pop()), load_file(Path(directory) / TRAINABLE_FILE))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def trainable_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable weights by name, on the CPU."""
    return {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}


def put_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy weights into the parameters of the same names. Raises `ProbeError` when the names differ."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if own.keys() != weights.keys():
        raise ProbeError("the checkpoint has other weights than this model. Give the options of its run.")
    with torch.no_grad():
        for name, weight in weights.items():
            own[name].copy_(weight)


def save_checkpoint(accelerator: Accelerator, directory: Path, step: int, progress: dict[str, Any]) -> Path:
    """Write `directory/checkpoint-STEP`; until it is whole it has another name.

    Raises `CannotMeasure` when the disk is full or the place cannot be written; earlier checkpoints stay.
    """
    final, partial = directory / f"checkpoint-{step}", directory / f".checkpoint-{step}.partial"
    replaced = directory / f".checkpoint-{step}.replaced"
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (partial / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
            shutil.rmtree(replaced, ignore_errors=True)
            if final.exists():  # renamed, since one that is half deleted would be taken for a whole one
                final.rename(replaced)
            partial.rename(final)
            shutil.rmtree(replaced, ignore_errors=True)
        accelerator.wait_for_everyone()
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        last = latest_checkpoint(directory)
        kept = f"{last.name} stands" if last else "there is no earlier checkpoint"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotMeasure(
            f"{final}: cannot be written ({reason[:120]}); {kept}. Free some space and go on with --resume."
        ) from error
    return final


def load_checkpoint(accelerator: Accelerator, path: Path) -> dict[str, Any]:
    """Restore the prepared objects from a checkpoint; returns its progress record."""
    progress = read_progress(path)
    accelerator.load_state(str(path))
    return progress


def read_progress(path: Path) -> dict[str, Any]:
    """The progress record of a checkpoint. Raises `ProbeError` when it is damaged."""
    try:
        progress: dict[str, Any] = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProbeError(f"{path}: not a checkpoint of probe ({error}). Delete it and run again.") from error
    return progress


def latest_checkpoint(directory: Path) -> Path | None:
    """The checkpoint with the most steps, or None."""
    found = [path for path in directory.glob("checkpoint-*") if (path / PROGRESS).exists()]
    return max(found, key=_step, default=None)


def prune(directory: Path, keep: Iterable[int]) -> None:
    """Delete the checkpoints of all other steps."""
    kept = set(keep)
    for path in directory.glob("checkpoint-*"):
        if _step(path) not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _step(path: Path) -> int:
    number = path.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1
