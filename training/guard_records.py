"""What the guard takes and gives: rows in nats, limits, events. Plain numbers, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..shared_limits import CHOSEN_SHARE, PERPLEXITY_RATIO, SATURATED

Action = Literal["warn", "stop", "rollback"]


@dataclass(frozen=True, slots=True)
class Event:
    """What the guard saw at a step. `rollback` means: stop, and go back to the best state."""

    step: int
    code: str
    action: Action
    text: str


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Where the rules fire. The starting points are ours unless a rule names its source."""

    chosen_budget: float = 0.5  # nats/token that held-out chosen responses may lose against the reference
    chosen_share: float = CHOSEN_SHARE  # the same as a share of |log p|, where token counts are unknown
    saturated_accuracy: float = SATURATED
    saturated_margin: float = 5.0  # nats; below it the pairs are ranked right by a hair (docs/guard.md)
    top_mass_share: float = 0.8  # of its value before training
    repetition_rise: float = 0.2
    perplexity_ratio: float = PERPLEXITY_RATIO
    patience: int = 3  # evaluations without a new best held-out loss
    thumb_loss: float = 0.3
    thumb_margin: float = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One logged training row. None: the trainer did not say. `margin` in nats, `reward_margin` times β."""

    step: int
    loss: float | None = None
    grad_norm: float | None = None
    accuracy: float | None = None
    margin: float | None = None
    reward_margin: float | None = None
    bad: tuple[str, ...] = ()  # the keys whose values are not finite


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One measurement on held-out pairs.

    `chosen_change` is the mean change of log p(chosen) from the reference in nats/token, `chosen_high` the
    upper end of its 95% interval; `chosen_fall` is the fall as a share of the reference's |log p|. `top_mass`
    and `repetition` are measured on sampled text, `perplexity` on watched texts.
    """

    step: int
    loss: float | None = None
    accuracy: float | None = None
    margin: float | None = None
    chosen_change: float | None = None
    chosen_high: float | None = None
    chosen_fall: float | None = None
    top_mass: float | None = None
    repetition: float | None = None
    perplexity: float | None = None
    bad: tuple[str, ...] = ()
