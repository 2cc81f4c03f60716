"""Online methods (GRPO, PPO): the reward says what happened; the loss starts at 0 and means little."""

from __future__ import annotations

import math
from statistics import fmean

from .case import Case, Sign
from .curve import curve_of

NEXT_COLLAPSE = (
    "Take the last checkpoint before that place; repeat with the learning rate divided by 3 to 10 and a "
    "larger KL weight; read completions from before and after."
)
SILENT = 0.8
CLIPPED = 0.8


def reward_collapse(case: Case) -> Sign | None:
    """A reward that fell back: by more than three standard errors, and by half of the gain (or a fifth)."""
    reward = case.curve("reward")
    k = reward.window(5)
    if len(reward) < 10:
        return None
    start, end = reward.values[:k], reward.values[-k:]
    best = max((reward.values[i : i + k] for i in range(len(reward) - k + 1)), key=fmean)
    fall = fmean(best) - fmean(end)
    gain = max(fmean(best) - fmean(start), 0.4 * abs(fmean(best)))
    if fall <= 3.0 * math.sqrt((_variance(best) + _variance(end)) / k) or fall < 0.5 * gain:
        return None
    limit = fmean(best) - 0.5 * gain
    since = reward.since(lambda v: v < limit, 5)
    text = f"mean reward {fmean(start):.4g} at first, {fmean(best):.4g} at best, {fmean(end):.4g} at last"
    return Sign("diverged", "PB852", since, text, NEXT_COLLAPSE)


def _variance(values: tuple[float, ...]) -> float:
    mean = fmean(values)
    return sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)


def silent_share(case: Case) -> tuple[float, str] | None:
    """The share of groups without variance, and the words for it; None where the log does not show it."""
    if case.method.family != "online":
        return None
    fraction = curve_of(case.log.train, "frac_reward_zero_std")
    if len(fraction) >= 2:
        return fmean(fraction.values), f"frac_reward_zero_std {fmean(fraction.values):.2f} in the mean"
    spread = curve_of(case.log.train, "reward_std")
    if len(spread) < 2:
        return _one_value(case)
    zeros = sum(v == 0.0 for v in spread.values)
    return zeros / len(spread), f"reward_std exactly 0 in {zeros} of {len(spread)} entries"


def _one_value(case: Case) -> tuple[float, str] | None:
    """Of a log with the highest and the lowest reward of a batch: how often the two are one."""
    for name in ("critic/rewards", "critic/score"):
        both = [r for r in case.log.train if {f"{name}/max", f"{name}/min"} <= r.keys()]
        equal = sum(r[f"{name}/max"] == r[f"{name}/min"] for r in both)
        if len(both) >= 2:
            return equal / len(both), f"{name}/max equals {name}/min in {equal} of {len(both)} entries"
    return None


def idle_groups(case: Case) -> Sign | None:
    """The main sign of an online run whose rewards do not differ within a group."""
    tag = no_signal(case)
    if tag is None:
        return None
    text = tag.evidence + ": no advantage, no gradient"
    return Sign("stuck", "PB853", tag.since_step, text, tag.next, tag.confidence)


def no_signal(case: Case) -> Sign | None:
    """The tag of an online run without a learning signal, or None.

    PB872 no learning signal: in at least {SILENT:.0%} of the groups every completion got the same reward.

    Means: the advantage is reward minus group mean, so a group without variance gives no gradient; what
    loss is left is the KL term. The tasks are too hard (all fail), too easy (all succeed), or the reward
    function is broken or cannot read the completions.
    Why: the run takes the time of generation and learns nothing.
    Do: read ten completions with their rewards; choose prompts that the model solves sometimes; raise the
    number of generations and the temperature; allow longer completions where they are cut.
    Source: Shao et al. 2024 (GRPO), eq. 3; Yu et al. 2025 (DAPO), dynamic sampling.
    """
    found = silent_share(case)
    if found is None or found[0] < SILENT:
        return None
    reward = case.curve("reward")
    shown = f", reward {reward.last_median(5):.4g} (median of the last fifth)" if len(reward) else ""
    advice = (
        "Read ten completions with their rewards: are the tasks too hard or too easy, or can the reward not "
        "parse the answers? Use prompts that are solved sometimes, more generations per prompt, or a higher "
        "temperature."
    )
    return Sign("no_signal", "PB872", case.log.rows[0]["step"], found[1] + shown, advice, "certain")


def clipped(case: Case) -> Sign | None:
    """The tag of completions that are cut off, or None.

    PB873 clipped completions: at least {CLIPPED:.0%} of the completions end at the length limit.

    Means: max_completion_length cuts the answer before it is given, or the model never ends its turn.
    Why: a reward that looks for the answer cannot find it; every group fails alike.
    Do: raise max_completion_length, check the end-of-turn token, or ask for shorter answers.
    Source: TRL's `completions/clipped_ratio`.
    """
    ratio = curve_of(case.log.train, "completions/clipped_ratio")
    if len(ratio) < 2 or fmean(ratio.values) < CLIPPED:
        return None
    text = f"completions/clipped_ratio {fmean(ratio.values):.2f} in the mean of {len(ratio)} entries"
    advice = "Raise max_completion_length, or check that the model ends its turn (end token, template)."
    return Sign("clipped", "PB873", ratio.steps[0], text, advice, "certain")
