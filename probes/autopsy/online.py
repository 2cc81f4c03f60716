"""Online methods (GRPO, PPO): the reward says what happened; the loss starts at 0 and means little."""

from __future__ import annotations

import math
from statistics import fmean

from .case import Case, Sign
from .curve import Curve, curve_of, surely_changed

NEXT_COLLAPSE = (
    "Take the last checkpoint before that place; repeat with the learning rate divided by 3 to 10 and a "
    "larger KL weight; read completions from before and after."
)
BACK = 4.0
SILENT = 0.8
CLIPPED = 0.8
# TRL's name of a column first, then verl's.
CLIPPED_NAMES = ("completions/clipped_ratio", "response_length/clip_ratio")
LENGTH_NAMES = ("completions/mean_length", "response_length/mean")


def reward_curve(case: Case) -> Curve:
    """The mean reward of the completions; of a PPO log the scores of its reward model."""
    found = (case.curve(name) for name in ("reward", "objective/scores", "objective/rlhf_reward"))
    return next((curve for curve in found if len(curve)), Curve("reward"))


def reward_collapse(case: Case) -> Sign | None:
    """A reward that fell back: by more than four standard errors, and by half of the gain (or a fifth).

    The best stretch is the highest of many: by three standard errors pure noise falls back in one run of 20.
    """
    reward = reward_curve(case)
    k = reward.window(5)
    if len(reward) < 10:
        return None
    start, end = reward.values[:k], reward.values[-k:]
    best = max((reward.values[i : i + k] for i in range(len(reward) - k + 1)), key=fmean)
    fall = fmean(best) - fmean(end)
    gain = max(fmean(best) - fmean(start), 0.4 * abs(fmean(best)))
    if fall <= BACK * math.sqrt((_variance(best) + _variance(end)) / k) or fall < 0.5 * gain:
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
    silent = _silence(case)
    if silent is None:
        return None
    share = fmean(silent.values)
    if share == 1.0 and surely_changed(reward_curve(case)):
        return None  # a spread that is not logged: without one in any group no reward moves
    if silent.name == "frac_reward_zero_std":
        return share, f"frac_reward_zero_std {share:.2f} in the mean"
    return share, f"{silent.name} in {sum(silent.values):.0f} of {len(silent)} entries"


def _silence(case: Case) -> Curve | None:
    """The share of groups without variance by entry; the name says how it is known."""
    if case.method.family != "online":
        return None
    fraction = curve_of(case.log.train, "frac_reward_zero_std")
    if len(fraction) >= 2:
        return fraction
    spread = curve_of(case.log.train, "reward_std")
    if len(spread) < 2:
        return _one_value(case)
    return Curve("reward_std exactly 0", spread.steps, tuple(float(v == 0.0) for v in spread.values))


def _one_value(case: Case) -> Curve | None:
    """Of a log with the highest and the lowest reward of a batch: whether the two are one."""
    for name in ("critic/rewards", "critic/score"):
        both = [r for r in case.log.train if {f"{name}/max", f"{name}/min"} <= r.keys()]
        if len(both) >= 2:
            equal = tuple(float(r[f"{name}/max"] == r[f"{name}/min"]) for r in both)
            return Curve(f"{name}/max equals {name}/min", tuple(r["step"] for r in both), equal)
    return None


def idle_groups(case: Case) -> Sign | None:
    """The main sign of an online run whose rewards do not differ within a group."""
    tag = no_signal(case)
    if tag is None or (silent_share(case) or (0.0,))[0] < SILENT:
        return None  # groups that lost their variance late have taught something before
    text = tag.evidence + ": no advantage, no gradient"
    return Sign("stuck", "PB853", tag.since_step, text, tag.next, tag.confidence)


