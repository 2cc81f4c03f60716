"""The first step of a trainer's own run, on its own weights and rows, before the trainer makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...records import Measured
from ...scoring.scores import EncodedPair, EncodedSide
from ...training.methods import METHODS
from ..numerics.first_step import first_step_in_place
from ..numerics.judge import judge_numerics
from .read import ROWS_SEEN, first_rows, plan_of, response_sides


def step_of(trainer: Any) -> Measured | None:
    """What one update of the trainer's method on its first pairs shows; it changes the trained weights.

    None where there is no such step to try: the loss of the method is not known here (CPO, a reward model),
    or the rows hold no token ids of pairs. Memory: as the trainer's own step at a batch of one pair without
    gradient checkpointing; where that is more than there is, `torch.OutOfMemoryError`.
    """
    plan = plan_of(trainer)
    length = getattr(trainer.args, "max_length", None)
    pairs = [pair for i, row in enumerate(first_rows(trainer, ROWS_SEEN)) if (pair := _pair(i, row, length))]
    if plan.method not in METHODS or not pairs:
        return None
    step = first_step_in_place(trainer.model, pairs, plan, trainer.accelerator.autocast)
    return judge_numerics(plan, step)


def _pair(index: int, row: Mapping[str, Any], max_length: int | None) -> EncodedPair | None:
    """The pair of a processed row: DPOTrainer's ids of prompt and responses, or ORPOTrainer's whole sides."""
    if "chosen_labels" in row:
        sides = [
            _labelled(row[f"{side}_input_ids"], row[f"{side}_labels"]) for side in ("chosen", "rejected")
        ]
    elif "chosen_ids" in row:
        sides = response_sides(row, max_length)
    else:
        return None
    chosen, rejected = sides
    return EncodedPair(f"row-{index + 1}", chosen, rejected)


def _labelled(ids: list[int], labels: list[int]) -> EncodedSide:
    """A side by its labels: what stands before the first that counts is the prompt."""
    counted = [i for i, label in enumerate(labels) if label != -100]
    ids = ids[: counted[-1] + 1] if counted else ids  # behind it stands padding
    return EncodedSide(tuple(ids), max(1, counted[0]) if counted else len(ids), 0)
