"""Is there something in the preference that a model can generalise? Linear probes on frozen states.

The forecast of held-out accuracy is a linear probe on differences of hidden states *given the prompt*; the
same probe on the responses *alone* says how much of that needs no prompt. Layers and pooling are chosen
inside the folds. Null hypothesis: within a pair the responses are exchangeable. Codes PB204–PB206, PB24x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...number_format import count, interval, number
from ...number_format import measured as shown
from ...pairs.record import Pair
from ...records import Estimate, Finding, Measured
from ...shared_limits import LEARNABLE, TRIVIAL
from ...stats.statistics import Floats, share_clustered
from .classify import Clusters, Separation, gram, separate
from .intervals import accuracy, information, ratio_of_means
from .triviality import accuracy_by_group, ladder_row, pointing

PREFERS = 0.65  # prompt-free preference worth a word
DISLIKES = 0.35  # the same of the other side
MOSTLY = 0.80  # share of usable information on the surface
REGIONS = [["no signal", 0.0, LEARNABLE], ["learnable", LEARNABLE, TRIVIAL], ["trivial", TRIVIAL, 1.0]]
FORECAST = "forecast of held-out accuracy"

SideStates = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Views:
    """Both sides of the same pairs as one model sees them under one context.

    `chosen`, `rejected` [pairs, layers · pools, hidden]; `gaps` [pairs], mean_logps(chosen) −
    mean_logps(rejected) in nats/token.
    """

    chosen: SideStates
    rejected: SideStates
    gaps: Floats


def separate_views(views: Views, clusters: Clusters, *, permutations: int = 199, seed: int = 0) -> Separation:
    """The linear probe on state differences, best layer and pooling chosen inside each fold."""
    differences = (views.chosen - views.rejected).astype(np.float64)
    grams = [gram(differences[:, k]) for k in range(differences.shape[1])]
    return separate(grams, clusters, permutations=permutations, seed=seed)


def judge_signal(
    pairs: Sequence[Pair],
    given: tuple[Views, Separation],
    alone: tuple[Views, Separation] | None,
    surface: Separation,
    *,
    alpha: float = 0.05,
) -> Measured:
    """Estimates, findings and report sections; all arguments are about the same `pairs`, in their order."""
    clusters = given[1].clusters
    signal = accuracy("signal_accuracy", given[1], alpha)
    ranks = preference_share("ranking_accuracy", given[0].gaps, clusters, alpha)
    ladder = [
        ladder_row("likelihood", "given prompt", ranks),
        ladder_row("hidden states", "given prompt", signal),
    ]
    share = ratio_of_means("usable_information_ratio", surface.bits, given[1].bits, clusters, alpha)
    estimates = [signal, ranks, information("usable_information", given[1], alpha), share]
    checks = [check_signal(signal, given[1], pairs, alpha), check_ratio(share)]
    if alone:
        told = accuracy("states_accuracy", alone[1], alpha)
        prefers = preference_share("prompt_free_preference", alone[0].gaps, clusters, alpha)
        estimates += [told, prefers]
        ladder = [
            ladder_row("likelihood", "prompt-free", prefers),
            ladder_row("hidden states", "prompt-free", told),
            *ladder,
        ]
        blind = [told.value, prefers.value, 1 - (prefers.value or 0.5), surface.hits.mean()]
        checks += [
            check_states(told, alone[1], pairs),
            check_preference(prefers),
            check_prompt(signal, ranks, max(float(b or 0) for b in blind)),
        ]
    estimates += accuracy_by_group("signal_accuracy", given[1], pairs, alpha)
    details: dict[str, Any] = {"ladder": ladder, "axis": axis(signal)}
    return Measured(tuple(estimates), tuple(f for f in checks if f), details)


def axis(signal: Estimate) -> dict[str, Any]:
    """Where the set stands between no signal and trivial, as the report draws it."""
    return {"position": signal.value, "low": signal.low, "high": signal.high, "regions": REGIONS}


def preference_share(name: str, gaps: Floats, clusters: Clusters, alpha: float) -> Estimate:
    """Share of pairs in which the model finds the chosen side likelier per token; ties count half.

    The two-sided p is that of exchanging the sides of whole clusters at random (2000 draws).
    """
    hits = np.where(gaps > 0, 1.0, np.where(gaps < 0, 0.0, 0.5))
    made = share_clustered(hits, clusters, name=name, alpha=alpha)
    sums = np.bincount(clusters, hits - 0.5)
    flips = np.random.default_rng(0).choice([-1.0, 1.0], size=(2000, len(sums)))
    reached = np.count_nonzero(np.abs(flips @ sums) >= abs(sums.sum()) - 1e-9)
    return replace(made, p=(1 + reached) / 2001, method=f"{made.method}; sign-flip test over prompts")


def check_states(measured: Estimate, found: Separation, pairs: Sequence[Pair]) -> Finding | None:
    """PB204 trivial to the model: its states on the response alone tell which side it is.

    Means: a linear probe on the frozen model's hidden states, computed without the prompt, tells the sides
    apart with an accuracy whose lower bound is above the limit ({TRIVIAL}).
    Why: whatever separates the sides (a writer's style, a format) is already one direction in the model.
    Preference training will move along it and needs nothing of the prompt to do so.
    Do: take both sides from one writer, best from the model itself (`probe sample`); SFT on the chosen side.
    Source: as PB202, with the model's own features; pilot: paraphrases by another writer reach .98.
    """
    if measured.low is None or measured.low <= TRIVIAL:
        return None
    finding = Finding(
        "PB204",
        "error",
        f"without the prompt, the model's own states tell the sides apart in {_told(measured)}",
        "Take both sides from one writer: `probe sample` makes negatives from the model itself.",
        estimate=measured,
    )
    return pointing(finding, found.margins, pairs)


def check_preference(measured: Estimate) -> Finding | None:
    """PB205 prompt-free preference: the model finds one side likelier even without the prompt.

    Means: scored under an empty prompt, one side has the higher mean log-prob in clearly more than half of
    the pairs (interval wholly outside {DISLIKES} to {PREFERS}).
    Why: the gap that `probe bias` measures is then partly how fluent or common the text is, not how well
    it answers; see the prompt-corrected gap.
    Do: nothing for this finding alone. Read the bias with the prompt-corrected gap, and match the sides'
    style.
    Source: Holtzman et al. 2021 (surface-form competition, PMI).
    """
    if (
        measured.low is None
        or measured.high is None
        or (measured.low <= PREFERS and measured.high >= DISLIKES)
    ):
        return None
    side = "chosen" if measured.low > PREFERS else "rejected"
    won = measured if side == "chosen" else _of_rejected(measured)
    return Finding(
        "PB205",
        "info",
        f"without the prompt, the model finds the {side} side likelier in {_told(won)}; "
        "given the prompt it may prefer the other",
        "Judge the bias by the prompt-corrected gap.",
        estimate=measured,
    )


def check_ratio(measured: Estimate) -> Finding | None:
    """PB206 mostly surface: nearly all that the model could use is on the surface.

    Means: the V-information of the text features is at least {MOSTLY:.0%} (lower bound) of what a linear
    probe on the model's states given the prompt can use.
    Why: even where the set is not trivial, what generalises from it is length, style or wording.
    Do: match the sides on what the ladder and the giveaways name; then measure again.
    Source: Xu et al. 2020; Ethayarajh et al. 2022 (pointwise V-information).
    """
    if measured.low is None or measured.low <= MOSTLY:
        return None
    return Finding(
        "PB206",
        "info",
        f"{_whole(measured)} of the usable information can be read from the surface",
        "Make the sides alike in what the giveaways name.",
        estimate=measured,
    )


def check_signal(
    measured: Estimate, found: Separation, pairs: Sequence[Pair], alpha: float
) -> Finding | None:
    """PB240 no learnable signal: nothing in the preference that a linear probe carries over to other prompts.

    Means: the probe on hidden-state differences given the prompt stays below {LEARNABLE} on held-out
    prompts (upper bound: a warning), or cannot be told from guessing (information only).
    Why: the probe's accuracy forecasts the held-out accuracy of training. Below {LEARNABLE} preference
    training still reaches training accuracy 1 by memorising, as it does with shuffled labels.
    Do: do not train on these pairs. Use more, cleaner or clearer ones; SFT if the chosen side alone is
    wanted.
    Source: measured by DPO on 16 sets (docs/validity-appendix.md): it ranks held-out reward accuracy, and DPO
    taught nothing on a set below the limit. SFT before DPO can: it moved answers on `harmless`
    (docs/validity.md), whose probe was right in 46%. So this is a note, and the trial decides.

    PB241 saturated signal: a linear probe given the prompt already tells nearly all pairs apart.

    Means: the probe's accuracy on held-out prompts has a lower bound above {TRIVIAL}.
    Why: preference training on such pairs may saturate within an epoch: margin grows, nothing more is learnt.
    It is harmless where the prompt is needed for it (PB242), and a giveaway where it is not (PB202, PB204).
    Do: train for one epoch or less with the guard on; harder negatives teach more (`probe sample`).
    Source: as PB240.
    """
    if measured.value is None or measured.low is None or measured.high is None:
        return None
    if measured.low > TRIVIAL:
        text = f"a linear probe tells {_told(measured)}: training may saturate within an epoch"
        return Finding(
            "PB241", "warning", text, "Train one epoch at most, or make harder negatives.", estimate=measured
        )
    sure = measured.high < LEARNABLE
    if not sure and (measured.p is None or measured.p <= alpha):
        return None
    text = (
        f"no signal that generalises: a linear probe on the frozen model tells {_told(measured)}, {FORECAST}"
        if sure
        else f"a linear probe on the frozen model tells {_told(measured)}, which guessing could reach too"
    )
    finding = Finding(
        "PB240",
        "warning" if sure else "info",
        text,
        "Do not train on these pairs: get more, cleaner or clearer ones.",
        estimate=measured,
    )
    return pointing(finding, -found.margins, pairs)


def check_prompt(signal: Estimate, ranks: Estimate, blind: float) -> Finding | None:
    """PB242 told by the prompt: the sides can be told apart given the prompt, and by nothing without it.

    Means: given the prompt, the model's likelihood or its states tell the sides apart in clearly more than
    half of the pairs (lower bound above {LEARNABLE}), while no feature of the responses alone does (all
    below {LEARNABLE}).
    Why: this is what relevance looks like, e.g. rejected sides that answer another question. The pairs teach
    to attend to the prompt, which the model mostly does already.
    Do: nothing; where the model ranks nearly all pairs right already, they teach little.
    Source: the irrelevant rung of the ladder in docs/negatives.md.
    """
    seen = max((signal, ranks), key=lambda e: e.low or 0)
    if seen.low is None or seen.low <= LEARNABLE or blind > LEARNABLE:
        return None
    return Finding(
        "PB242",
        "info",
        f"the sides are told apart given the prompt ({_told(seen)}) and by nothing without it",
        "Nothing to correct; pairs that the model ranks right already teach little.",
        estimate=seen,
    )


def _of_rejected(e: Estimate) -> Estimate:
    """The share of the pairs that the rejected side wins."""
    value, low, high = (None if x is None else 1.0 - x for x in (e.value, e.high, e.low))
    return replace(e, value=value, low=low, high=high)


def _told(e: Estimate) -> str:
    return f"{shown(e)} of {count(e.n, 'pair')}"


def _whole(ratio: Estimate) -> str:
    """A ratio of two estimated amounts of information as a share of the whole: by chance it may pass 1."""
    value, low, high = (None if x is None else min(x, 1.0) for x in (ratio.value, ratio.low, ratio.high))
    return f"{number(value, 'share')} {interval(low, high, 'share')}"
