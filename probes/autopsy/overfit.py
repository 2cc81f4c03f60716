"""The rule for runs that went on with their training data and not with any other."""

from __future__ import annotations

from dataclasses import replace

from .case import Case, Sign
from .curve import Curve, curve_of
from .diverged import ZERO
from .heldout import (
    OVERFIT,
    EvaluationSet,
    evaluation_sets,
    nothing_seen,
    ranks_something,
    surely_fell,
    surely_unseen,
)

SURELY = 1.3  # times the lowest


def overfit_sign(case: Case) -> Sign | None:
    """The sign of training that the held-out data do not follow, or None.

    PB854 over-fitted: held-out loss or accuracy ended well worse than its best, or never showed any learning.

    Means: of three or more evaluations the last is at least {OVERFIT} times the lowest, or of two the second
    is {SURELY} times the first, and the training loss is lower than at the start: the run went on memorising.
    Or the held-out accuracy of pairs ended below its best by three standard errors of the evaluation's size
    while that of training rose.
    Or no evaluation shows what training does, beyond what few held-out pairs would do by chance: the held-out
    accuracy of pairs stays near one half, or the held-out loss never falls below that of an untrained policy
    (ln 2 for DPO), while training leaves both far behind.
    Why: the final weights are worse on new data than an earlier checkpoint, or no better than the first ones,
    though training looks better.
    Do: take the checkpoint of the best evaluation, if one is better than untrained; next time
    load_best_model_at_end, early stopping, fewer epochs or more pairs. Within the first epoch training pairs
    are as new as held-out ones: then look for how the two sets differ.
    Source: design rule; the supervised run of the first published account: best at epoch 3 of 50.
    """
    train = case.curve("loss") if case.log.train else Curve("loss")
    learned = not len(train) or train.last(10) < train.first(10)
    if case.method.family == "online" or not learned:
        return None
    found = (_passed_best(case, name, held_out, train) for name, held_out in case.evaluations("loss"))
    passed = next((sign for sign in found if sign), None)
    unseen = _unseen(case)
    # A best checkpoint that is no better than an untrained one is no advice.
    if unseen and passed:
        return replace(unseen, confidence=passed.confidence)
    return unseen or passed or _accuracy_fell(case)


def _passed_best(case: Case, name: str, held_out: Curve, train: Curve) -> Sign | None:
    best, last = min(held_out.values, default=0.0), held_out.values[-1] if held_out.values else 0.0
    two = len(held_out) == 2
    if len(held_out) < 2 or last < (SURELY if two else OVERFIT) * best or last < ZERO or best < 0.0:
        return None
    step = held_out.steps[held_out.values.index(best)]
    fell = (
        f", mean training loss {train.first(10):.4g} in the first tenth to {train.last(10):.4g} in the last"
        if len(train)
        else ""
    )
    rise = f" (+{100 * (last / best - 1):.0f}%)" if best else ""
    text = f"{name} lowest at {case.at(step)}: {best:.4g}, {last:.4g} at the end{rise}{fell}"
    advice = f"Take the checkpoint nearest {case.at(step)}; stop early or train fewer epochs next time."
    if two:
        advice += " Evaluate three times a run or more: two evaluations do not show where it turned."
    sure = last >= SURELY * best and not two
    return Sign("overfit", "PB854", step, text, advice, "certain" if sure else "likely")


def _accuracy_fell(case: Case) -> Sign | None:
    """A held-out accuracy that ended surely below its best while training rose: its loss need not rise."""
    held = next((held for held in evaluation_sets(case) if surely_fell(case, held)), None)
    if held is None:
        return None
    accuracy, train = held.accuracy, curve_of(case.log.train, "rewards/accuracies")
    best, last = max(accuracy.values), accuracy.values[-1]
    step = accuracy.steps[accuracy.values.index(best)]
    text = f"{held.prefix}rewards/accuracies highest at {case.at(step)}: {best:.4g}, {last:.4g} at the end"
    if len(train):
        text += f", mean training accuracy {train.first(10):.3g} in the first tenth to {train.last(10):.3g}"
        text += " in the last"
    advice = f"Take the checkpoint nearest {case.at(step)}; stop early or train fewer epochs next time."
    return Sign("overfit", "PB854", step, text, advice)


def _unseen(case: Case) -> Sign | None:
    """Training that no evaluation set sees anything of."""
    sets = evaluation_sets(case)
    told = [nothing_seen(case, held) for held in sets]
    if not sets or not all(told) or not all(surely_unseen(case, held) for held in sets):
        return None
    first, ranked = min(map(_first, sets)), [*filter(None, map(ranks_something, sets))]
    return Sign("overfit", "PB854", first, "; ".join([*told, *ranked]), _advice(case, ranked))


def _first(held: EvaluationSet) -> float:
    return min(curve.steps[0] for curve in (held.loss, held.accuracy) if len(curve))


def _advice(case: Case, ranked: list[str]) -> str:
    epochs = max(curve_of(case.log.train, "epoch").values, default=0.0)
    none = (
        "By their loss no evaluated checkpoint is better than an untrained one, though more than half of the "
        "held-out pairs are ranked right: the policy is too sure of those it ranks wrong."
        if ranked
        else "No evaluated checkpoint is better than an untrained one."
    )
    if 0.0 < epochs <= 1.0:
        return (
            f"{none} Training pairs of a first epoch are as new as held-out ones: compare how the two sets "
            "were made (another source, swapped sides, other prompts), and look for training pairs that "
            "repeat each other."
        )
    return (
        f"{none} The training pairs were memorised: train on more pairs, for fewer epochs or at a lower "
        "learning rate; `probe trial` says whether these pairs teach anything about unseen ones."
    )
