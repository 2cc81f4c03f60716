"""The rules for curves that did not diverge and failed all the same, each a function of a case.

Windows are tenths and fifths of the log, at least two entries long. The limits are those of the published
rule set that the labelled logs in docs/autopsy.md were judged by; what a rule adds to it, it says why.
"""

from __future__ import annotations

from .case import Case, Sign
from .curve import Curve
from .diverged import ZERO
from .method import LN2

NEAR_IDLE = 0.01 / LN2  # within .01 of ln 2; for other losses the same share of their own start
CHANCE = (0.45, 0.55)
OVERFIT = 1.1
SURE = 0.99
GROWTH = 1.02
DISPLACED = 0.2


def stuck(case: Case) -> Sign | None:
    """The sign of a run that has learned nothing, or None.

    PB853 stuck: the loss is where a policy that learns nothing has it, or the accuracy is a coin's.

    Means: every loss lies within .01 of ln 2 (for another loss function: as near to its own start, and the
    accuracy has not risen), or the mean accuracy of the last fifth is between .45 and .55 while the loss is
    no better than a coin's. Where an SFT term is mixed in (ORPO, MPO), the loss may fall meanwhile.
    Why: chosen equal or nearly equal to rejected, β or the learning rate too small, adapter weights without
    gradient and labels that are noise all look like this.
    Do: look at grad_norm and the learning rate first, then run `probe data` and `probe trial` on the pairs.
    Source: design rule; OpenRLHF issue 364 and TRL issues 1311 and 1627 for causes.
    """
    return _idle(case) or _coin(case)


NEXT_STUCK = (
    "Check that grad_norm and learning_rate are above 0 and that chosen differs from rejected (`probe "
    "data`); then `probe trial` says whether these pairs can be learned at all."
)


def _idle(case: Case) -> Sign | None:
    loss, idle = case.curve("loss"), case.method.idle
    if idle is None or not len(loss) or any(abs(v - idle) > NEAR_IDLE * idle for v in loss.values):
        return None
    accuracy = case.curve("rewards/accuracies")
    if (
        not case.method.sigmoid and accuracy.last(5) > CHANCE[1]
    ):  # their scale says less about what was learned
        return None
    named = "ln 2" if idle == LN2 else f"{idle:.4g}, its value at margin 0"
    text = f"all {len(loss)} losses within {NEAR_IDLE * idle:.2g} of {named} ({_span(loss)})"
    return Sign("stuck", "PB853", loss.steps[0], text, NEXT_STUCK)


def _span(curve: Curve) -> str:
    return f"{min(curve.values):.4f}..{max(curve.values):.4f}"


def _coin(case: Case) -> Sign | None:
    accuracy, loss = case.curve("rewards/accuracies"), case.curve("loss")
    low, high = CHANCE
    if not case.method.pairwise or not low <= accuracy.last(5) <= high:
        return None
    idle = case.method.idle
    if idle and loss.last(5) < idle / OVERFIT:  # a coin's accuracy, yet a loss that a coin does not reach
        return None
    since = accuracy.since(lambda v: low - 0.05 <= v <= high + 0.05) or accuracy.steps[-accuracy.window(5)]
    text = f"mean accuracy {accuracy.last(5):.2f} in the last fifth, loss {loss.last(5):.4g} there"
    if case.method.sigmoid and loss.last(5) > LN2 + 0.1:
        text += ": above ln 2, worse than untrained"
    elif idle is None and loss.last(5) < loss.first(5) / OVERFIT:
        text += f", down from {loss.first(5):.4g}, and yet the preference is not learned"
    return Sign("stuck", "PB853", since, text, NEXT_STUCK)


def overfit(case: Case) -> Sign | None:
    """The sign of held-out loss that rises while training loss falls, or None.

    PB854 over-fitted: the held-out loss passed its best value and ended at least a tenth above it.

    Means: of three or more evaluations the last is 1.1 times the lowest or more, and the training loss is
    lower than at the start: the run went on memorising.
    Why: the final weights are worse on new data than an earlier checkpoint, though training looks better.
    Do: take the checkpoint of the best evaluation; next time load_best_model_at_end, early stopping, or
    fewer epochs.
    Source: design rule; the supervised run of the first published account: best at epoch 3 of 50.
    """
    train = case.curve("loss") if case.log.train else Curve("loss")
    learned = not len(train) or train.last(10) < train.first(10)
    if case.method.family == "online" or not learned:
        return None
    found = (_passed_best(name, held_out, train) for name, held_out in case.evaluations("loss"))
    return next((sign for sign in found if sign), None)


