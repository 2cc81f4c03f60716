"""Can chosen and rejected be told apart without the prompt? From the text alone, no model.

Null hypothesis: within a pair the two responses are exchangeable, so no classifier of the response alone
beats ½. Codes PB201 and PB202; templates are in `pattern_findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...number_format import count
from ...number_format import measured as shown
from ...pairs.record import Pair, text_of
from ...records import Estimate, Finding, Measured
from ...shared_limits import LENGTH_LIMIT, TRIVIAL
from ...stats.statistics import Floats
from ..clusters import prompt_clusters
from .classify import Separation, separate
from .features import text_grams
from .giveaways import find_giveaways, length_sentence
from .intervals import accuracy, information, out_of_fold
from .pattern_findings import (
    WORST_OF_PATTERN,
    Templates,
    check_templates,
    on_chosen,
    templates_of,
    widest,
)

MOST_CLASSIFIED = 1500  # classified; a larger set is sampled, which leaves an interval of ±2 points
MOST_COUNTED = 5000  # searched for templates and giveaways; a larger set is sampled


@dataclass(frozen=True, slots=True)
class Surface:
    """What the text alone gives away: `separations` by feature set on `pairs`, templates and giveaways on
    `counted`; both are samples of a large set."""

    pairs: tuple[Pair, ...]
    counted: tuple[Pair, ...]
    separations: Mapping[str, Separation]
    templates: Templates
    giveaways: tuple[str, ...]


def surface(
    pairs: Sequence[Pair],
    *,
    sides: tuple[str, str] = ("chosen", "rejected"),
    alpha: float = 0.05,
    permutations: int = 199,
    seed: int = 0,
) -> Surface:
    """Classify by length, openings, endings and n-grams; count templates and giveaways.

    `surface` is the best of the feature sets and of their mean, chosen inside each fold. Raises
    `CannotMeasure` when all pairs share one prompt.
    """
    sample, counted = sample_of(pairs, MOST_CLASSIFIED, seed), sample_of(pairs, MOST_COUNTED, seed)
    chosen, rejected = _texts(sample)
    clusters = prompt_clusters(sample)
    grams = text_grams(chosen, rejected)
    candidates = {name: [gram] for name, gram in grams.items()} | {"surface": list(grams.values())}
    separations = {
        name: separate(these, clusters, permutations=permutations, seed=seed)
        for name, these in candidates.items()
    }
    every_chosen, every_rejected = _texts(counted)
    told = (g.sentence(*sides) for g in find_giveaways(every_chosen, every_rejected, alpha=alpha))
    templates = templates_of(counted, sides)
    return Surface(
        sample, counted, separations, templates, (*told, length_sentence(every_chosen, every_rejected, sides))
    )


def judge_surface(found: Surface, *, alpha: float = 0.05) -> Measured:
    """Estimates, findings and report sections of a `Surface`."""
    pairs = found.counted
    accuracies = {
        name: accuracy("surface_accuracy" if name == "surface" else f"{name}_accuracy", s, alpha)
        for name, s in found.separations.items()
    }
    total = found.separations["surface"]
    checks = [
        check_length(accuracies["length"], found),
        check_surface(accuracies["surface"], found),
        *check_templates(found.templates, pairs, alpha),
    ]
    estimates = [
        *accuracies.values(),
        information("surface_information", total, alpha),
        *widest(found.templates, pairs, alpha),
        on_chosen(found.templates, pairs, alpha),
        *accuracy_by_group("surface_accuracy", total, found.pairs, alpha),
    ]
    details = {
        "ladder": [ladder_row(name, "prompt-free", e) for name, e in accuracies.items()],
        "giveaways": list(found.giveaways),
    }
    return Measured(tuple(estimates), tuple(f for f in checks if f), details)


def ladder_row(feature: str, level: str, estimate: Estimate) -> dict[str, Any]:
    """A row of the report's ladder, from the accuracy of one feature set."""
    keys = {"accuracy": estimate.value, "low": estimate.low, "high": estimate.high}
    return {"feature": feature, "level": level, **keys, "p": estimate.p, "n": estimate.n}


