"""Checks of what tells the sides apart on the surface: length, contrast, and the direction of the answers."""

from __future__ import annotations

import math

import numpy as np

from ...records import Estimate, Finding
from ...stats.statistics import Bools, Ints, clopper_pearson, mean_estimate, share
from .columns import SHORT_ANSWER as SHORT_ANSWER  # for the pages of findings
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .row_flags import Flag
from .words import UInts, combined

MATCHED_LENGTHS = (0.8, 1.25)  # mean length ratio of sides that match
FEWEST_COMPARED = 5  # words of a side: shorter answers to one prompt need not share any


def length_ratio(lengths: Ints, data: Data, name: str) -> Estimate:
    """Geometric mean of chosen/rejected length, with the paired, clustered t test of a ratio of 1.

    `lengths` [n, 2]; pairs with an empty side are left out.
    """
    full = (lengths > 0).all(axis=1)
    logs = np.log(lengths[full, 0] / lengths[full, 1])
    mean = mean_estimate(logs, name=name, units="ratio", clusters=data.prompts[full].astype(np.int64))
    value, low, high = (None if x is None else math.exp(x) for x in (mean.value, mean.low, mean.high))
    return Estimate(name, value, low, high, mean.n, mean.p, f"{mean.method}, of log ratios", "ratio")


def longer_wins(lengths: Ints) -> Estimate:
    """Accuracy of "the longer response is the chosen one"; a tie counts half. Shape of `lengths`: [n, 2]."""
    more, less = int((lengths[:, 0] > lengths[:, 1]).sum()), int((lengths[:, 0] < lengths[:, 1]).sum())
    n = len(lengths)
    hits = more + (n - more - less) / 2
    low, high = clopper_pearson(hits, n)
    p = share(more, more + less, name="longer_wins").p
    return Estimate(
        "longer_wins", hits / n, low, high, n, p, "Clopper–Pearson, ties half; sign test", "share"
    )


def length_gap(data: Data, limits: DataLimits) -> CheckResult:
    """Whether length alone tells the sides apart.

    PB330 length gap: one side is systematically longer than the other.

    Means: The sides' mean length ratio, or the accuracy of choosing by length alone, lies beyond its limit
    with its whole interval.
    Why: Length is the easiest thing to learn from such pairs; the model becomes wordy (or curt) and the
    preference you meant is not needed to get the loss down.
    Do: Match lengths within 0.8–1.25 per pair, so that neither side is the longer one in most, or use a
    length-normalised loss.
    Source: Singhal et al. 2023 find at most .63 accuracy by length on natural sets; a published failure
    had a ratio of 3.6.
    """
    lengths = data.columns.words[:, 1:]
    full = lengths[(lengths > 0).all(axis=1)]  # of an empty side PB301 speaks
    if not len(full):
        return CheckResult("longer_wins", None, limits["longer_wins"])
    words, rule = length_ratio(lengths, data, "length_ratio"), longer_wins(full)
    edge = math.log(limits["length_ratio"])
    uneven = math.log(words.low or 1) > edge or math.log(words.high or 1) < -edge
    least, most = rule.low or 0.0, 1.0 if rule.high is None else rule.high
    by_length = least > limits["longer_wins"] or most < 1 - limits["longer_wins"]
    finding = None
    if uneven or by_length:
        finding = Finding(
            "PB330",
            "warning",
            _compared(words, rule),
            _length_remedy(words),
            estimate=words if uneven else rule,
            lines=_lopsided(data, limits["length_ratio"]),
        )
    return CheckResult("longer_wins", None, limits["longer_wins"], (rule, words), finding)


def _compared(words: Estimate, rule: Estimate) -> str:
    """The longer side first: how many times as long, and how often it is the longer one."""
    ratio = words.value or 1.0
    longer, shorter = ("chosen", "rejected") if ratio >= 1 else ("rejected", "chosen")
    times = max(ratio, 1 / ratio)
    wins = (rule.value or 0.0) if longer == "chosen" else 1 - (rule.value or 0.0)
    return (
        f"the {longer} side is {times:.2f} times as long in words as the {shorter} one, and longer in "
        f"{100 * wins:.0f}% of pairs"
    )


