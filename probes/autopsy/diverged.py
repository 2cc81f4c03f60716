"""The rule for runs that got worse: three ways a loss shows it, and the reward of online methods."""

from __future__ import annotations

import math
from statistics import median

from .case import Case, Sign
from .curve import Curve, risen
from .online import reward_collapse
from .settings import smoothing

WORSE = 1.5
SPIKE = 50.0
LAST_SPIKE = 5.0
ZERO = 0.02  # a loss under this is about 0, and its ups and downs are noise


def diverged(case: Case) -> Sign | None:
    """The sign of a run that got worse and stayed so, or None.

    PB852 diverged: the loss ended far above where it had been, and did not come back.

    Means: the mean loss of the last tenth is at least {WORSE} times that of the first and the last
    entries agree; or the loss lost everything it had gained and rose to {WORSE} times that of its best
    stretch; or the gradient norm once exceeded {SPIKE:g} times its median, and the loss stayed {WORSE}
    times higher from then on; or the last entry is {LAST_SPIKE:g} times the median before it and {WORSE}
    times the largest. A spike with recovery is none of these.
    Why: the final weights are worse than the first ones; an earlier checkpoint may be sound.
    Do: go back to the last checkpoint before the given step; divide the learning rate by 3 to 10, warm up
    longer, clip gradients at 1.
    Source: design rule; spikes as in the training logs of public 7B runs.
    """
    if case.method.family == "online":
        return reward_collapse(case)
    loss = case.curve("loss")
    if smoothing(case) is not None and case.curve("rewards/accuracies").last(5) > 0.55:
        return None  # the loss rises with the margin once that has passed its optimum
    if len(loss) < 3 or not (case.log.train or loss.values[0] == min(loss.values)):
        return None  # held-out loss alone that fell first and climbed then is over-fitting
    return (
        _above_start(case, loss)
        or _lost_again(case, loss)
        or _after_spike(case, loss)
        or _at_the_end(case, loss)
    )


NEXT_DIVERGED = (
    "Take the last checkpoint before that step; repeat with the learning rate divided by 3 to 10, "
    "longer warm-up and gradients clipped at 1."
)


def _above_start(case: Case, loss: Curve) -> Sign | None:
    first, last = _start(case, loss), loss.last(10)
    limit = WORSE * first
    tail = median(
        loss.values[-max(1, min(3, len(loss) // 3)) :]
    )  # after a late spike the last entries are low
    if first <= 0.0 or last < limit or tail < limit or last < ZERO or not (_jumped(loss) or risen(loss)):
        return None
    since = loss.since(lambda v: v >= limit, 10)
    whose = "" if _jumped(loss) else "mean "
    text = (
        f"{whose}loss {first:.4g} at the start, a mean of {last:.4g} in the last tenth "
        f"({last / first:.1f} times)"
    )
    return Sign("diverged", "PB852", since, text, NEXT_DIVERGED)


def _start(case: Case, loss: Curve) -> float:
    """The mean loss of the first tenth; the first loss where every later one lies far above it.

    ln 2 where DPO began there but was already off within that tenth.
    """
    if _jumped(loss):
        return loss.values[0]
    idle = case.method.idle if case.method.sigmoid else None
    began = idle is not None and loss.values[0] < WORSE * idle
    return min(loss.first(10), idle) if began and idle else loss.first(10)


def _jumped(loss: Curve) -> bool:
    return len(loss) >= 6 and 0.0 < WORSE * loss.values[0] <= min(loss.values[1:])


def _lost_again(case: Case, loss: Curve) -> Sign | None:
    """A run that had learned and ended no better than it began: comparing with the start misses it."""
    k = loss.window(5)
    if len(loss) < 20 or min(loss.values) <= 0.0:
        return None
    start, end = median(loss.values[:k]), median(loss.values[-loss.window(10) :])
    if end < start:
        return None
    # Of a long log not every window: neighbours differ by one value of many.
    places = range(0, len(loss) - k + 1, max(1, k // 200))
    best, at = min((median(loss.values[i : i + k]), i) for i in places)
    if end < WORSE * best or not _risen_since(loss, at):
        return None
    since = loss.since(lambda v: v >= WORSE * best, 10, median)
    text = (
        f"loss {start:.4g} at first, {best:.4g} around {case.at(loss.steps[at + k // 2])}, "
        f"{end:.4g} at the end (medians)"
    )
    return Sign("diverged", "PB852", since, text, NEXT_DIVERGED)


def _at_the_end(case: Case, loss: Curve) -> Sign | None:
    """The last entry alone lies far above all others: nothing after it shows a recovery."""
    if len(loss) < 6:
        return None
    before, last = loss.values[:-1], loss.values[-1]
    usual = median(before[-loss.window(5) :])
    if last < max(ZERO, WORSE * max(map(abs, before)), LAST_SPIKE * usual):
        return None
    text = (
        f"loss {loss.values[-1]:.4g} in the last entry, {case.at(loss.steps[-1])}, after "
        f"{loss.values[-2]:.4g}; the log ends there, so that nothing shows a recovery"
    )
    return Sign("diverged", "PB852", loss.steps[-1], text, NEXT_DIVERGED)


def _risen_since(loss: Curve, best: int) -> bool:
    return risen(Curve(loss.name, loss.steps[best:], loss.values[best:])) if len(loss) - best >= 4 else False


def _after_spike(case: Case, loss: Curve) -> Sign | None:
    norms = case.curve("grad_norm")
    limit = SPIKE * median(norms.values) if norms.values else math.inf
    spikes = [(s, v) for s, v in zip(norms.steps, norms.values, strict=True) if v > limit > 0.0]
    for step, norm in spikes:
        before = [v for s, v in zip(loss.steps, loss.values, strict=True) if s < step][-loss.window(5) :]
        after = [v for s, v in zip(loss.steps, loss.values, strict=True) if s >= step]
        if len(before) < 3 or not after or median(before) <= 0.0:
            continue
        if min(median(after), after[-1]) >= max(ZERO, WORSE * median(before)):
            text = (
                f"grad_norm {norm:.4g} at {case.at(step)}, {norm / median(norms.values):.0f} times its "
                f"median; loss {median(before):.4g} before, {median(after):.4g} from there on"
            )
            return Sign("diverged", "PB852", step, text, NEXT_DIVERGED)
    return None