def no_signal(case: Case) -> Sign | None:
    """The tag of an online run without a learning signal, or None.

    PB872 no learning signal: in at least {SILENT:.0%} of the groups every completion got the same reward.

    Means: the advantage is reward minus group mean, so a group without variance gives no gradient; what
    loss is left is the KL term. The tasks are too hard (all fail), too easy (all succeed), or the reward
    function is broken or cannot read the completions. Judged of the whole run, and of its last fifth: groups
    that lose their variance late were solved, or the policy writes one text. Late silence at the highest
    reward of the run is a task that is done, and no sign.
    Why: the run takes the time of generation and learns nothing.
    Do: read ten completions with their rewards; choose prompts that the model solves sometimes; raise the
    number of generations and the temperature; allow longer completions where they are cut.
    Source: Shao et al. 2024 (GRPO), eq. 3; Yu et al. 2025 (DAPO), dynamic sampling.
    """
    found, silent = silent_share(case), _silence(case)
    if found is None or silent is None or max(found[0], silent.last(5)) < SILENT:
        return None
    reward = reward_curve(case)
    shown = f", reward {reward.last_median(5):.4g} (median of the last fifth)" if len(reward) else ""
    advice = (
        "Read ten completions with their rewards: are the tasks too hard or too easy, or can the reward not "
        "parse the answers? Use prompts that are solved sometimes, more generations per prompt, or a higher "
        "temperature."
    )
    if found[0] < SILENT and reward.last_median(5) >= max(reward.values, default=math.inf):
        return None  # the highest reward, and every group has it: the tasks are solved
    if found[0] >= SILENT:
        return Sign("no_signal", "PB872", case.log.rows[0]["step"], found[1] + shown, advice, "certain")
    ends = f"a mean of {silent.first(5):.2f} in the first fifth, {silent.last(5):.2f} in the last"
    text = f"{silent.name}: {ends}"
    return Sign("no_signal", "PB872", _since(silent, SILENT), text + shown, NEXT_SPENT, "certain")


NEXT_SPENT = (
    "The groups had variance at first and have none now: read ten completions of the end. Solved tasks need "
    "harder prompts, or the run may stop there; completions that are all alike need a higher temperature or "
    "an earlier checkpoint."
)


def _since(curve: Curve, limit: float) -> float:
    return curve.since(lambda v: v >= limit, 5)


def clipped(case: Case) -> Sign | None:
    """The tag of completions that are cut off, or None.

    PB873 clipped completions: at least {CLIPPED:.0%} of the completions end at the length limit.

    Means: max_completion_length cuts the answer before it is given, or the model never ends its turn.
    Judged of the whole run, and of its last fifth: where the share rose, the policy has learned to go on.
    Why: a reward that looks for the answer cannot find it; every group fails alike.
    Do: raise max_completion_length, check the end-of-turn token, or ask for shorter answers.
    Source: TRL's `completions/clipped_ratio`.
    """
    ratio = first_logged(case, CLIPPED_NAMES)
    if len(ratio) < 2 or max(fmean(ratio.values), ratio.last(5)) < CLIPPED:
        return None
    text = f"{ratio.name} {fmean(ratio.values):.2f} in the mean of {len(ratio)} entries"
    if fmean(ratio.values) >= CLIPPED:
        advice = "Raise max_completion_length, or check that the model ends its turn (end token, template)."
        return Sign("clipped", "PB873", ratio.steps[0], text, advice, "certain")
    text = f"mean {ratio.name} {ratio.first(5):.2f} in the first fifth, {ratio.last(5):.2f} in the last"
    length = first_logged(case, LENGTH_NAMES)
    text += f"; mean {length.name} {length.first(5):.4g} and {length.last(5):.4g}" if len(length) else ""
    return Sign("clipped", "PB873", _since(ratio, CLIPPED), text, NEXT_GROWN, "certain")


NEXT_GROWN = (
    "Read completions of the end: if they repeat or wander, take a checkpoint from before that place and "
    "make the reward indifferent to length or let it punish what is cut; if they reason on, raise "
    "max_completion_length."
)


def first_logged(case: Case, names: tuple[str, ...]) -> Curve:
    """The first of several columns of training that holds numbers; an empty curve where none does."""
    found = (curve_of(case.log.train, name) for name in names)
    return next((curve for curve in found if len(curve)), Curve(names[0]))
