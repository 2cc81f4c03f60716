"""Who wrote this side? How each side stands to what the model itself would write.

For text that the model sampled at temperature 1, log p + entropy is 0 in expectation at every token, given
what stands before it. So the mean of that sum over a side, its *excess*, tells on-policy text (0) from
improbable text by others (below 0) and from text that is more certain than samples are: greedy, of low
temperature, or by a sharper model (above 0). Null hypothesis: excess = 0, cluster-robust t over prompts.
Codes PB22x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...number_format import measured as shown
from ...pairs.record import Pair
from ...records import Estimate, Finding, Measured
from ...stats.statistics import Floats, mean_estimate
from .classify import Clusters
from .triviality import pointing

ON_POLICY = 0.25  # nats/token; convention
IMPROBABLE_EXCESS = -0.50  # nats/token; convention
GREEDY = 0.90  # share of tokens that are the model's first choice


@dataclass(frozen=True, slots=True)
class SideAuthorship:
    """One side of pairs (or samples) under the model: `mean_logps`, `excess` (nats/token) and `top` (share of
    tokens that are the model's first choice), each [pairs]."""

    mean_logps: Floats
    excess: Floats
    top: Floats


def judge_authorship(
    pairs: Sequence[Pair],
    chosen: SideAuthorship,
    rejected: SideAuthorship,
    clusters: Clusters,
    *,
    own: dict[str, SideAuthorship] | None = None,
    alpha: float = 0.05,
) -> Measured:
    """Estimates and findings for both sides, in each group too.

    `own` holds what the model itself wrote (`sample`, `greedy`), one response to each of the first pairs'
    prompts: the sides are compared with it pair by pair.
    """
    sides = {"chosen": chosen, "rejected": rejected}
    whole = {side: _estimates(side, w, clusters, alpha) for side, w in sides.items()}
    estimates = [e for made in whole.values() for e in made]
    for name, writing in (own or {}).items():
        estimates += _estimates(name, writing, clusters[: len(writing.excess)], alpha)
        estimates += [_over(side, w, name, writing, clusters, alpha) for side, w in sides.items()]
    estimates += [e for side, w in sides.items() for e in _by_group(side, w, pairs, clusters, alpha)]
    excess = {side: made[1] for side, made in whole.items()}
    checks = [
        check_chosen(excess["chosen"], chosen, pairs),
        check_peaky(excess["rejected"], rejected, pairs),
        check_squeezing(excess["rejected"], rejected, pairs),
    ]
    rows = [_row(side, w, excess[side]) for side, w in sides.items()]
    rows += [_row(name, w, None) for name, w in (own or {}).items()]
    return Measured(tuple(estimates), tuple(f for f in checks if f), {"authorship": rows})


def writer(excess: Estimate, writing: SideAuthorship) -> str:
    """Who may have written a side, in words, from its excess and its agreement with the model's choices."""
    top = float(np.mean(writing.top))
    if excess.low is None or excess.high is None:
        return "too few pairs to say"
    if top >= GREEDY:
        return f"decoded greedily from this model or one like it ({top:.0%} of tokens are its first choice)"
    if excess.low >= -ON_POLICY and excess.high <= ON_POLICY:
        return "as probable as the model's own samples (on-policy, or by a model like it)"
    if excess.low > 0:
        return "more certain than the model's own samples (lower temperature, or a sharper model)"
    if excess.high < 0:
        return "less probable than the model's own samples (off-policy)"
    return "undetermined"


def check_chosen(excess: Estimate, writing: SideAuthorship, pairs: Sequence[Pair]) -> Finding | None:
    """PB221 improbable chosen side: the model would hardly write the chosen responses.

    Means: log-prob plus entropy of the chosen responses is below {IMPROBABLE_EXCESS} nats/token (upper
    bound): they are less probable than the model's own samples by that much. Off-policy, and not by a model
    like this one.
    Why: preference losses look at the difference only. Where the chosen side is far from the policy, both
    sides sink and the difference still grows; the mass goes to text that is on neither side.
    Do: SFT on the chosen side first, then DPO with the SFT model as reference.
    Source: Ren and Sutherland 2024; Tunstall et al. 2023 (SFT then DPO). The limit is a convention.
    """
    if excess.high is None or excess.high >= IMPROBABLE_EXCESS:
        return None
    text = f"chosen responses are less probable than the model's own samples: {_told(excess)}"
    finding = Finding(
        "PB221", "warning", text, "Train on the chosen side by SFT first, then by DPO.", estimate=excess
    )
    return pointing(finding, -writing.excess, pairs)


def check_peaky(excess: Estimate, writing: SideAuthorship, pairs: Sequence[Pair]) -> Finding | None:
    """PB222 peaky rejected side: the rejected responses are what the model is surest of.

    Means: log-prob plus entropy of the rejected responses is above {ON_POLICY} nats/token (lower bound):
    sampled from the model greedily or at low temperature, or by a model much like it.
    Why: training lowers what the model itself writes most probably on each prompt. Its most probable words
    lose most, not its mistakes; and a base-model "bias" for such rejected sides only shows who wrote them.
    Do: sample rejected sides at temperature 1 or from another model; read the bias with this in mind.
    Source: derived here: −entropy is what a model gives its own samples, more than that its greedy text. A
    published bias test had this confound. The limit is a convention.
    """
    if excess.low is None or excess.low <= ON_POLICY:
        return None
    top = float(np.mean(writing.top))
    text = (
        f"rejected responses are more certain than the model's own samples: {_told(excess)}; "
        f"{top:.0%} of their tokens are its first choice"
    )
    finding = Finding("PB222", "warning", text, "Sample rejected sides at temperature 1.", estimate=excess)
    return pointing(finding, writing.excess, pairs)


def check_squeezing(excess: Estimate, writing: SideAuthorship, pairs: Sequence[Pair]) -> Finding | None:
    """PB223 improbable rejected side: training will push down what the model would never write.

    Means: log-prob plus entropy of the rejected responses is below {IMPROBABLE_EXCESS} nats/token (upper
    bound).
    Why: lowering the probability of text that is already improbable moves probability to the model's current
    first choices, and the more so the less probable the text is: the distribution sharpens, and chosen
    responses lose probability too.
    Do: use rejected sides from the model itself (`probe sample`), or a loss with an anchor on the chosen
    side.
    Source: Ren and Sutherland 2024, "Learning dynamics of LLM finetuning" (squeezing). The
    limit is a convention.
    """
    if excess.high is None or excess.high >= IMPROBABLE_EXCESS:
        return None
    text = f"rejected responses are less probable than the model's own samples: {_told(excess)}"
    remedy = "Sample rejected sides from the model (`probe sample`), or anchor the chosen side (DPO + NLL)."
    return pointing(Finding("PB223", "info", text, remedy, estimate=excess), -writing.excess, pairs)


def _estimates(side: str, writing: SideAuthorship, clusters: Clusters, alpha: float) -> list[Estimate]:
    """Mean log-prob, excess and share of first choices of one side, in that order."""
    values = {
        f"{side}_mean_logps": (writing.mean_logps, "nats/token"),
        f"{side}_excess": (writing.excess, "nats/token"),
        f"{side}_top_share": (writing.top, "share"),
    }
    return [
        mean_estimate(array, name=name, units=units, clusters=clusters, alpha=alpha)
        for name, (array, units) in values.items()
    ]


def _over(
    side: str, writing: SideAuthorship, name: str, own: SideAuthorship, clusters: Clusters, alpha: float
) -> Estimate:
    """How much likelier a side is, per token, than what the model wrote to the same prompts."""
    n = len(own.mean_logps)
    return mean_estimate(
        writing.mean_logps[:n] - own.mean_logps,
        name=f"{side}_over_{name}",
        units="nats/token",
        clusters=clusters[:n],
        alpha=alpha,
    )


def _by_group(
    side: str, writing: SideAuthorship, pairs: Sequence[Pair], clusters: Clusters, alpha: float
) -> list[Estimate]:
    """The excess of a side in each group, where there are groups."""
    groups = np.array([pair.group or "" for pair in pairs])
    named = [group for group in np.unique(groups) if group]
    return [
        mean_estimate(
            writing.excess[groups == group],
            name=f"{side}_excess",
            units="nats/token",
            clusters=clusters[groups == group],
            alpha=alpha,
            group=str(group),
        )
        for group in named
        if len(named) > 1
    ]


def _row(side: str, writing: SideAuthorship, excess: Estimate | None) -> dict[str, Any]:
    """A row of the report; the model's own text has no `excess` to be judged by."""
    return {
        "side": side,
        "mean_logps": float(writing.mean_logps.mean()),
        "excess": float(writing.excess.mean()),
        "low": excess and excess.low,
        "high": excess and excess.high,
        "top": float(np.mean(writing.top)),
        "n": len(writing.excess),
        "writer": writer(excess, writing) if excess else "the model itself",
    }


def _told(e: Estimate) -> str:
    return f"log p + entropy {shown(e)} nats/token"
