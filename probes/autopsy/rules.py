"""The rules for curves that did not diverge and failed all the same, each a function of a case.

Windows are tenths and fifths of the log, at least two entries long. The limits are those of the published
rule set that the labelled logs in docs/commands/autopsy.md were judged by; what a rule adds to it, it says
why.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from ...shared_limits import CHOSEN_SHARE, SATURATED, TRIVIAL
from .case import Case, Sign
from .curve import Curve, surely_changed
from .diverged import ZERO
from .heldout import not_recognised
from .settings import smoothing
from .zeros import unexplained_zeros

MARGIN_GROWTH = 1.02
LOW_START = 5 * ZERO  # of a loss of texts that never was higher: what it fell from is not in the log


def saturated_sign(case: Case) -> Sign | None:
    """The sign of a run with nothing left to learn, or None.

    PB855 saturated: the loss is about 0, or every pair is ranked right while the margin still grows.

    Means: the median loss of the last fifth is under {ZERO}; or the accuracy is at least {SATURATED} there
    and its margins are at least {MARGIN_GROWTH} times those of the fifth before; or it is {SATURATED} from
    the first evaluation on.
    Why: pairs that are told apart at once teach nothing else; from there on the run only sharpens the
    distribution or memorises.
    Do: run `probe negatives`: if the rejected side is recognisable without the prompt, sample new negatives;
    stop at the step given. Where held-out pairs are ranked worse than {TRIVIAL:.0%} right, the pairs are not
    recognisable as such but memorised: fewer epochs, or more pairs.
    Source: design rule; TRL issue 894, LLaMA-Factory issues 5116 and 5321 for pairs that are too easy.
    """
    if case.method.family == "online":
        return None
    zeros, rows = unexplained_zeros(case)
    if zeros and rows[0]["loss"] == 0.0 and len(zeros) >= 0.5 * len(rows):
        return None  # 0 from the start is no training
    if low_from_the_start(case):
        return None
    return _no_loss(case) or _sure(case) or _at_once(case)


def low_from_the_start(case: Case) -> str:
    """That a loss beside which nothing else is logged was about 0 in the first entry already; else "".

    A loss of texts starts at 1 or more: one that never was higher is that of texts learnt before the log
    begins, of labels that are nearly all masked, or of an online method, where it lies near 0 by design.
    """
    loss = case.curve("loss")
    if case.method.family != "supervised" or not len(loss) or max(loss.values) >= LOW_START:
        return ""
    if loss.last_median(5) >= ZERO or min(loss.values) < 0.0:
        return ""
    return (
        f"the loss is {loss.values[0]:.4g} in the first entry already, where one of texts starts at 1 or "
        "more: an online method (GRPO), labels nearly all masked, or texts that were learnt before"
    )


def _advice(case: Case) -> str:
    if case.method.family == "supervised":
        return (
            "The training texts are memorised: compare with a held-out loss and take an earlier checkpoint, "
            "or use more data and fewer epochs."
        )
    otherwise = not_recognised(case, TRIVIAL)
    if otherwise:
        return (
            f"The pairs are not recognisable as such: {otherwise}. What training shows beyond that was "
            "memorised (fewer epochs, a lower learning rate or more pairs), or the held-out pairs are of "
            "another kind; `probe negatives` on both says which."
        )
    return (
        "Run `probe negatives`: negatives that are recognisable without the prompt saturate at once. "
        "Stop at that step, or train against responses sampled from the model (`probe sample`)."
    )


def _no_loss(case: Case) -> Sign | None:
    loss = case.curve("loss")
    if not len(loss) or loss.last_median(5) + case.log.below("loss") >= ZERO or min(loss.values) < 0.0:
        return None  # not surely low; or 0 is no floor there
    since = loss.since(lambda v: v < ZERO, 5, median)
    text = f"median loss {loss.last_median(5):.3g} in the last fifth, under {ZERO}"
    return Sign("saturated", "PB855", since, text, _advice(case))


def _sure(case: Case) -> Sign | None:
    accuracy, margin = case.curve("rewards/accuracies"), case.curve("rewards/margins")
    before, last = margin.before_last(5), margin.last(5)
    if smoothing(case) is not None:
        return None  # the margin goes to ln((1 − ε)/ε) and no farther
    if (
        not case.method.pairwise
        or not accuracy.last(5) >= SATURATED
        or not last >= MARGIN_GROWTH * before > 0.0
    ):
        return None
    since = accuracy.since(lambda v: v >= SATURATED, 5)
    text = (
        f"mean accuracy {accuracy.last(5):.3f} in the last fifth, mean margins growing on, "
        f"{before:.3g} to {last:.3g}"
    )
    return Sign("saturated", "PB855", since, text, _advice(case))


def _at_once(case: Case) -> Sign | None:
    """Every pair told apart from the first evaluation on."""
    for name, accuracy in case.evaluations("rewards/accuracies"):
        if case.method.pairwise and len(accuracy) >= 2 and min(accuracy.values) >= SATURATED:
            text = f"{name} {accuracy.values[0]:.3f} at the first evaluation, {case.at(accuracy.steps[0])}"
            return Sign("saturated", "PB855", accuracy.steps[0], text, _advice(case))
    return None


def displaced_sign(case: Case) -> Sign | None:
    """The sign of chosen responses that lost probability, or None.

    PB856 displaced: the chosen responses became less likely while the accuracy rose.

    Means: the chosen log-probabilities of the last tenth are more than {CHOSEN_SHARE:.0%} below those of
    the first. Where rewards against a reference are logged they must have fallen too: a batch of longer
    texts lowers the sum, not the reward. Without an accuracy or a margin the log-probs of the two sides must
    have moved apart.
    Why: the loss needs only the margin; it may lower both sides, and the lost probability goes to texts that
    nobody chose.
    Do: Use DPOP or a DPO loss with an SFT term; SFT on the chosen side first; a lower learning rate; and read
    samples.
    Source: Razin et al. 2024; Pal et al. 2024 (DPOP); Pang et al. 2024 (SFT term).
    """
    if case.method.family not in ("reference", "reference-free", "unpaired"):
        return None
    chosen = case.curve("logps/chosen")
    first, last = chosen.first(10), chosen.last(10)
    if not _chosen_fell(case) or not _ranks_better(case):
        return None
    since = chosen.since(lambda v: first - v > CHOSEN_SHARE * abs(first), 10)
    size = f" ({100 * (last / first - 1):+.0f}% in size)" if first else ""
    text = f"mean logps/chosen {first:.4g} in the first tenth, {last:.4g} in the last{size}, {_ranking(case)}"
    return Sign("displaced", "PB856", since, text, NEXT_DISPLACED)


NEXT_DISPLACED = (
    "Sample from the model on these prompts to see where the probability went. Then use DPOP, DPO with an "
    "SFT term, or SFT on the chosen side first; `probe negatives` measures the risk beforehand (CHES)."
)


def _chosen_fell(case: Case) -> bool:
    chosen, reward = case.curve("logps/chosen"), case.curve("rewards/chosen")
    first = chosen.first(10)
    fell = len(chosen) >= 2 and first - chosen.last(10) > CHOSEN_SHARE * abs(first)
    return fell and not (len(reward) and reward.last(10) >= reward.first(10))


def chosen_fell_unranked(case: Case) -> str:
    """That the chosen log-probs fell and nothing logged shows that the pairs are ranked better; else ""."""
    if any(len(case.curve(f"rewards/{name}")) for name in ("accuracies", "margins")):
        return ""
    if case.method.family == "online" or not _chosen_fell(case) or _ranks_better(case):
        return ""
    chosen = case.curve("logps/chosen")
    beside = f"a mean of {_ranking(case)}" if len(_ranks(case)) else "no accuracy, margin or rejected side"
    return (
        f"mean logps/chosen {chosen.first(10):.4g} in the first tenth, {chosen.last(10):.4g} in the last, "
        f"beside {beside}: whether that is displacement, longer texts or harm cannot be told"
    )


def _ranks(case: Case) -> Curve:
    """What shows how pairs are ranked: the accuracy, else the margin, else how far the sides are apart."""
    named = (case.curve("rewards/accuracies"), case.curve("rewards/margins"))
    return next((curve for curve in named if len(curve)), _apart(case))


def _apart(case: Case) -> Curve:
    """logps/chosen less logps/rejected, which the reference moves by a constant."""
    rejected = dict(_points(case.curve("logps/rejected")))
    both = [(step, v - rejected[step]) for step, v in _points(case.curve("logps/chosen")) if step in rejected]
    return Curve("logps/chosen less logps/rejected", tuple(s for s, _ in both), tuple(v for _, v in both))


def _points(curve: Curve) -> Iterable[tuple[float, float]]:
    return zip(curve.steps, curve.values, strict=True)


def _ranks_better(case: Case) -> bool:
    found = _ranks(case)
    if found.name.startswith("rewards/"):
        return found.last(10) > found.first(10)
    return surely_changed(found) > 0.0  # sums over other texts in every batch


def _ranking(case: Case) -> str:
    found = _ranks(case)
    if found.name == "rewards/accuracies":
        return f"mean accuracy {found.first(10):.2f} to {found.last(10):.2f}"
    ends = f"{found.first(10):.4g} to {found.last(10):.4g}"
    return f"mean margin {ends}" if found.name == "rewards/margins" else f"{found.name} {ends} (derived)"
