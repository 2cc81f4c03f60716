"""The advice of a headline: that of the cause that a tag shows, and nothing that the log rules out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from .case import Case, Confidence, Sign
from .curve import curve_of
from .diverged import SPIKE
from .log import Log
from .rows import finite_number

# What explains a run that learned nothing, the most telling first.
CAUSES = ("no_tokens", "frozen", "lr_zero", "lr_high", "ref_mismatch", "warmup")
# What a curve without a failure may hide, the gravest first.
GRAVE = (*CAUSES, "zero_loss", "no_signal", "clipped", "summed_loss", "below_chance", "flat", "empty_side")
EXPLAINS = {"stuck": CAUSES, "diverged": ("lr_high",), "healthy": GRAVE}
NOTHING_TO_MEND = "The curves show nothing that needs to be corrected."
NEXT_UNSEEN = (
    "Evaluate on held-out texts three times a run or more: a training loss alone cannot tell learning from "
    "memorising."
)
NEXT_UNREAD = "Look at what the log does not show: it may be what went wrong."
NEXT_EARLY = (
    "If the run goes on, read its log again when it is over: over-fitting, saturation and most divergence "
    "come later. If it was stopped, the steps that are missing cannot be judged."
)
FEW_ENTRIES = 5
SHORT_OF = 0.9  # of the planned steps: a log that ends before is of a run that was stopped, or still runs
TOO_EARLY = 0.5  # of the planned steps: before it no curve says what the run comes to


def with_cause(sign: Sign, tags: Sequence[Sign]) -> Sign:
    """`sign` with the evidence and the advice of the tag that is its cause, if there is one."""
    found = {tag.label: tag for tag in tags}
    cause = next((found[label] for label in EXPLAINS.get(sign.label, ()) if label in found), None)
    if cause is None or cause.evidence in sign.evidence:
        return sign
    return replace(sign, evidence=f"{sign.evidence}; {cause.label}: {cause.evidence}", next=cause.next)


def healthy(case: Case) -> Sign:
    """The sign of a log in which no rule fired: what moved, from where to where, and what it cannot show."""
    moved = [
        f"{name.removeprefix('rewards/')} {line.first(10):.4g} to {line.last(10):.4g}"
        for name in ("loss", "rewards/accuracies", "rewards/margins", "reward")
        if len(line := case.curve(name)) > 1
    ]
    said = ", ".join(moved) + " (means of the first and the last tenth)" if moved else "too little was logged"
    longest = max(len(case.curve(name)) for name in ("loss", "reward", "rewards/margins", "logps/chosen"))
    early = short_of_plan(case.log, TOO_EARLY)
    doubts = [*filter(None, (case.log.unread, early, late_gradient(case), unseen_fit(case)))]
    if doubts:
        what = NEXT_UNSEEN if memorises(case) else NEXT_EARLY if early else NEXT_UNREAD
        return Sign("healthy", "", None, f"no rule fired: {'; '.join([said, *doubts])}", what, "cannot tell")
    sure: Confidence = "likely" if longest >= FEW_ENTRIES else "cannot tell"
    return Sign("healthy", "", None, f"no rule fired: {said}", NOTHING_TO_MEND, sure)


def short_of_plan(log: Log, share: float) -> str:
    """That the log ends before `share` of the steps, or else the epochs, that its settings name."""
    name, planned = ("step", log.hints.max_steps) if log.hints.max_steps else ("epoch", log.hints.epochs)
    last = max((row.get(name, 0.0) for row in log.rows if finite_number(row.get(name))), default=0.0)
    if not planned or last <= 0.0 or (name == "step" and log.unit != "step") or last >= share * planned:
        return ""
    return f"the log ends at {name} {last:,.4g} of {planned:,.4g} that were planned ({last / planned:.0%})"


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


def unexplained(case: Case) -> str:
    """What to check in a run that learned nothing: only what its log does not answer already."""
    ruled_out = {
        name
        for name in ("grad_norm", "learning_rate")
        if any(0.0 < v < math.inf for v in case.curve(name).values)
    }
    asked = [name for name in ("grad_norm", "learning_rate") if name not in ruled_out]
    first = (
        f"Check that {' and '.join(asked)} {'are' if len(asked) > 1 else 'is'} above 0 and that"
        if asked
        else "Check that"
    )
    return (
        f"{first} chosen differs from rejected (`probe data`); then `probe trial` says whether these pairs "
        "can be learned at all, and at which learning rate."
    )