def _length_remedy(words: Estimate) -> str:
    """What helps: lengths that match, or where they do already, neither side longer in most pairs."""
    least, most = MATCHED_LENGTHS
    if least <= (words.value or 1.0) <= most:
        return "Let neither side be the longer one in most pairs, or use a length-normalised loss."
    return f"Match the sides' lengths within {least}–{most}, or use a length-normalised loss."


def _lopsided(data: Data, limit: float) -> tuple[int, ...]:
    """Lines of the pairs whose own ratio is beyond the limit in the file's direction."""
    chosen, rejected = data.columns.words[:, 1], data.columns.words[:, 2]
    if chosen.sum() < rejected.sum():
        chosen, rejected = rejected, chosen
    return tuple(data.columns.lines[chosen > limit * rejected].tolist())


def too_alike(data: Data, limits: DataLimits) -> CheckResult:
    """Sides that differ in very few words.

    PB331 low contrast: the two sides share nearly all their words.

    Means: In more pairs than the limit, at least nine words of ten stand in both sides in the same order.
    Why: DPO on sides that are nearly alike can lower the probability of both, the chosen included.
    Do: Use DPO-positive or add an SFT term, and watch the chosen logps; or make the sides differ more.
    Source: Pal et al. 2024 (DPO-positive) on pairs of small edit distance. Minimal pairs are meant so.
    """
    alike = (data.columns.alike >= limits["alike"]) & (data.columns.words[:, 1:] > 0).all(axis=1)
    return counted_check(
        "too_alike",
        np.asarray(alike & (data.columns.keys[:, 1] != data.columns.keys[:, 2])),
        data.columns.lines,
        limits,
        severity="warning",
        what=f"have sides that agree in {100 * limits['alike']:.0f}% of their words",
        remedy="Use DPO-positive or an SFT term, or let the sides differ more.",
    )


def prefix_sides(data: Data, limits: DataLimits) -> CheckResult:
    """Sides of which one is the other's beginning.

    PB335 cut side: one response begins with all of the other.

    Means: The longer side is the shorter one with something added, character by character. An answer of
    fewer than {SHORT_ANSWER} words that goes on inside a word is another answer: 5 and 50, "cat" and "cats".
    Why: Mostly a response was cut off, or a text was appended to one side. The shared part cancels out, so
    only "stop here" or "go on" is learned. In rows without a prompt field TRL takes nearly all of the
    shorter side for the prompt.
    Do: Complete the cut side or drop the pairs, unless they are meant to teach when to stop.
    Source: TRL's `extract_prompt`; starting value of the limit.
    """
    columns = data.columns
    full = (columns.words[:, 1:] > 0).all(axis=1)
    return counted_check(
        "prefix_sides",
        np.asarray(columns.has(Flag.PREFIX) & full & ~columns.has(Flag.IDENTICAL)),
        columns.lines,
        limits,
        severity="warning",
        what="have one side that begins with all of the other",
        remedy="Complete the cut side, or drop the pairs.",
    )


def hardly_related(data: Data, limits: DataLimits) -> CheckResult:
    """Sides that have no more in common than sides of different pairs.

    PB332 hardly related: the sides of a pair are as unlike as those of different pairs.

    Means: The chosen side shares words with its own rejected side hardly more often than with the rejected
    side of another pair. Sides of fewer than {FEWEST_COMPARED} words, labels, which are the chosen or
    rejected answer to several prompts, and a side that refuses beside one that does not are not compared.
    Why: Then the rejected sides do not answer the same prompts, and telling the sides apart needs no
    judgement of quality.
    Do: Take rejected responses to the same prompt, e.g. from the model itself by `probe sample`.
    Source: a within-file permutation: sides of one pair against sides of neighbouring pairs.
    """
    columns = data.columns
    long = (columns.words[:, 1:] >= FEWEST_COMPARED).all(axis=1)
    refused = columns.has(Flag.HOLDS_CHOSEN) != columns.has(Flag.HOLDS_REJECTED)
    seen = ~np.isnan(columns.stranger) & long & ~_labelled(data) & ~refused
    own, other = columns.alike[seen], columns.stranger[seen]
    closer, untied = int((own > other).sum()), int((own != other).sum())
    estimate = share(closer, untied, name="hardly_related")
    finding = None
    if estimate.high is not None and estimate.high < limits["hardly_related"]:
        finding = Finding(
            "PB332",
            "warning",
            f"the sides of a pair are more alike than sides of different pairs in only {closer:,} of "
            f"{untied:,} comparisons",
            "Take rejected responses to the same prompts.",
            estimate=estimate,
        )
    return CheckResult("hardly_related", closer, limits["hardly_related"], (estimate,), finding)