def accuracy_by_group(
    name: str, separation: Separation, pairs: Sequence[Pair], alpha: float
) -> list[Estimate]:
    """The accuracy within each group of pairs, by the classifier of the whole set; no test."""
    groups = np.array([pair.group or "" for pair in pairs])
    named = [group for group in np.unique(groups) if group]
    return [
        replace(_within(name, separation, groups == group, alpha), group=str(group))
        for group in named
        if len(named) > 1
    ]


def pointing(finding: Finding, values: Floats, pairs: Sequence[Pair]) -> Finding:
    """The finding with the lines and ids of the pairs that have the largest `values` [pairs], worst first."""
    order = np.argsort(-values, kind="stable")[:WORST_OF_PATTERN]
    lines = tuple(pairs[i].line for i in order if pairs[i].line)
    return replace(finding, lines=lines, worst_pairs=tuple(pairs[i].id for i in order))


def check_length(measured: Estimate, found: Surface) -> Finding | None:
    """PB201 length tells: the lengths of the two sides alone tell them apart.

    Means: a classifier that sees nothing but how long the responses are finds the chosen one in clearly more
    pairs than length explains in natural preference sets (at most 63%).
    Why: preference training takes the cheapest feature that separates the sides; here it will teach length,
    and a reward that grows with length keeps growing where the content does not.
    Do: match the lengths (drop or rewrite the pairs of the longer tail), or train with length-normalised DPO.
    Source: Singhal et al. 2023, "A Long Way to Go"; Park et al. 2024, "Disentangling Length from Quality".
    """
    if measured.low is None or measured.low <= LENGTH_LIMIT:
        return None
    finding = Finding(
        "PB201",
        "warning",
        f"length alone tells the sides apart in {_told(measured)}; {found.giveaways[-1]}",
        "Match the lengths of the sides, or use length-normalised DPO.",
        estimate=measured,
    )
    return pointing(finding, found.separations["length"].margins, found.pairs)


def check_surface(measured: Estimate, found: Surface) -> Finding | None:
    """PB202 trivial negatives: the text of a response, without its prompt, tells which side it is.

    Means: a linear classifier on length, openings, endings and word and character n-grams of the responses,
    tested on prompts it has not seen, tells chosen from rejected with an accuracy whose lower bound is above
    the limit ({TRIVIAL}).
    Why: the sides differ by a mannerism that runs through the whole set. The loss falls to 0 within an epoch
    on that mannerism alone; what the pairs were meant to teach is not needed and not learnt.
    Do: keep the chosen side for SFT and make new negatives from the model's own samples (`probe sample`), or
    rewrite the giveaways that the report quotes.
    Source: Poliak et al. 2018 and Gururangan et al. 2018 (hypothesis-only baselines); Ethayarajh et al. 2022
    (V-information). Trained on a set of 115 templated negatives, DPO reached accuracy 1 in the first epoch.
    """
    if measured.low is None or measured.low <= TRIVIAL:
        return None
    finding = Finding(
        "PB202",
        "error",
        f"without the prompt, the text alone tells the sides apart in {_told(measured)}: "
        f"{found.giveaways[0]}",
        "Train on the chosen side by SFT; make new negatives with `probe sample`, or rewrite what gives them "
        "away.",
        estimate=measured,
    )
    return pointing(finding, found.separations["surface"].margins, found.pairs)


def _within(name: str, separation: Separation, rows: np.typing.NDArray[np.bool_], alpha: float) -> Estimate:
    made = out_of_fold(name, separation, rows, alpha)
    return replace(made, method=f"predictions of the whole set's classifier, {made.method}")


def sample_of(pairs: Sequence[Pair], most: int, seed: int) -> tuple[Pair, ...]:
    """At most so many pairs, in their order; a smaller sample of the same seed is part of a larger one."""
    if len(pairs) <= most:
        return tuple(pairs)
    rows = np.random.default_rng(seed).permutation(len(pairs))[:most]
    return tuple(pairs[i] for i in np.sort(rows))


def _texts(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [text_of(p.chosen) for p in pairs], [text_of(p.rejected) for p in pairs]


def _told(e: Estimate) -> str:
    return f"{shown(e)} of {count(e.n, 'pair')}"
