"""What a trial's numbers are worth saying: codes PB501–PB505."""

from __future__ import annotations

import numpy as np

from ...records import Estimate, Finding
from ...stats.resampling import sign_flip
from .passes import Pass

FEW_STEPS = 24  # of a trial whose accuracy is judged as fast
NOISY_BATCHES = 10  # batches that the noise scale exceeds
FAST_ACCURACY = 0.95  # measured (docs/validity-appendix.md): above it full DPO runs saturate
FALL = 0.05  # nats/token: the pilot's healthy runs moved chosen responses by at most .06


def nothing_learned(accuracy: Estimate) -> Finding | None:
    """PB501 trial shows no learning: what it counts on unseen prompts does not move beyond chance.

    Means: One half of the drawn pairs was trained on and the other scored, and the reverse where that settled
    nothing. The interval of the share of unseen pairs whose margin rose reaches ½. Where a judge can tell the
    sides apart, the condition counts answers instead: of those that moved on unseen prompts, the share that
    moved to the chosen kind.
    Why: The accuracy on pairs already seen shows nothing: with shuffled labels it reaches 1. This accuracy is
    measured on unseen pairs; how far it was from that of full runs on average, docs/validity.md says.
    Do: Use more, cleaner or clearer pairs; check the labels with `probe data` and `probe label`. If only the
    chosen side is wanted, train SFT. Where the file has more pairs than were drawn, draw more: `--pairs`,
    in a gate `--trial-pairs`. `probe trial` alone takes `--learning-rate`, too.
    Source: two-fold cross-validation; docs/validity.md.
    """
    if accuracy.low is None or accuracy.value is None or accuracy.low > 0.5:
        return None
    return Finding(
        "PB501", "warning",
        f"the margin rises in {accuracy.value:.0%} [{accuracy.low:.0%}, {accuracy.high:.0%}] of unseen "
        "pairs, which is not shown to be better than chance",
        "Use more or clearer pairs.", estimate=accuracy,
    )  # fmt: skip


def trivial(accuracy: Estimate, steps: int) -> Finding | None:
    """PB502 trial saturates: a few steps raise the margin of nearly all unseen pairs.

    Means: After at most {FEW_STEPS} steps on half of the pairs, the lower bound of the accuracy on the other
    half is above {FAST_ACCURACY}.
    Why: What is learned so fast is a surface sign of the rejected side. DPO saturates within an epoch, and
    teaches nothing that is of use elsewhere.
    Do: `probe negatives` names the sign; `probe sample` makes rejected responses from the model itself. SFT
    on the chosen side needs no rejected one.
    Source: measured by training on 16 sets (docs/validity-appendix.md): above .95 nearly all full runs
    saturated.
    """
    if steps > FEW_STEPS or accuracy.low is None or accuracy.low <= FAST_ACCURACY:
        return None
    return Finding(
        "PB502", "warning",
        f"after {steps} steps on one half, the margin is higher in {accuracy.value:.0%} of the other half "
        f"(lower bound {accuracy.low:.0%})",
        "See `probe negatives`; make rejected responses with `probe sample`.", estimate=accuracy,
    )  # fmt: skip


def chosen_falls(change: Estimate) -> Finding | None:
    """PB503 chosen side falls: within a few steps unseen chosen responses lose probability.

    Means: After the trial's steps on one half, the log-probs of the other half's *chosen* responses are lower
    by more than {FALL} nats/token, over the whole interval.
    Why: A full run goes on in this direction; the probability goes to text that nobody judged.
    Do: Use dpop or dpo_nll, whose loss rises when the chosen side falls; train SFT first; or use a smaller
    learning rate.
    Source: Razin et al. 2024; Pal et al. 2024; the limit is a starting point of ours.
    """
    if change.value is None or change.high is None or change.high >= -FALL:
        return None
    return Finding(
        "PB503", "warning",
        f"unseen chosen responses change by {change.value:+.3f} nats/token (at most {change.high:+.3f})",
        "Train with --method dpop or dpo_nll, or SFT first (sft+dpo).", estimate=change,
    )  # fmt: skip


def only_length(unseen: Pass, sums: Estimate, per_token: Estimate, alpha: float) -> Finding | None:
    """PB505 only length is learned: summed margins of unseen pairs rise, margins per token do not.

    Means: After the trial's steps on one half, the margins of the other half rise by summed log-probs and not
    by log-probs per token, and in more pairs by the first than by the second (sign-flip test by prompt).
    Why: Any change of all tokens alike moves the sum of the longer side further. The reward accuracy that
    trainers log counts sums, so it rises to 1 while the answers are ranked no better than before.
    Do: Match the lengths of the sides (PB330 names the pairs), or see whether a loss per token learns more:
    `probe trial PAIRS --method dpo_norm`.
    Source: Park et al. 2024 (length exploitation in DPO); measured on two sets (docs/validity-appendix.md):
    full DPO runs had .80 and 1.00 of the held-out margins up by sums, .45 and .25 per token.
    """
    if sums.low is None or per_token.low is None or per_token.value is None or sums.value is None:
        return None
    by_sum, by_token = (np.sign(margins) for margins in (unseen.margins, unseen.token_margins))
    if sums.low <= 0.5 or per_token.low > 0.5:
        return None
    p = sign_flip(by_sum - by_token, unseen.prompts).p
    if p is None or p > alpha:
        return None
    return Finding(
        "PB505", "warning",
        f"the margin rises in {sums.value:.0%} of unseen pairs by summed log-probs, in {per_token.value:.0%} "
        f"[{per_token.low:.0%}, {per_token.high:.0%}] per token: the model learns the length",
        "Match the lengths of the sides, or try `probe trial --method dpo_norm`.", estimate=per_token,
    )  # fmt: skip


def noisy(scale: float, batch: int) -> Finding | None:
    """PB504 gradient noise: the gradient of a single step is mostly noise.

    Means: The gradient noise scale, the batch at which noise and signal are equal, is above {NOISY_BATCHES}
    batches.
    Why: Each step then says little about the pairs as a whole; many small steps average it out, a large
    learning rate amplifies it.
    Do: Use a larger batch or a smaller learning rate. More pairs do not lower the noise; clearer ones do.
    Source: McCandlish et al. 2018.
    """
    if scale <= NOISY_BATCHES * batch:
        return None
    return Finding(
        "PB504", "info", f"the gradient noise scale is {scale:.0f} pairs, the batch {batch}",
        "Raise --batch or lower --learning-rate.",
    )  # fmt: skip
