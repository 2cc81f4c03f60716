"""The sign of a log in which no rule fired: what it shows, and what it cannot show."""

from __future__ import annotations

from statistics import median

from ...number_format import number
from .case import Case, Confidence, Sign
from .curve import Curve, curve_of, risen
from .diverged import SPIKE
from .heldout import held_out_doubts, quoted
from .log import Log
from .online import reward_curve
from .rows import finite_number
from .rules import chosen_fell_unranked, low_from_the_start
from .stuck import perhaps_chance

NOTHING_TO_MEND = "The curves show nothing that needs to be corrected."
NEXT_FEW_ENTRIES = "These entries are too few to judge the run by."
NEXT_UNSEEN = (
    "Evaluate on held-out texts three times a run or more: a training loss alone cannot tell learning from "
    "memorising."
)
NEXT_UNREAD = "Look at what the log does not show: it may be what went wrong."
NEXT_EARLY = (
    "If the run goes on, read its log again when it is over: over-fitting, saturation and most divergence "
    "come later. If it was stopped, the steps that are missing cannot be judged."
)
NEXT_BROKEN_OFF = (
    "Mend what the error says and go on from the last checkpoint; the steps that are missing cannot be "
    "judged. Where memory ran out: a smaller batch with more accumulation, a smaller max_length, gradient "
    "checkpointing, or the reference's log-probs computed beforehand (`probe reference`)."
)
NEXT_BEGUN_AGAIN = (
    "See whether the run was resumed there without its weights (an adapter that was not loaded), or whether "
    "its reference was replaced by the policy, as TR-DPO and rounds of DPO do. In the first case what was "
    "learned before is lost: repeat from the last checkpoint."
)
NEXT_HELD_OUT = (
    "The evaluations do not bear out what training shows: take the checkpoint of the best one, and evaluate "
    "three times a run or more on some hundred held-out examples before trusting the last weights."
)
NEXT_REWARD = (
    "Evaluate the first and the last checkpoint on the same prompts: the training reward does not show that "
    "the policy got better. A longer run, a higher learning rate or prompts that are solved sometimes may "
    "help."
)
NEXT_LOW = (
    "Log what tells the method and its success: the reward of an online run, an accuracy or a held-out loss; "
    "and count the tokens that the loss is taken of."
)
NEXT_RANKS = (
    "Log the loss, rewards/accuracies and rewards/margins beside the log-probs, in training and three times "
    "a run on held-out pairs; and sample from the model to see what it writes."
)
FEW_ENTRIES = 5
REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins")
WELL_LEARNED = 0.1  # nats of reward before, in each of the last entries
OF_BEFORE = 0.1  # of the rewards before are left
STEADY = 0.5  # of the largest reward before is the least of them, and of the least the next at most
SHORT_OF = 0.9  # of the planned steps: a log that ends before is of a run that was stopped, or still runs
TOO_EARLY = 0.5  # of the planned steps: before it no curve says what the run comes to


def healthy(case: Case) -> Sign:
    """The sign of a log in which no rule fired: what moved, from where to where, and what it cannot show.

    What the evaluations said is quoted; where it does not bear out the training, the sign cannot tell.
    """
    said = "; ".join([_moved(case), *quoted(case)])
    curves = (*map(case.curve, ("loss", "rewards/margins", "logps/chosen")), reward_curve(case))
    longest = max(map(len, curves))
    early, held_out = short_of_plan(case.log, TOO_EARLY), "; ".join(held_out_doubts(case))
    idle, low = no_gain(case), low_from_the_start(case)
    bare = "" if _curves(case) else "no loss, accuracy, margin or reward of completions is logged"
    fell = chosen_fell_unranked(case)
    broken, again = broke_off(case.log), begun_again(case)
    found = (
        case.log.unread,
        early,
        perhaps_chance(case),
        "" if early else broken,
        again,
        late_gradient(case),
        unseen_fit(case),
        held_out,
        idle,
        low,
        bare,
        fell,
    )
    doubts = [*filter(None, found)]
    if doubts:
        advice = (
            (again, NEXT_BEGUN_AGAIN), (memorises(case), NEXT_UNSEEN), (held_out, NEXT_HELD_OUT),
            (broken, NEXT_BROKEN_OFF), (early, NEXT_EARLY),
            (idle, NEXT_REWARD), (low, NEXT_LOW),
            (fell or (bare and case.log.has("logps/chosen")), NEXT_RANKS), (bare, NEXT_LOW),
        )  # fmt: skip
        what = next((text for holds, text in advice if holds), NEXT_UNREAD)
        return Sign("healthy", "", None, f"no rule fired: {'; '.join([said, *doubts])}", what, "cannot tell")
    few = longest < FEW_ENTRIES
    sure: Confidence = "cannot tell" if few else "likely"
    return Sign(
        "healthy", "", None, f"no rule fired: {said}", NEXT_FEW_ENTRIES if few else NOTHING_TO_MEND, sure
    )


