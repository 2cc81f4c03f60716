"""The short trial as a part of the gate: three candidate methods raced on the same halves."""

from __future__ import annotations

from ...records import Measured, together
from ..gated import Cost, Effort, Work, part_of

MOST_STEPS, FEWEST = 24, 8  # the first as `probe trial` has it
TOKENS = 60_000  # of the race's steps on one half: long pairs take fewer steps, no fewer than `FEWEST`
LENGTH_SAMPLE = 64  # pairs whose length is looked at for it
MOST_PROMPTS = 192  # asked at most, by a second look at a large file (bench/power.py); a first look asks 64
RACE_STAGES = 3  # dpo, sft, and dpo after the sft that is there already: what a race of one half trains


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """The pairs scored once, and the steps of the race on one half, at the recipe's batch for it."""
    from ...training.shipped import shipped_values

    asked = min(n, effort.trial * trial_pairs)
    recipe = shipped_values("dpo", parameters=None, n=asked // 2)
    trained = min(MOST_STEPS * int(recipe["batch"]), int(recipe["epochs"] * (asked // 2)))
    what = f"three methods raced on half of {asked} pairs, more where that settles nothing; samples"
    return Cost("trial", asked, RACE_STAGES * trained, what)


def affordable(tokens: float, batch: int) -> int:
    """Steps of a stage for pairs of so many distinct tokens on average."""
    return max(FEWEST, min(MOST_STEPS, int(TOKENS / (RACE_STAGES * batch * max(tokens, 1.0)))))


def _steps(work: Work, pairs: int) -> int:
    """Steps of a stage on this file; with `--thorough` all of them."""
    from ...training.data import examples, pair_cost
    from ...training.shipped import shipped_values

    session = work.session
    some = examples(session.survey.first[:LENGTH_SAMPLE], session.encoder)
    if not some or work.request.effort.trial > 1:
        return MOST_STEPS
    batch = int(shipped_values("dpo", parameters=None, n=min(session.survey.n, pairs) // 2)["batch"])
    return affordable(sum(map(pair_cost, some)) / len(some), batch)


def measure(work: Work) -> Measured:
    """Short LoRA runs in which every pair is scored before it is trained on."""
    from .options import TrialOptions
    from .run import pairs_trained, trial_in

    request = work.request
    work.session.let_half_go()  # its memory: the trial's own arithmetic has copies of the weights too
    pairs = request.effort.trial * request.trial_pairs
    options = TrialOptions(
        steps=_steps(work, pairs),
        methods=("dpo", "sft", "sft+dpo"),
        pairs=pairs,
        most=4 * pairs,
        prompts=MOST_PROMPTS,
        changes=(("beta", request.beta),),
        alpha=request.alpha,
        seed=request.seed,
        noise=0,
    )
    unseen = 4 * pairs - pairs_trained(options)
    most = {"trial": options.most, "trial_accuracy": unseen, "behaviour_up": options.prompts}
    limit = Measured(details={"reads": [{"probe": name, "most": n} for name, n in most.items()]})
    return together([part_of(trial_in(work.session, options)), limit])