def _passed_best(name: str, held_out: Curve, train: Curve) -> Sign | None:
    best, last = min(held_out.values, default=0.0), held_out.values[-1] if held_out.values else 0.0
    if len(held_out) < 3 or last < OVERFIT * best or last < ZERO or best < 0.0:
        return None
    step = held_out.steps[held_out.values.index(best)]
    fell = f", training loss {train.first(10):.4g} to {train.last(10):.4g}" if len(train) else ""
    rise = f" (+{100 * (last / best - 1):.0f}%)" if best else ""
    text = f"{name} lowest at step {step:g}: {best:.4g}, {last:.4g} at the end{rise}{fell}"
    advice = f"Take the checkpoint nearest step {step:g}; stop early or train fewer epochs next time."
    return Sign("overfit", "PB854", step, text, advice)


def saturated(case: Case) -> Sign | None:
    """The sign of a run with nothing left to learn, or None.

    PB855 saturated: the loss is about 0, or every pair is ranked right while the margin still grows.

    Means: the median loss of the last fifth is under .02; or the accuracy is at least .99 there and its
    margins are 2% above those of the fifth before.
    Why: pairs that are told apart at once teach nothing else; from there on the run only sharpens the
    distribution or memorises.
    Do: run `probe negatives`: if the rejected side is recognisable without the prompt, sample new
    negatives; stop at the step given.
    Source: design rule; TRL issue 894, LLaMA-Factory issues 5116 and 5321 for pairs that are too easy.
    """
    if case.method.family == "online":
        return None
    return _no_loss(case) or _sure(case)


def _advice(case: Case) -> str:
    if case.method.family == "supervised":
        return (
            "The training texts are memorised: compare with a held-out loss and take an earlier "
            "checkpoint, or more data and fewer epochs."
        )
    return (
        "Run `probe negatives`: negatives that are recognisable without the prompt saturate at once. "
        "Stop at that step, or train against responses sampled from the model (`probe sample`)."
    )


def _no_loss(case: Case) -> Sign | None:
    loss = case.curve("loss")
    if not len(loss) or loss.last_median(5) >= ZERO or min(loss.values) < 0.0:  # 0 is no floor there
        return None
    since = loss.since(lambda v: v < ZERO) or loss.steps[-loss.window(5)]
    text = f"median loss {loss.last_median(5):.3g} in the last fifth, under {ZERO}"
    return Sign("saturated", "PB855", since, text, _advice(case))


def _sure(case: Case) -> Sign | None:
    accuracy, margin = case.curve("rewards/accuracies"), case.curve("rewards/margins")
    before, last = margin.before_last(5), margin.last(5)
    if not case.method.pairwise or not accuracy.last(5) >= SURE or not last >= GROWTH * before > 0.0:
        return None
    since = accuracy.since(lambda v: v >= SURE) or accuracy.steps[-accuracy.window(5)]
    text = (
        f"accuracy {accuracy.last(5):.3f} in the last fifth, margins growing on, {before:.3g} to {last:.3g}"
    )
    return Sign("saturated", "PB855", since, text, _advice(case))


def displaced(case: Case) -> Sign | None:
    """The sign of chosen responses that lost probability, or None.

    PB856 displaced: the chosen responses became less likely while the accuracy rose.

    Means: the chosen log-probabilities of the last tenth are more than 20% below those of the first. Where
    rewards against a reference are logged they must have fallen too: a batch of longer texts lowers the
    sum, not the reward.
    Why: the loss needs only the margin; it may push both sides down, and the lost probability goes to texts
    nobody chose.
    Do: DPOP or a DPO loss with an SFT term; SFT on the chosen side first; a lower learning rate; look at
    samples.
    Source: Razin et al. 2024; Pal et al. 2024 (DPOP); Pang et al. 2024 (SFT term).
    """
    if case.method.family not in ("reference", "reference-free", "unpaired"):
        return None
    chosen, reward = case.curve("logps/chosen"), case.curve("rewards/chosen")
    first, last = chosen.first(10), chosen.last(10)
    fell = len(chosen) >= 2 and first - last > DISPLACED * abs(first)
    if not fell or (len(reward) and reward.last(10) >= reward.first(10)) or not _ranks_better(case):
        return None
    since = chosen.since(lambda v: first - v > DISPLACED * abs(first)) or chosen.steps[-chosen.window(10)]
    size = f" ({100 * (last / first - 1):+.0f}% in size)" if first else ""
    text = f"logps/chosen {first:.4g} to {last:.4g}{size}, {_ranking(case)}"
    return Sign("displaced", "PB856", since, text, NEXT_DISPLACED)


NEXT_DISPLACED = (
    "Sample from the model on these prompts: where did the probability go? Then DPOP, DPO with an SFT "
    "term, or SFT on the chosen side first; `probe negatives` measures the risk beforehand (CHES)."
)


def _ranks_better(case: Case) -> bool:
    accuracy = case.curve("rewards/accuracies")
    better = accuracy if len(accuracy) else case.curve("rewards/margins")
    return not len(better) or better.last(10) > better.first(10)


def _ranking(case: Case) -> str:
    accuracy = case.curve("rewards/accuracies")
    if not len(accuracy):
        return "margins rising"
    return f"accuracy {accuracy.first(10):.2f} to {accuracy.last(10):.2f}"
