"""The short trial as a part of the gate: three candidate methods raced on the same halves."""

from __future__ import annotations

from ...records import Measured
from ..gated import Cost, Work, part_of

STEPS, NOISE_PAIRS = 24, 16
RACE = 5  # steps on both sides of a batch that three methods make at most, over both halves, per step of one


def cost(n: int, trial_pairs: int) -> Cost:
    """The pairs scored once, and the steps of the race, at the batch that the recipe has for a half."""
    from ...training.shipped import recipe

    asked = min(n, trial_pairs)
    batch = int(recipe("dpo", parameters=None, n=asked // 2)["batch"])
    steps = RACE * STEPS * min(batch, asked) + min(asked, NOISE_PAIRS)
    what = f"three methods raced on halves of {asked} pairs, up to {STEPS} steps each, and samples"
    return Cost("trial", asked, steps, what)


def measure(work: Work) -> Measured:
    """Short LoRA runs in which every pair is scored before it is trained on."""
    from .run import TrialOptions, trial_in

    request = work.request
    options = TrialOptions(
        methods=("dpo", "sft", "sft+dpo"),
        pairs=request.trial_pairs,
        most=4 * request.trial_pairs,
        changes=(("beta", request.beta),),
        alpha=request.alpha,
        seed=request.seed,
    )
    return part_of(trial_in(work.session, options))
