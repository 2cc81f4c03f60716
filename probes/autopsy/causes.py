"""The advice of a headline: that of the cause that a tag shows, and nothing that the log rules out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .case import Case, Sign

# What explains a run that learned nothing, the most telling first.
CAUSES = ("no_tokens", "frozen", "lr_zero", "lr_high", "ref_mismatch", "warmup")
# What a curve without a failure may hide, the gravest first.
GRAVE = (
    *CAUSES, "zero_loss", "no_signal", "kl_high", "clipped", "entropy_collapse", "summed_loss",
    "below_chance", "flat", "empty_side",
)  # fmt: skip
EXPLAINS = {"stuck": CAUSES, "diverged": ("lr_high",), "healthy": GRAVE}


def with_cause(sign: Sign, tags: Sequence[Sign]) -> Sign:
    """`sign` with the evidence and the advice of the tag that is its cause, if there is one."""
    found = {tag.label: tag for tag in tags}
    cause = next((found[label] for label in EXPLAINS.get(sign.label, ()) if label in found), None)
    if cause is None or cause.evidence in sign.evidence:
        return sign
    return replace(sign, evidence=f"{sign.evidence}; {cause.label}: {cause.evidence}", next=cause.next)


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
