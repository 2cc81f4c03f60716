"""The guard's rules: pure functions of the numbers of a run, shared with `probe autopsy`.

Margins and changes are in **nats** (rewards divided by β), so that β does not move the limits. Each rule's
docstring is its page in `probe explain`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .guard_records import Event, GuardLimits, HeldOut, Step
from .methods import LN2


def non_finite(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a log row that hold NaN or infinity. Mean logits (`logits/*`) do not count: padding and
    masked vocabulary make them infinite in healthy runs."""
    return tuple(
        key
        for key, value in row.items()
        if isinstance(value, float) and not math.isfinite(value) and "logits/" not in key
    )


def numerics(step: int, bad: Sequence[str], *, scaled: bool = False, repeated: bool = False) -> Event | None:
    """PB801 not finite: the loss, the gradient or a log-prob is NaN or infinite.

    Means: A number that training depends on is not finite, so at the next update the weights are lost.
    Why: Everything after this step is noise, and trainers hide it: transformers replaces a NaN loss by a
    running mean in its log, so that the loss falls while nothing is being trained.
    Do: Train float32 weights (LoRA in float32, or mixed precision over float32 weights). float16 weights
    under AdamW give 0/0, since its eps of 1e-8 is 0 in float16. Then look for pairs without a scored token.
    Resume from the last checkpoint, whose weights were finite.
    Source: PyTorch AdamW; transformers `logging_nan_inf_filter`; reproduced in docs/guard.md.
    """
    if not bad:
        return None
    # A gradient scaler finds its scale by overflowing: it skips those steps, and only a streak is a failure.
    if scaled and set(bad) == {"grad_norm"} and not repeated:
        return Event(step, "PB801", "warn", "the gradient overflowed; the loss scaler skips this step")
    return Event(step, "PB801", "rollback", f"not finite: {', '.join(bad)}")


def least_loss(reward_margin: float) -> float:
    """−log σ(m): by Jensen, the least mean DPO loss of any batch whose mean reward margin is m."""
    return max(-reward_margin, 0.0) + math.log1p(math.exp(-abs(reward_margin)))


def impossible(step: int, loss: float | None, reward_margin: float | None) -> Event | None:
    """PB802 impossible log: the DPO loss is below the least that its reward margin allows.

    Means: −log σ is convex, so a batch with mean reward margin m has a mean loss of at least −log σ(m). The
    log shows less: loss 0 with margin 0, for instance, where ln 2 = 0.693 is the floor.
    Why: One of the two numbers is not what its name says. Most often the run produced NaN, which the
    trainer's log filter shows as 0.
    Do: Look at the log-probs and the gradient norm for NaN; set `logging_nan_inf_filter` to False.
    Source: Jensen's inequality on the DPO loss (Rafailov et al. 2023, eq. 7).
    """
    if loss is None or reward_margin is None or not math.isfinite(loss + reward_margin):
        return None
    floor = least_loss(reward_margin)
    # Rows round, and average over batches of unequal size.
    if loss >= 0.95 * floor - 0.005:
        return None
    text = f"loss {loss:.4g} cannot go with reward margin {reward_margin:.4g}: at least {floor:.4g} is needed"
    return Event(step, "PB802", "stop", text)


def displaced(now: HeldOut, limits: GuardLimits) -> Event | None:
    """PB803 chosen displaced: held-out chosen responses lost more probability than the budget allows.

    Means: The log-probs of held-out *chosen* responses are below the reference's by more than the budget (by
    default {GuardLimits.chosen_budget:g} nats/token), and with token counts known the whole 95% interval is.
    Why: The loss asks only that the rejected side falls faster. The probability goes to other text, which
    nobody judged: the model unlearns what it was to be taught, although accuracy and margin look good.
    Do: Use a smaller learning rate or fewer steps; DPOP or DPO + NLL, whose loss rises when the chosen side
    falls; or SFT on the chosen side first. A moderate fall is to be expected when the reference was tuned on
    these responses.
    Source: Razin et al. 2024; Pal et al. 2024; Ren & Sutherland 2024.
    """
    change, high = now.chosen_change, now.chosen_high
    if change is not None:
        if (change if high is None else high) < -limits.chosen_budget:
            text = f"held-out chosen {change:+.3g} nats/token (budget {-limits.chosen_budget:g})"
            return Event(now.step, "PB803", "rollback", text)
        if change < -limits.chosen_budget / 2:
            text = f"held-out chosen {change:+.3g} nats/token: half of the budget is used"
            return Event(now.step, "PB803", "warn", text)
    elif now.chosen_fall is not None and now.chosen_fall > limits.chosen_share:
        text = f"held-out chosen log-probs fell by {now.chosen_fall:.0%} (budget {limits.chosen_share:.0%})"
        return Event(now.step, "PB803", "rollback", text)
    return None


