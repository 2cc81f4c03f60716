"""How sure a verdict on bias is, and what would make it surer: the findings PB601 to PB606."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...number_format import count, interval, number, p_text, some
from ...records import Finding
from .verdict import disagreeing, leaning
from .wording import GroupWording


def undetermined(told: GroupWording) -> Iterator[Finding]:
    """PB601 undetermined: these pairs settle neither a preference nor its absence.

    Means: The interval of the mean gap reaches within ± bound, or the exact sign-flip test does not reject,
    and the two one-sided tests do not place the gap inside the bound either. Five wins in five pairs are such
    a case: two-sided p = 0.0625, win rate [0.478, 1].

    Why: Not finding a preference does not show that there is none; and a few pairs that all agree are still
    few.

    Do: Add pairs, on other prompts. The number given has 80% power if the gap measured so far is the true
    one; where pairs share prompts, it says on how many prompts they must be. Six independent pairs are the
    least that can settle anything at the 5% level.

    Source: docs/statistics.md; exact sign-flip and sign tests.
    """
    if told.row.verdict != "undetermined":
        return
    needed = told.row.to_settle
    if told.case.mean.se is None:
        settle = "without a spread between prompts nothing can be said"
    elif not needed:
        settle = "no practical number of pairs like these would settle it"
    else:
        settle = f"a file of about {needed} would settle it"
    yield Finding(
        "PB601",
        "warning",
        f"undetermined{_clear(told)}, {settle}: {told.wins}{_p_of('sign test', told.case.wins.p)}; "
        f"gap {told.gap}{_p_of('sign flips', told.case.flip.p)}",
        "Ask a narrower question, or set another --bound."
        if not needed and told.case.mean.se
        else "Add pairs, on other prompts where there are prompts.",
        told.case.group,
        estimate=told.case.gap,
    )


def _p_of(test: str, p: float | None) -> str:
    """Said beside the number that it is the p of, and not at all where there is none."""
    return "" if p is None else f" ({test}, p {p_text(p)})"


def _clear(told: GroupWording) -> str:
    """The side may be settled although its distance from the bound is not."""
    low, high = told.case.gap.low, told.case.gap.high
    if low is None or high is None or low <= 0 <= high or told.case.flip.p > told.settings.alpha:
        return ""
    return f", {told.side} is preferred but perhaps by less than {told.settings.bound:g}"


def undetermined_groups(whole: GroupWording, groups: Sequence[GroupWording]) -> Iterator[Finding]:
    """Told as PB601, once for all groups, since a file may have dozens."""
    open_ones = [t for t in groups if t.row.verdict == "undetermined"]
    if open_ones:
        names = [
            t.case.group + (f" (needs about {t.row.to_settle})" if t.row.to_settle else "") for t in open_ones
        ]
        yield Finding(
            "PB601",
            "info" if whole.row.verdict != "undetermined" else "warning",
            f"{len(open_ones)} of {count(len(groups), 'group')} undetermined: {some(names)}",
            "Add pairs to these groups, or judge the whole file only.",
        )


def unstable(told: GroupWording) -> Iterator[Finding]:
    """PB602 unstable: the verdict changes with the way the gap is measured.

    Means: The tests would allow a verdict, but its sign is another under sums, per-byte means or another
    prompt template; or the model would be called neutral while one of these leans beyond the bound.

    Why: Such a preference is a property of the measure and not of the model. Sums favour the shorter side,
    means the side with a likely ending, and formatting alone moves accuracies by tens of points.

    Do: Match the sides in length; look which measure disagrees; compare the templates' reports.

    Source: Sclar et al. 2023, "Quantifying language models' sensitivity to spurious features in prompt
    design".
    """
    if told.row.verdict != "unstable":
        return
    names = [
        name.removeprefix("gap_").replace(":", " ") for name in (disagreeing(told.case) or leaning(told.case))
    ]
    yield Finding(
        "PB602",
        "warning",
        f"unstable: gap {told.gap} by token, but not so by {some(names)}",
        "Match the two sides in length and style, and measure again.",
        told.case.group,
        estimate=told.case.gap,
    )


def few_clusters(told: GroupWording) -> Iterator[Finding]:
    """PB603 too few prompts: the pairs share so few prompts that nothing can be settled.

    Means: Pairs that share a prompt lean together, so they count as one independent observation. There are
    fewer than six such clusters: even a unanimous result has p > .05; below two there is no interval.

    Why: A hundred answers to one question show how the model answers that question, and no more.

    Do: Add prompts, not answers.

    Source: Miller 2024, "Adding error bars to evals"; docs/statistics.md.
    """
    mean = told.case.mean
    if mean.clusters < told.settings.least and mean.clusters < max(mean.n, 2):
        shared = f"{count(mean.n, 'pair')} on {count(mean.clusters, 'prompt')}"
        yield Finding(
            "PB603",
            "warning",
            f"{shared}: fewer than {told.settings.least} independent prompts settle nothing",
            f"Add pairs on at least {count(told.settings.least - mean.clusters, 'more prompt')}.",
            told.case.group,
        )


def bound_under_noise(told: GroupWording) -> Iterator[Finding]:
    """PB604 bound under the noise floor: the bound is smaller than what the arithmetic alone produces.

    Means: The same pairs, scored in other batch shapes in this dtype, differ by more than the bound.

    Why: A verdict of "neutral within ± bound" would be a statement about rounding. It is not given.

    Do: Raise --bound, or score in float32.

    Source: docs/statistics.md.
    """
    settings = told.settings
    if settings.bound_is_noise:
        yield Finding(
            "PB604",
            "error",
            f"the bound ±{settings.bound:g} nats/token is below the noise floor {settings.noise_floor:.2g}",
            "Raise --bound above the noise floor, or score in float32.",
        )


def bootstrap_differs(told: GroupWording) -> Iterator[Finding]:
    """PB605 bootstrap disagrees: the BCa interval does not support the verdict that the t interval allows.

    Means: Resampling whole clusters gives an interval that reaches over the bound. A few extreme pairs carry
    the mean.

    Why: Two sound intervals that differ mean that the number of pairs is too small for their spread.

    Do: Look at the pairs that lean most; add pairs; trust the win rate before the mean.

    Source: Efron 1987, bias-corrected and accelerated bootstrap.
    """
    low, high, bound = told.case.check.low, told.case.check.high, told.settings.bound
    if low is None or high is None:
        return
    clear = low > bound if told.case.mean.value > 0 else high < -bound
    if told.row.verdict.startswith("favours") and not clear:
        yield Finding(
            "PB605",
            "warning",
            f"the bootstrap interval {interval(low, high, 'nats')} reaches within ±{bound:g}",
            "Add pairs: a few extreme ones determine the mean.",
            told.case.group,
        )


def no_spread(told: GroupWording) -> Iterator[Finding]:
    """PB606 no spread: all gaps are equal, so nothing says how sure the mean is.

    Means: The standard error is zero. A zero-width interval would claim certainty; none is given.

    Why: Real pairs differ. Equal gaps come from copied pairs, or from scores that do not depend on the text.

    Do: Check that the file has different pairs and that the model's outputs vary.

    Source: docs/statistics.md.
    """
    if told.case.mean.clusters >= 2 and told.case.mean.se is None:
        yield Finding(
            "PB606",
            "warning",
            f"all {count(told.case.mean.n, 'pair')} have the gap {number(told.case.mean.value, 'nats')}",
            "Check that the pairs differ and that the scores are real.",
            told.case.group,
        )


CERTAINTY_CHECKS = (undetermined, unstable, few_clusters, bootstrap_differs, no_spread)
