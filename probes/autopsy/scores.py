"""A mean reward in a log: that of completions, which judges an online run, or scores of a reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from .rows import Raw, finite_number

MEAN_REWARDS = (
    "rewards", "mean_reward", "reward_mean", "reward/mean", "mean_rewards", "rewards_mean", "rewards/mean",
)  # fmt: skip
OF_A_PAIR = ("rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected")
ONLINE_LOSS = 0.1  # in size: policy losses begin about 0, those of pairs at ln 2


def name_rewards(rows: Sequence[Raw]) -> None:
    """Call a mean reward `reward`, as TRL calls that of completions, except in the log of a reward model.

    A reward model's log has an accuracy or a margin beside it, and the loss of pairs.
    """
    if not any(name.removeprefix("eval_") in MEAN_REWARDS for row in rows for name in row):
        return
    if _of_pairs(rows) and not _starts_at_zero(rows):
        return
    for row in rows:
        for name in [name for name in row if name.removeprefix("eval_") in MEAN_REWARDS]:
            row.setdefault("eval_reward" if name.startswith("eval_") else "reward", row.pop(name))


def _of_pairs(rows: Sequence[Raw]) -> bool:
    return any(
        finite_number(row.get(by + name)) for row in rows for by in ("", "eval_") for name in OF_A_PAIR
    )


def _starts_at_zero(rows: Sequence[Raw]) -> bool:
    """Whether the first losses lie about 0, or there are none: an online run."""
    found = (row.get("loss", row.get("eval_loss")) for row in rows)
    losses = [abs(v) for v in found if v is not None and math.isfinite(v)]
    return median(losses[: max(1, len(losses) // 4)]) < ONLINE_LOSS if losses else True