def _curves(case: Case) -> list[Curve]:
    """What can show that a run learns."""
    curves = (*map(case.curve, ("loss", "rewards/accuracies", "rewards/margins")), reward_curve(case))
    return [line for line in curves if len(line) > 1]


def _moved(case: Case) -> str:
    moved = [
        f"{line.name.removeprefix('rewards/')} {line.first(10):.4g} to {line.last(10):.4g}"
        for line in _curves(case) or [case.curve("logps/chosen")]
        if len(line) > 1
    ]
    return ", ".join(moved) + " (means of the first and the last tenth)" if moved else "too little was logged"


def no_gain(case: Case) -> str:
    """That the reward of an online run did not rise beyond its own noise; else, and without a reward, ""."""
    reward = reward_curve(case)
    if case.method.family != "online" or len(reward) < FEW_ENTRIES or risen(reward):
        return ""
    return (
        f"the mean reward of the last tenth, {reward.last(10):.4g}, is not above that of the first, "
        f"{reward.first(10):.4g}, by more than its noise"
    )


def short_of_plan(log: Log, share: float) -> str:
    """That the log ends before `share` of the steps, or else the epochs, that its settings name."""
    name, planned = ("step", log.hints.max_steps) if log.hints.max_steps else ("epoch", log.hints.epochs)
    last = max((row.get(name, 0.0) for row in log.rows if finite_number(row.get(name))), default=0.0)
    if not planned or last <= 0.0 or (name == "step" and log.unit != "step") or last >= share * planned:
        return ""
    return (
        f"the log ends at {name} {number(last)} of {number(planned)} that were planned ({last / planned:.0%})"
    )


def broke_off(log: Log) -> str:
    """That the log ends in an error, in the log's words; "" where it does not, or reached its last step."""
    whole = bool(log.hints.max_steps) and log.unit == "step" and not short_of_plan(log, 1.0)
    return f"the log ends in an error: {log.hints.ended}" if log.hints.ended and not whole else ""


def begun_again(case: Case) -> str:
    """That the policy of a DPO run is its reference again: both rewards fell back to about 0 at once."""
    if case.method.family != "reference":
        return ""
    rows = [row for row in case.log.train if all(finite_number(row.get(name)) for name in REWARDS)]
    sizes = [max(abs(row[name]) for name in REWARDS) for row in rows]
    for at in range(FEW_ENTRIES, len(rows) - 1):
        before = sizes[at - FEW_ENTRIES : at]
        least = min(before)
        # Rewards of a pair or two an entry are near 0 now and then: those before must be steady.
        steady = least > max(WELL_LEARNED, STEADY * max(before))
        if steady and sizes[at] < OF_BEFORE * least and sizes[at + 1] < STEADY * least:
            fell = f"both rewards are back at about 0 at {case.at(rows[at]['step'])}, from {before[-1]:.3g}"
            return f"{fell}: the policy is its reference again"
    return ""


def late_gradient(case: Case) -> str:
    """That the last gradient was out of all proportion: no later entry says what it did to the weights."""
    norms = case.curve("grad_norm").values
    usual = median(norms) if norms else 0.0
    if len(norms) < FEW_ENTRIES or not norms[-1] > SPIKE * usual > 0.0:
        return ""
    return (
        f"the last gradient norm is {norms[-1] / usual:.3g} times the median, and nothing is logged after it"
    )


def unseen_fit(case: Case) -> str:
    """That a supervised run may have over-fitted and no evaluation would show it; else ""."""
    return "no held-out loss, so that over-fitting cannot be told from learning" if memorises(case) else ""


def memorises(case: Case) -> bool:
    """Whether a supervised run may have over-fitted unseen: no evaluation, half the loss gone or epoch 3."""
    if case.method.family != "supervised" or any(case.log.evals.values()):
        return False
    loss = case.curve("loss")
    epochs = max(curve_of(case.log.train, "epoch").values, default=0.0)
    return len(loss) > 1 and (loss.last(10) < 0.5 * loss.values[0] or epochs > 3.0)
