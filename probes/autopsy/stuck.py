"""The rule for runs that learned nothing: still at the start, no better than a coin, or without a loss."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, stdev

from ...shared_limits import CHANCE, LOW
from ...training.methods import LN2
from .case import Case, Sign
from .causes import unexplained
from .curve import Curve, curve_of, risen
from .diverged import ZERO
from .online import idle_groups
from .zeros import unexplained_zeros

IDLE = 0.01  # nats from ln 2
NEAR_IDLE = IDLE / LN2  # for other losses the same share of their own start
HIGH = 0.55  # accuracies from `LOW` to here are near chance
NEVER_TRAINED = 0.9  # share of entries whose loss is 0
BETTER = 1.1
CLEARLY = 0.6  # an accuracy that rose beyond it is not chance
UNMOVED = 0.98  # of the loss of a policy that learned nothing
FEWEST_FOR_A_RISE = 10  # entries in which a rise is told from noise


def stuck(case: Case) -> Sign | None:
    """The sign of a run that has learned nothing, or None.

    PB853 stuck: the loss is that of a policy that learns nothing, or the accuracy is at chance or below.

    Means: every loss lies within {IDLE} of ln 2 (for another loss function: as near to its own start, and the
    accuracy has not risen), and neither accuracies nor margins rise, as they do under a small β whose loss
    hardly moves; or the mean accuracy of the last fifth is between {LOW} and {HIGH}, and that of the last
    four fifths no higher, while the loss is no better than guessing gives; or against a reference the run was
    below chance from beginning to end; or the loss is 0 from the first entry, which is no training. Online:
    no group of completions with variance. Where an SFT term is mixed in (ORPO, MPO), the loss may fall
    meanwhile.
    Why: chosen equal or nearly equal to rejected, β or the learning rate too small, adapter weights without
    gradient and labels that are noise all look like this.
    Do: look at grad_norm and the learning rate first, then run `probe data` and `probe trial` on the pairs.
    Source: design rule; OpenRLHF issue 364 and TRL issues 1311 and 1627 for causes.
    """
    if case.method.family == "online":
        return idle_groups(case)
    return _nothing(case) or _idle(case) or _coin(case) or _worse(case)


NEXT_NOTHING = (
    "Count the labels that are not masked (-100) in a batch, and run it in float32: either every label is "
    "masked or float16 overflows and the NaN filter shows 0. Log with logging_nan_inf_filter=False."
)
NEXT_WORSE = (
    "Look for swapped sides in a few pairs and for a reference that is not the starting policy; `probe bias` "
    "shows what the model prefers before any training."
)


def _nothing(case: Case) -> Sign | None:
    """A loss of exactly 0 from the first entry on."""
    zeros, rows = unexplained_zeros(case)
    if len(zeros) < 2 or len(zeros) < NEVER_TRAINED * len(rows) or rows[0]["loss"] != 0.0:
        return None
    since = case.at(zeros[0]["step"])
    zero = case.log.zero("loss")
    text = f"loss {zero} in {len(zeros)} of {len(rows)} entries, from {since} on: never trained"
    return Sign("stuck", "PB853", zeros[0]["step"], text, NEXT_NOTHING)


def _idle(case: Case) -> Sign | None:
    loss, idle = case.curve("loss"), case.method.idle
    near = NEAR_IDLE * (
        2.0 if case.method.accumulated_batches > 1 else 1.0
    )  # a sum is logged to fewer digits
    if idle is None or not len(loss) or any(abs(v - idle) > near * idle for v in loss.values):
        return None
    # The scale of other losses says less about what was learned.
    if _learns(case) or (not case.method.sigmoid and case.curve("rewards/accuracies").last(5) > HIGH):
        return None
    named = "ln 2" if idle == LN2 else f"{idle:.4g}, its value at margin 0"
    derived = ", derived" if case.method.accumulated_batches > 1 else ""
    divided = (
        f", divided by {case.method.accumulated_batches}," if case.method.accumulated_batches > 1 else ""
    )
    text = f"all {len(loss)} losses{divided} within {near * idle:.2g} of {named} ({_span(loss)}{derived})"
    return Sign("stuck", "PB853", loss.steps[0], text, unexplained(case), "certain")


def _learns(case: Case) -> bool:
    """Whether accuracies or margins rise though the loss hardly moves, as under a small β.

    The loss falls by β times what a policy learns; an accuracy does not know β.
    """
    loss = case.curve("loss")
    if not loss.last(5) < loss.first(5):
        return False
    accuracy, margin = (curve_of(case.log.train, f"rewards/{name}") for name in ("accuracies", "margins"))
    rose = len(margin) >= FEWEST_FOR_A_RISE and margin.last(5) > 0.0 and risen(margin)
    # An accuracy may be there from the first update on, and only the margins rise from then.
    if len(accuracy) >= FEWEST_FOR_A_RISE and accuracy.last(5) > CLEARLY and (rose or risen(accuracy)):
        return True
    if any(_climbs(held) for _, held in case.evaluations("rewards/accuracies")):
        return True
    return rose and not len(accuracy)


def _climbs(held: Curve) -> bool:
    """Whether a held-out accuracy rose from evaluation to evaluation, to clearly above chance."""
    v = held.values
    return len(v) >= 3 and all(a <= b for a, b in pairwise(v)) and v[-1] > CLEARLY and v[-1] - v[0] >= 0.05


def _span(curve: Curve) -> str:
    return f"{min(curve.values):.4f}..{max(curve.values):.4f}"


def _coin(case: Case) -> Sign | None:
    accuracy, loss = case.curve("rewards/accuracies"), case.curve("loss")
    if not case.method.pairwise or not LOW <= accuracy.last(5) <= HIGH:
        return None
    if _was_better(accuracy):
        return None
    idle = case.method.idle
    if idle and loss.last(5) < idle / BETTER:  # a coin's accuracy, yet a loss that a coin does not reach
        return None
    of_loss = f" and mean loss {loss.last(5):.4g}" if len(loss) else ""
    since = accuracy.since(lambda v: LOW - 0.05 <= v <= HIGH + 0.05, 5)
    text = f"mean accuracy {accuracy.last(5):.2f}{of_loss} in the last fifth"
    if case.method.sigmoid and loss.last(5) > LN2 + 0.1:
        text += ": worse than untrained"
    elif idle is None and loss.last(5) < loss.first(5) / BETTER:
        text += f", down from a mean of {loss.first(5):.4g}, and yet the preference is not learned"
    return Sign("stuck", "PB853", since, text, unexplained(case))


def _was_better(accuracy: Curve) -> bool:
    """Whether the last four fifths lie above chance: a few pairs of the last one may look like a coin."""
    since = len(accuracy) // 5
    return len(accuracy) >= FEWEST_FOR_A_RISE and fmean(accuracy.values[since:]) > HIGH


def perhaps_chance(case: Case) -> str:
    """That nothing shows that pairs were learned: the last ones at chance again, or all of them perhaps."""
    accuracy, loss, idle = case.curve("rewards/accuracies"), case.curve("loss"), case.method.idle
    if not case.method.pairwise or len(accuracy) < FEWEST_FOR_A_RISE:
        return ""
    last, fifth = accuracy.last(5), len(accuracy) // 5
    if LOW <= last <= HIGH and _was_better(accuracy):
        before = fmean(accuracy.values[fifth:-fifth])
        told = f"mean accuracy {last:.2f} in the last fifth, {before:.2f} in the three before"
        return f"{told}: lost again, or few pairs an entry"
    half = accuracy.values[len(accuracy) // 2 :]
    sure = fmean(half) - 2.0 * stdev(half) / len(half) ** 0.5 > CHANCE
    unmoved = idle is not None and len(loss) > 0 and loss.last(5) > UNMOVED * idle
    if sure or not unmoved or risen(curve_of(case.log.train, "rewards/margins")):
        return ""
    return (
        f"mean loss {loss.last(5):.4g} in the last fifth, where an idle policy has {idle:.4g}, "
        f"and an accuracy of {fmean(half):.2f} in the last half that may be chance"
    )


def _worse(case: Case) -> Sign | None:
    """Against a reference: both thirds no better than an untrained policy, in loss and in accuracy."""
    loss, accuracy = case.curve("loss"), case.curve("rewards/accuracies")
    third = len(loss) // 3
    if case.method.family != "reference" or len(loss) < 5 or third < 1:
        return None
    start, end = fmean(loss.values[:third]), fmean(loss.values[-third:])
    bad = case.method.sigmoid and min(start, end) > 1.2 * LN2 and fmean(loss.values) > 1.2 * LN2
    wrong = len(accuracy) > 4 and max(accuracy.first(3), accuracy.last(3)) < LOW
    idle = case.method.idle
    unmoved = end > idle if idle else end > start / BETTER
    below = max(accuracy.first(3), accuracy.last(3)) <= CHANCE
    if not (bad and below) and not (wrong and unmoved and end > ZERO):
        return None
    text = f"below chance throughout: mean loss {start:.4g} in the first third, {end:.4g} in the last"
    text += f"; mean accuracy {accuracy.first(3):.2f} and {accuracy.last(3):.2f}" if len(accuracy) else ""
    return Sign("stuck", "PB853", loss.steps[0], text, NEXT_WORSE)
