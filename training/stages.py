"""Stages in turn on one model: what a stage leaves is where the next one starts, and its reference."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..errors import CannotMeasure, ProbeError
from ..pairs.record import Pair
from ..scoring.encode import Encoder
from ..scoring.model import LoadedModel
from ..scoring.scores import EncodedSide
from .guard_records import Event
from .loop import Stage
from .methods import UNPAIRED, method_of
from .plan import Material, Options, StageResult
from .policy import trainable_model
from .recipes import Recipe
from .unpaired_stage import UnpairedStage, wanted_alone


@dataclass(frozen=True, slots=True)
class Trained:
    """The tuned model with the weights of its best state, and how each stage went."""

    loaded: LoadedModel
    recipes: tuple[Recipe, ...]
    results: tuple[StageResult, ...]
    weights: Path  # an adapter, or a whole model

    def details(self) -> dict[str, Any]:
        """The `training` section of a run: the log, the guard's events, a row per stage."""
        staged = list(zip(self.recipes, self.results, strict=True))
        several = len(staged) > 1
        return {
            "log_history": [
                {**row, **({"stage": recipe.method} if several else {})}
                for recipe, result in staged
                for row in result.log_history
            ],
            "guard": [
                _event_row(e, recipe.method if several else "")
                for recipe, result in staged
                for e in result.events
            ],
            "stages": [_stage_row(recipe, result) for recipe, result in staged],
            "weights": str(self.weights),
        }


def train_stages(
    loaded: LoadedModel,
    recipes: Sequence[Recipe],
    material: Material,
    options: Options,
    directory: Path,
    *,
    plain: bool = False,
    checkpointing: bool = False,
    fingerprint: dict[str, Any] | None = None,
) -> Trained:
    """Train `loaded` through the stages of `recipes`, one directory each below `directory`.

    The examples of `material` carry the starting model's log-probs. A later stage gets the log-probs of the
    model that the stage before it left, and under mixed precision so does a first one that needs a reference:
    computed anew, by the arithmetic of the policy. Raises `ProbeError` for weights that cannot be trained,
    `CannotMeasure` when a checkpoint cannot be written, `KeyboardInterrupt` after a checkpoint.
    """
    if len({recipe.full for recipe in recipes}) != 1:
        raise ProbeError("stages with and without --full cannot be mixed: one run is LoRA or full.")
    model = loaded.model
    results: list[StageResult] = []
    last: Stage | None = None
    for i, recipe in enumerate(recipes):
        model = trainable_model(model, recipe, seed=options.seed, checkpointing=checkpointing)
        kind = UnpairedStage if recipe.method in UNPAIRED else Stage
        given = wanted_alone(material) if recipe.method == "sft" else material
        stage = kind(
            replace(loaded, model=model), recipe, given, options, directory / f"{i + 1}-{recipe.method}",
            plain=plain, cpu=loaded.device.type == "cpu", fingerprint=fingerprint,
        )  # fmt: skip
        mixed = options.mixed_precision != "no" and method_of(recipe.method).reference
        if last is not None or mixed:
            stage.take_reference()
        results.append(stage.run())
        last = stage
    if last is None:
        raise ProbeError("no stage to train. Use --method sft, dpo, sft+dpo, …")
    if last.accelerator.is_main_process:
        weights = save_weights(replace(loaded, model=model), directory, full=recipes[0].full)
    else:
        weights = directory
    last.accelerator.wait_for_everyone()
    return Trained(replace(loaded, model=model), tuple(recipes), tuple(results), weights)


def save_weights(loaded: LoadedModel, directory: Path, *, full: bool) -> Path:
    """Write the adapter (or, for full tuning, the model) with its tokenizer; whole or not at all."""
    final = directory / ("model" if full else "adapter")
    partial = final.with_name(f".{final.name}.partial")
    model: Any = loaded.model
    try:
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial, safe_serialization=True)
        loaded.tokenizer.save_pretrained(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CannotMeasure(
            f"{final}: cannot be written ({str(error)[:120]}). The checkpoints stand; free some space and go "
            "on with --resume."
        ) from error
    return final


def encoded_texts(texts: Iterable[Pair], encoder: Encoder) -> list[EncodedSide]:
    """The texts of `training.texts.read_texts` as sides to be scored or trained on."""
    return [codes.chosen for codes in encoder.many(list(texts)) if "nothing_left" not in codes.flags]


def _event_row(event: Event, stage: str) -> dict[str, Any]:
    text = f"{stage}: {event.text}" if stage else event.text
    return {"step": event.step, "event": f"{event.action} {event.code}", "text": text}


def _stage_row(recipe: Recipe, result: StageResult) -> dict[str, Any]:
    return {
        "method": recipe.method,
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped": asdict(result.stopped) if result.stopped else None,
        "recipe": recipe.facts(),
    }