def scattered(now: HeldOut, start: HeldOut, limits: GuardLimits) -> Event | None:
    """PB804 mass scattered: the likeliest tokens of the model's own text hold much less probability.

    Means: In text that the model itself writes, the probability of its most probable tokens fell below
    {GuardLimits.top_mass_share:.0%} of what it was before training. Where held-out chosen responses became
    likelier meanwhile, this is a warning only.
    Why: Probability that leaves the most probable tokens and does not reach the chosen responses goes to
    tokens that do not fit the context: the text becomes incoherent before any metric on the pairs shows it.
    Do: Go back to the best state; use a smaller learning rate, a larger β, or an SFT term. With a warning,
    read some of the model's text: SFT on people's prose widens what an instruction-tuned model writes.
    Source: Ren & Sutherland 2024 (where the mass goes); the limit is a starting point of ours.
    """
    if now.top_mass is None or not start.top_mass or now.top_mass >= limits.top_mass_share * start.top_mass:
        return None
    text = f"top-token mass of sampled text {start.top_mass:.2f} → {now.top_mass:.2f}"
    if now.chosen_change is not None and now.chosen_change > 0:
        return Event(
            now.step, "PB804", "warn", f"{text}, held-out chosen {now.chosen_change:+.3g} nats/token"
        )
    return Event(now.step, "PB804", "rollback", text)


def repeating(now: HeldOut, start: HeldOut, limits: GuardLimits) -> Event | None:
    """PB805 repetition: the model's own text repeats itself much more than before training.

    Means: The share of repeated 3-grams in answers sampled to held-out prompts rose by more than
    {GuardLimits.repetition_rise:g}.
    Why: Loops are how over-optimised models fail in use, and the training metrics do not show them.
    Do: Go back to the best state; use a smaller learning rate, fewer steps, or an SFT term.
    Source: reports of garbage after DPO (trl#2382, trl#1025); the limit is a starting point of ours.
    """
    if now.repetition is None or start.repetition is None:
        return None
    if now.repetition - start.repetition <= limits.repetition_rise:
        return None
    text = f"repeated 3-grams in sampled text {start.repetition:.0%} → {now.repetition:.0%}"
    return Event(now.step, "PB805", "rollback", text)


def saturated(
    steps: Iterable[Step], now: HeldOut, earlier: Sequence[HeldOut], limits: GuardLimits
) -> Event | None:
    """PB806 saturated: every training pair is ranked right, the margin grows, held-out accuracy does not.

    Means: Since the last evaluation the training accuracy was at least {GuardLimits.saturated_accuracy} and
    the held-out margin went on growing beyond {GuardLimits.saturated_margin} nats, while held-out accuracy is
    no better than at an earlier evaluation.
    Why: There is nothing left to learn from these pairs; further steps only move the log-probs apart. Where
    this is reached within an epoch, the pairs were trivial: their rejected side can be recognised by its
    form.
    Do: Stop here. If it came early, see `probe negatives` and make rejected responses with `probe sample`.
    Source: trl#894, LlamaFactory#5116; pilot runs of this project (docs/guard.md).
    """
    accuracies = [row.accuracy for row in steps if row.accuracy is not None]
    past = [held for held in earlier if held.accuracy is not None and held.margin is not None]
    if not accuracies or not past or now.accuracy is None or now.margin is None:
        return None
    train = sum(accuracies) / len(accuracies)
    still_learning = now.accuracy > max(held.accuracy or 0.0 for held in past)
    grows = now.margin > (past[-1].margin or 0.0) and now.margin >= limits.saturated_margin
    if train < limits.saturated_accuracy or still_learning or not grows:
        return None
    text = (
        f"training accuracy {train:.3g}, held-out accuracy stays at {now.accuracy:.3g} "
        f"while the held-out margin grows to {now.margin:.3g} nats"
    )
    return Event(now.step, "PB806", "stop", text)


def overfit(now: HeldOut, earlier: Sequence[HeldOut], limits: GuardLimits) -> Event | None:
    """PB807 over-fitted: the held-out loss has not improved for several evaluations.

    Means: The best held-out loss is as many evaluations old as `patience` allows, which is
    {GuardLimits.patience} if it is not set.
    Why: The training loss goes on falling because the model memorises; on unseen prompts the loss does not
    fall any more.
    Do: Nothing: the best state is restored. For more gain add pairs, not steps.
    Source: early stopping (Prechelt 1998); the epistemic-stance SFT run, best at epoch 3 of 50.
    """
    losses = [(held.loss, held.step) for held in (*earlier, now) if held.loss is not None]
    if len(losses) <= limits.patience:
        return None
    best = min(range(len(losses)), key=lambda i: losses[i][0])
    if len(losses) - 1 - best < limits.patience:
        return None
    text = f"held-out loss {losses[-1][0]:.4g}, best {losses[best][0]:.4g} at step {losses[best][1]}"
    return Event(now.step, "PB807", "rollback", text)