def _labelled(data: Data) -> Bools:
    """Pairs of which both sides stand on the same side of a pair with another prompt: Yes and No, classes."""
    chosen, rejected = data.columns.keys[:, 1], data.columns.keys[:, 2]
    return _answers_several(data.prompts, chosen) & _answers_several(data.prompts, rejected)


def _answers_several(prompts: UInts, answers: UInts) -> Bools:
    """Which answers are those to more than one prompt; shape [n]."""
    first = np.unique(combined(prompts, answers), return_index=True)[1]
    distinct, counts = np.unique(answers[first], return_counts=True)
    return np.asarray(counts[np.searchsorted(distinct, answers)] > 1)


def directions(data: Data, limits: DataLimits) -> CheckResult:
    """Whether the chosen side always, never, or by context holds back.

    PB333 conditional set: which behaviour is chosen depends on the prompt.

    Means: In part of the pairs the rejected side opens by saying no, declining, doubting or objecting, and
    the chosen one does not; in another part it is the other way round. "No." may be an answer as well.
    Why: Such a set teaches *when* to do which. It needs both parts in training and in the held-out half;
    a mean over all pairs hides both.
    Do: Give the parts a `group` each, so that they are measured apart and kept in balance.
    Source: pairs in both directions by context, from a published training note; English openings only.

    PB334 one-sided set: the same side holds back in nearly every pair.

    Means: Where just one side opens by saying no, declining, doubting or objecting, it is nearly always the
    same one.
    Why: The set teaches always (or never) to hold back, whatever the prompt, and one opening tells the
    sides apart.
    Do: Add pairs in which the other behaviour is right, or vary how the sides open.
    Source: as PB333.
    """
    columns = data.columns
    chosen, rejected = columns.has(Flag.HOLDS_CHOSEN), columns.has(Flag.HOLDS_REJECTED)
    held, went = chosen & ~rejected, rejected & ~chosen
    k, n = int(held.sum()), int((held | went).sum())
    estimate = share(k, n, name="chosen_holds_back")
    # Enough of the file must show a direction at all, or the few that do say nothing about it.
    covered = share(n, data.n, name="covered")
    if estimate.low is None or estimate.high is None or (covered.low or 0) < limits["conditional"]:
        return CheckResult("conditional", k, limits["conditional"], (estimate,))
    both = min(estimate.low, 1 - estimate.high)
    one = max(estimate.low, 1 - estimate.high)
    finding = None
    if one > limits["one_sided"]:
        side, count = ("chosen", k) if 2 * k > n else ("rejected", n - k)
        finding = Finding(
            "PB334",
            "warning",
            f"where only one side opens with a no, a refusal, a doubt or an objection, it is the {side} one "
            f"in {count:,} of {n:,} pairs",
            "Add pairs in which the other behaviour is right, or vary the openings.",
            lines=tuple(columns.lines[held if side == "chosen" else went].tolist()),
            estimate=estimate,
        )
    elif both > limits["conditional"]:
        finding = Finding(
            "PB333",
            "info",
            f"the chosen side alone opens with a no, a refusal, a doubt or an objection in {k:,} pairs, the "
            f"rejected side alone in {n - k:,}",
            "Give both kinds a group, and keep both in every split.",
            estimate=estimate,
        )
    return CheckResult("conditional", k, limits["conditional"], (estimate,), finding)


SHAPE_CHECKS = (length_gap, too_alike, hardly_related, directions, prefix_sides)
