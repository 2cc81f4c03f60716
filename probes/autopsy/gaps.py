"""Tags of batches that hold nothing to learn from: no scored token, an empty side, a skipped step."""

from __future__ import annotations

import math

from .case import Case, Sign
from .curve import curve_of
from .nonfinite import empty_side, skipped

EMPTY_SHARE = 0.9


def no_tokens(case: Case) -> Sign | None:
    """The tag of responses without a scored token, or None.

    PB874 no scored token: both log-probabilities are exactly 0 in {EMPTY_SHARE:.0%} of the entries or more.

    Means: a sum over no token is 0: every response token is masked. The prompt was cut into the response, the
    response template is not found in the text, or the labels are all −100.
    Why: the loss stays at ln 2, the rewards at 0, and there is never a gradient; it looks like data without a
    signal.
    Do: print the labels of a batch and count those that are not −100; check max_prompt_length against
    max_length and the collator's response template.
    Source: TRL issue 1627; a public log of the kind.
    """
    sides = [curve_of(case.log.train, f"logps/{side}") for side in ("chosen", "rejected")]
    if not all(len(s) >= 2 and sum(v == 0.0 for v in s.values) >= EMPTY_SHARE * len(s) for s in sides):
        return None
    zeros = sum(v == 0.0 for v in sides[0].values)
    text = (
        f"logps/chosen and logps/rejected exactly 0 in {zeros} of {len(sides[0])} entries: "
        "no response token is scored"
    )
    advice = (
        "No label of a batch is unmasked: count those that are not -100. Check max_prompt_length against "
        "max_length, and the response template of the collator."
    )
    return Sign("no_tokens", "PB874", sides[0].steps[0], text, advice, "certain")


def empty_sides_sign(case: Case) -> Sign | None:
    """The tag of KTO batches that lack one side, or None.

    PB875 empty side: some batches have no desirable, or no undesirable, example, and their means read NaN.

    Means: the mean over no example is NaN. The gradient is finite, and the values return with the next batch.
    Why: this is no numerical failure, but the logged loss and margins of such entries mean nothing.
    Do: use a larger batch (the KL term needs one anyway) or batches balanced by label; update TRL.
    Source: TRL issue 1447.
    """
    rows = [row for row in case.log.train if empty_side(case, row) and any(map(math.isnan, row.values()))]
    if not rows:
        return None
    columns = sorted({k for row in rows for k, v in row.items() if math.isnan(v)})
    beside = "grad_norm" if "grad_norm" in rows[0] else "loss"
    text = (
        f"{', '.join(columns[:4])} NaN in {len(rows)} of {len(case.log.train)} entries, first at "
        f"{case.at(rows[0]['step'])}, beside a finite {beside} {rows[0][beside]:.4g}"
    )
    advice = "A batch without chosen (or rejected) examples has no mean: take larger or balanced batches."
    return Sign("empty_side", "PB875", rows[0]["step"], text, advice)


def skipped_step(case: Case) -> Sign | None:
    """The note of a step that the trainer skipped, or None.

    PB876 skipped step: a single gradient was not finite, and everything after it is.

    Means: the gradient scaler of float16 searches its scale this way; gradient clipping passes nothing on.
    Why: this is no error: the step was not applied to the weights.
    Do: nothing for a single one; more than one in twenty suggests a fault of the batches or of float16.
    Source: PyTorch `GradScaler`.
    """
    rows = [row for row in case.log.train if skipped(case, row)]
    if not rows:
        return None
    where = ", ".join(case.at(row["step"]) for row in rows[:3])
    text = f"grad_norm {rows[0]['grad_norm']} at {where}, loss and all later entries finite"
    advice = "Nothing to correct: float16's gradient scaler searches its scale by skipping such steps."
    return Sign("skipped_step", "PB876", rows[0]["step"], text, advice, "certain")
