"""Hyper-parameters by stage, model size and number of pairs: a table of shipped recipes.

The learning rates that public recipes ship span a factor of 1,000, so each row says where its values come
from. `convention` marks what nobody has measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .methods import method_of

Tuning = Literal["lora", "full"]
BILLION = 10**9


@dataclass(frozen=True, slots=True)
class ShippedRecipe:
    """Values for one stage up to a model size (parameters, inclusive), with their source."""

    stage: str
    tuning: Tuning
    largest: float
    learning_rate: float
    epochs: int
    source: str
    loss: Mapping[str, float] = field(default_factory=dict)


RECIPES: tuple[ShippedRecipe, ...] = (
    ShippedRecipe("sft", "lora", math.inf, 2e-4, 3, "alignment-handbook QLoRA; best epoch kept"),
    ShippedRecipe("sft", "full", 0.4 * BILLION, 1e-3, 3, "alignment-handbook, SmolLM2 up to 360M"),
    ShippedRecipe("sft", "full", math.inf, 2e-5, 2, "alignment-handbook, 7B"),
    ShippedRecipe(
        "dpo",
        "lora",
        0.5 * BILLION,
        5e-5,
        3,
        "measured on SmolLM2-135M-Instruct, 64 pairs (pilot)",
        {"beta": 0.1},
    ),
    ShippedRecipe("dpo", "lora", 3 * BILLION, 1e-5, 3, "convention, between measured and 7B", {"beta": 0.1}),
    ShippedRecipe("dpo", "lora", math.inf, 5e-6, 3, "TRL and LlamaFactory documentation", {"beta": 0.1}),
    ShippedRecipe(
        "dpo", "full", 1.7 * BILLION, 1e-6, 2, "alignment-handbook, SmolLM2 135M to 1.7B", {"beta": 0.5}
    ),
    ShippedRecipe(
        "dpo", "full", math.inf, 5e-7, 1, "TRL documentation; alignment-handbook 7B", {"beta": 0.1}
    ),
)
LORA = {"lora_rank": 16, "lora_alpha": 32}
BATCHES = (8, 16, 32, 64, 128)  # public runs use 128 on 60,000 pairs
STEPS_AN_EPOCH = 16


def shipped_values(stage: str, *, parameters: int | None, n: int, tuning: Tuning = "lora") -> dict[str, Any]:
    """The hyper-parameters of one stage for a model of `parameters` weights and `n` pairs.

    An unknown size counts as 7B: the lower learning rate is the safer guess. The batch is the largest of 8 …
    128 that leaves 16 steps per epoch (convention). `source` says where the values come from.
    """
    row = find(stage, parameters, tuning)
    batch = max((b for b in BATCHES if b * STEPS_AN_EPOCH <= n), default=BATCHES[0])
    steps = max(1, math.ceil(n / batch)) * row.epochs
    return {
        "learning_rate": row.learning_rate,
        **row.loss,
        "epochs": row.epochs,
        "batch": batch,
        "schedule": "cosine",
        "warmup": 0.1,
        "weight_decay": 0.0,
        "clip": 1.0,
        "eval_steps": max(1, round(steps * 0.1)),
        "full": tuning == "full",
        **(LORA if tuning == "lora" else {}),
        "source": row.source,
    }


def find(stage: str, parameters: int | None, tuning: Tuning) -> ShippedRecipe:
    """The row for a stage and size, with what its method changes. Raises `ProbeError` for an unknown one."""
    size, method = parameters or 7 * BILLION, method_of(stage)
    row = next(r for r in RECIPES if (r.stage, r.tuning) == (method.row, tuning) and size <= r.largest)
    if not method.source:
        return row
    given = {**row.loss, **method.values}
    loss = {name: given[name] for name in method.constants}
    rate = max(row.learning_rate, method.least_rate)
    return ShippedRecipe(
        stage, tuning, row.largest, rate, row.epochs, f"{method.source}; rate: {row.source}", loss
    )
