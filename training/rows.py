"""Rows of a trainer's log (`trainer_state.json`, `on_log`) read as what the guard takes, in nats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .guard_records import HeldOut, Step
from .rules import non_finite

SET = re.compile(r"^eval_(?:(.+)_)?loss$")


def numeric_field(row: Mapping[str, Any], key: str) -> float | None:
    """The value under `key` as a float; None when it is absent or no number."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_step(row: Mapping[str, Any], step: int, beta: float = 1.0) -> Step | None:
    """A training row; None for evaluation rows and the summary at the end, which have no `loss`."""
    if "loss" not in row:
        return None
    reward_margin = numeric_field(row, "rewards/margins")
    return Step(
        step=step,
        loss=numeric_field(row, "loss"),
        grad_norm=numeric_field(row, "grad_norm"),
        accuracy=numeric_field(row, "rewards/accuracies"),
        margin=None if reward_margin is None else reward_margin / beta,
        reward_margin=reward_margin,
        bad=non_finite(row),
    )


def held_out_name(row: Mapping[str, Any]) -> str | None:
    """The evaluation set of a row: "" for an only one, its name when there are several; None: no such row."""
    found = next((match for key in row if (match := SET.match(key))), None)
    return None if found is None else found.group(1) or ""


def read_held_out(
    row: Mapping[str, Any], step: int, beta: float = 1.0, *, start_logps: float | None = None,
    means: bool = True,
) -> HeldOut:  # fmt: skip
    """An evaluation row of a trainer that knows no token counts.

    With a reference (`start_logps` None) the change of the chosen side is its reward / β, in nats per
    response, and is given as a share of the reference's log-prob. Without one, the change is counted from
    `start_logps`, those of the first evaluation: in nats/token where they are `means` over tokens, else as
    a share.
    """
    values = unprefixed(row)
    margin, chosen = numeric_field(values, "rewards/margins"), numeric_field(values, "logps/chosen")
    reward = numeric_field(values, "rewards/chosen")
    fall = change = None
    if start_logps is not None and chosen is not None:
        change = chosen - start_logps if means else None
        fall = None if means or not start_logps else (start_logps - chosen) / abs(start_logps)
    elif chosen is not None and reward is not None and chosen != reward / beta:
        fall = -(reward / beta) / abs(chosen - reward / beta)
    return HeldOut(
        step=step,
        loss=numeric_field(values, "loss"),
        accuracy=numeric_field(values, "rewards/accuracies"),
        margin=None if margin is None else margin / beta,
        chosen_change=change,
        chosen_fall=fall,
        bad=non_finite(row),
    )


def unprefixed(row: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation row without `eval_` and the set's name.

    With several sets TRL names the loss after its set, and the rewards of all alike: both forms are read.
    """
    name = held_out_name(row) or ""
    heads = (f"eval_{name}_", "eval_") if name else ("eval_",)
    plain: dict[str, Any] = {}
    for key, value in row.items():
        if head := next((head for head in heads if key.startswith(head)), None):
            plain.setdefault(key.removeprefix(head), value)
    return plain
