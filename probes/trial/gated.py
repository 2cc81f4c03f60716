"""The short trial as a part of the gate: three candidate methods raced on the same halves."""

from __future__ import annotations

from ...records import Measured, together
from ..gated import Cost, Effort, Work, part_of

STEPS = 12
STAGES = 3  # dpo, sft, and dpo after the sft that is there already: what a race of one half trains


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """The pairs scored once, and the steps of the race on one half, at the recipe's batch for it."""
    from ...training.shipped import recipe

    asked = min(n, effort.trial * trial_pairs)
    batch = int(recipe("dpo", parameters=None, n=asked // 2)["batch"])
    what = f"three methods raced on half of {asked} pairs, more where that settles nothing; samples"
    return Cost("trial", asked, STAGES * STEPS * min(batch, asked), what)


def measure(work: Work) -> Measured:
    """Short LoRA runs in which every pair is scored before it is trained on."""
    from .options import TrialOptions
    from .run import trial_in

    request = work.request
    pairs = request.effort.trial * request.trial_pairs
    options = TrialOptions(
        methods=("dpo", "sft", "sft+dpo"),
        pairs=pairs,
        most=4 * pairs,
        changes=(("beta", request.beta),),
        alpha=request.alpha,
        seed=request.seed,
        noise=0,
    )
    limit = Measured(details={"reads": [{"probe": "trial", "most": options.most}]})
    return together([part_of(trial_in(work.session, options)), limit])