def forgetting(now: HeldOut, start: HeldOut, limits: GuardLimits) -> Event | None:
    """PB808 forgetting: the perplexity of the watched texts rose.

    Means: Texts that have nothing to do with the pairs became less likely under the tuned model: their
    perplexity is more than {GuardLimits.perplexity_ratio:g} times what it was.
    Why: The model is losing what it could do before.
    Do: `--replay FILE --replay-share 0.25` mixes general text into SFT; or use LoRA of a lower rank, or fewer
    steps.
    Source: replay (Rolnick et al. 2019); the limit is a starting point of ours.
    """
    if not now.perplexity or not start.perplexity:
        return None
    if now.perplexity <= limits.perplexity_ratio * start.perplexity:
        return None
    text = f"perplexity of the watched texts {start.perplexity:.4g} → {now.perplexity:.4g}"
    return Event(now.step, "PB808", "warn", text)


def thumb(row: Step, total_steps: int | None, limits: GuardLimits) -> list[Event]:
    """PB809 rule of thumb: a published warning sign, which healthy runs show too.

    Means: The loss fell below {GuardLimits.thumb_loss} in the first tenth of the run, or the reward margin
    passed {GuardLimits.thumb_margin:g}.
    Why: Such signs are often read as collapse. By themselves they are not: a healthy public 7B run ends with
    margin 3.8 and loss 0.22. They are printed, and never stop a run.
    Do: Compare with the held-out accuracy and the held-out chosen log-probs, which decide.
    Source: community rules of thumb; a public zephyr-7b DPO log for the counter-example.
    """
    events = []
    early = total_steps is not None and row.step <= total_steps / 10
    if early and row.loss is not None and row.loss < limits.thumb_loss and row.reward_margin is not None:
        text = f"loss {row.loss:.3g} within the first tenth of the run: the data may be too easy"
        events.append(Event(row.step, "PB809", "warn", text))
    if row.reward_margin is not None and row.reward_margin > limits.thumb_margin:
        text = f"reward margin {row.reward_margin:.3g} (a rule of thumb only: healthy runs pass 2 too)"
        events.append(Event(row.step, "PB809", "warn", text))
    return events


def accelerating(steps: Sequence[Step]) -> Event | None:
    """A rule of thumb (PB809): over the last nine rows the margin grew more than twice as fast as before."""
    margins = [row.margin for row in steps if row.margin is not None][-9:]
    if len(margins) < 9:
        return None
    first, second, third = (sum(margins[i : i + 3]) / 3 for i in (0, 3, 6))
    if not (second > first and third - second > 2 * (second - first) and third - second > 1):
        return None
    text = (
        f"the margin grows faster and faster ({second - first:.2g}, then {third - second:.2g} nats; a rule "
        f"of thumb only)"
    )
    return Event(steps[-1].step, "PB809", "warn", text)


def not_reference(row: Step) -> Event | None:
    """PB810 reference is another model: the first DPO loss is not ln 2.

    Means: Before any update the policy is the reference, so every reward is 0 and the loss is ln 2 = 0.693.
    The first row is far from it.
    Why: The reference is not the starting policy: a wrong checkpoint, dropout left on, another template or
    dtype, or stored scores of another model. Rewards then measure that difference.
    Do: Start from the reference's weights; delete stored reference scores and compute them anew.
    Source: Rafailov et al. 2023, eq. 7 at π = π_ref.
    """
    if row.step > 1 or row.loss is None or row.margin is None or abs(row.loss - LN2) <= 0.01:
        return None
    text = f"the first loss is {row.loss:.4g}, not ln 2: training did not start from the reference"
    return Event(row.step, "PB810", "warn", text)


def frozen(steps: Sequence[Step], rows: int = 5) -> Event | None:
    """PB811 nothing trains: the gradient has been exactly 0 for several rows.

    Means: The gradient norm reads 0 row after row, so the weights do not move.
    Why: The run takes its full time and changes nothing; the accuracy may still read 1.0.
    Do: Check that some parameters require a gradient (`print_trainable_parameters`), that gradient
    checkpointing has `enable_input_require_grads`, and that labels are not all masked.
    Source: PyTorch autograd; peft and transformers gradient checkpointing notes.
    """
    last = [row for row in steps if row.grad_norm is not None][-rows:]
    if len(last) < rows or any(row.grad_norm != 0 for row in last):
        return None
    return Event(last[-1].step, "PB811", "stop", f"the gradient norm is 0 in {rows} rows: nothing is trained")
