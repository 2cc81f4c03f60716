"""How long a trial is, what it races, and with which recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ProbeError
from ...training.behaviour import PROMPTS, SAMPLES
from ...training.methods import METHODS, stages_of
from ...training.recipes import Recipe, recipe

STEPS = 24  # at most three epochs of 64 pairs: the whole run on half of a small file
NOISE_PAIRS = 16
SIDES = {"sft": 1}  # responses of a pair that a step reads; a method that compares reads two


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How long the trial is. `pairs` are drawn by prompt for the first look, `steps` updates bound a stage.

    `methods`: candidates of a race, on the same pairs; empty: `method` alone. `most`: where the first look
    settles nothing, unseen pairs are added until so many are drawn; None: as many as the first draw has.
    `samples` per prompt (0: behaviour is not looked at) of `tokens` tokens (None: as long as most responses)
    on at most `prompts` prompts. `every`: both looks are taken in any case, so that every drawn pair is
    measured. `noise`: pairs whose single gradients are taken for the noise scale; 0: none. Raises
    `ProbeError` for a method that is none, or that a trial cannot judge.
    """

    method: str = "dpo"
    pairs: int = 128
    steps: int = STEPS
    changes: tuple[tuple[str, Any], ...] = ()
    micro_tokens: int = 1024
    alpha: float = 0.05
    seed: int = 0
    methods: tuple[str, ...] = ()
    most: int | None = None
    samples: int = SAMPLES
    tokens: int | None = None
    prompts: int = PROMPTS
    noise: int = NOISE_PAIRS
    every: bool = False

    def __post_init__(self) -> None:
        check_methods(self.candidates)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The methods that are tried, once each; the first is the one that is forecast."""
        return tuple(dict.fromkeys(self.methods or (self.method,)))


def check_methods(methods: Sequence[str]) -> None:
    """Raises `ProbeError` unless every method can be raced: margins need a loss with a reference, or SFT."""
    for method in methods:
        for stage in stages_of(method, "--methods" if len(methods) > 1 else "--method"):
            if not METHODS[stage].reference and stage != "sft":
                raise ProbeError(
                    f"--methods {method}: a trial compares with the starting model, and {stage} is tried by "
                    "none of its measures at a trial's length. Use dpo, sft, sft+dpo or another loss with a "
                    "reference."
                )


def recipes_of(parameters: int | None, method: str, options: TrialOptions, n: int) -> list[Recipe]:
    """The shipped recipe of each stage for a run on `n` pairs, in LoRA, with the options' changes.

    `parameters`: weights of the model, None where not known.
    """
    made = [recipe(stage, parameters, n=n) for stage in stages_of(method)]
    # A learning rate that is asked for is that of the method under trial, not of a stage before it.
    own, shared = dict(options.changes), {k: v for k, v in options.changes if k == "batch"}
    asked_for = method == options.candidates[0]
    last = len(made) - 1
    return [one.with_values(own if i == last and asked_for else shared) for i, one in enumerate(made)]


def schedule(recipes: Sequence[Recipe], pairs: int, most: int) -> list[int]:
    """Steps of each stage: the recipe's own epochs over `pairs`, at most `most`.

    A candidate of two stages takes as many of each as either would alone, as its full run does.
    """
    return [max(1, min(round(one.epochs * -(-pairs // one.batch)), most)) for one in recipes]


def full_rate(one: Recipe, n: int) -> float:
    """Σ of the learning rates of the full run on `n` pairs."""
    steps = one.epochs * -(-n // one.batch)
    return one.learning_rate * steps * (0.5 + 0.5 * one.warmup if one.schedule == "cosine" else 1.0)


def run_cost(stages: Sequence[Recipe], n: int) -> float:
    """Responses that the full run of these stages reads."""
    return sum(one.epochs * n * SIDES.get(one.method, 2) for one in stages)
