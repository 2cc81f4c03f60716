"""What the verdicts on bias mean for the user, with the code that explains each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...number_format import count, some
from ...records import BiasRow, Estimate, Finding
from ...scoring.scores import PairScore
from . import certainty
from .evidence import BiasSettings, GroupEvidence
from .wording import EXAMPLES_SHOWN, GroupWording, value_with_unit


def bias_findings(
    cases: Sequence[GroupEvidence],
    rows: Sequence[BiasRow],
    settings: BiasSettings,
    scores: Sequence[PairScore],
) -> Iterator[Finding]:
    """All findings: on the whole file, on groups where they say something else, and between groups."""
    told = [GroupWording(case, row, settings, scores) for case, row in zip(cases, rows, strict=True)]
    whole, groups = told[0], told[1:]
    yield from certainty.bound_under_noise(whole)
    for check in (favours, neutral, likelier_anyway, ties, *certainty.CERTAINTY_CHECKS):
        yield from check(whole)
    for group in groups:
        yield from favours(group) if group.row.verdict != whole.row.verdict else ()
        yield from certainty.unstable(group)
    yield from opposed_groups(whole, groups)
    yield from certainty.undetermined_groups(whole, groups)


def favours(told: GroupWording) -> Iterator[Finding]:
    """PB101 one side preferred: the base model already prefers one side, beyond the bound.

    Means: The interval of the mean gap (log-prob per token of one side minus the other's) lies wholly beyond
    ± bound, the exact sign-flip test rejects as well, and the sign is the same under sums, per-token and
    per-byte means and in every template tried.

    Why: Where the model prefers the chosen side already, there is little left to teach; where it prefers the
    rejected side, preference tuning has to lift each pair over that gap, and mostly does not flip it.

    Do: Preferred side chosen: look for harder pairs. Preferred side rejected: read PB120 (flip budget), and
    consider a system prompt or retrieval before tuning. Read the pairs that lean most.

    Source: docs/statistics.md; Chen et al. 2024, "Preference learning algorithms do not learn preference
    rankings".
    """
    if not told.row.verdict.startswith("favours"):
        return
    against = told.row.verdict == "favours rejected"
    leaning_most = told.most(-1.0 if against else 1.0)
    ways = len(told.case.others) - 2
    templates = f" and {count(ways, 'template')}" if ways else ""
    yield Finding(
        "PB101",
        "warning" if against else "info",
        f"the model prefers {told.side}: {told.wins}; gap {told.gap}, beyond "
        f"±{told.settings.bound:g}; the sign holds under sum, token and byte{templates}",
        "Tuning must lift most pairs over this gap; read PB120 before spending a GPU hour."
        if against
        else "Little is left to teach on pairs like these; look for harder ones.",
        told.case.group,
        tuple(pair.line for pair in leaning_most if pair.line),
        told.case.gap,
        tuple(pair.id for pair in leaning_most),
    )


def neutral(told: GroupWording) -> Iterator[Finding]:
    """PB102 no preference: neither side is preferred by more than the bound.

    Means: The interval of the mean gap lies inside ± bound, the 90% one at an alpha of 5% (two one-sided
    tests at alpha), and no other way to measure the gap is beyond it. This is shown, not assumed; where a
    test merely finds no difference, the finding is PB601.

    Why: Only such a model can be called neutral on these pairs, before or after tuning.

    Do: Nothing. To claim less, or more, change --bound before you look at the result.

    Source: Schuirmann 1987, two one-sided tests.
    """
    if told.row.verdict == "neutral":
        level = f"{100 * (1 - 2 * told.settings.alpha):.3g}% interval"
        text = f"neither side is preferred: {told.wins}; gap {value_with_unit(told.case.tost)} ({level})"
        yield Finding(
            "PB102",
            "info",
            f"{text}, within ±{told.settings.bound:g}",
            "Nothing to do.",
            told.case.group,
            estimate=told.case.tost,
        )


def likelier_anyway(told: GroupWording) -> Iterator[Finding]:
    """PB103 preferred without the prompt: the preference is not shown to depend on the prompt.

    Means: Subtracting each pair's gap under an empty prompt leaves an interval that does not lie on the
    preferred side. The model may only find those strings likelier: commoner words, a plainer style.

    Why: A likelier string is no opinion about the question. Tuning on such pairs teaches style first.

    Do: Match both sides in wording, length and style (docs/matched-pairs.md), and measure again.

    Source: Holtzman et al. 2021, "Surface form competition" (domain-conditional PMI).
    """
    corrected = told.case.corrected
    if corrected is None or not told.row.verdict.startswith("favours"):
        return
    ends = (corrected.low, corrected.high) if told.case.mean.value > 0 else (corrected.high, corrected.low)
    if ends[0] is None or ends[0] * told.case.mean.value <= 0:
        yield Finding(
            "PB103",
            "warning",
            f"{_anyway(told, corrected)}: the prompt adds {_added(told, corrected)}",
            "Match the two sides in wording and style; the model may only find one string likelier.",
            told.case.group,
            estimate=corrected,
        )


def _anyway(told: GroupWording, corrected: Estimate) -> str:
    """What is preferred without the prompt: the gap less what the prompt adds says which side."""
    alone = told.case.mean.value - (corrected.value or 0.0)
    if alone * told.case.mean.value > 0:
        return f"{told.side} is preferred without the prompt too"
    return f"that {told.side} is preferred is not shown to come from the prompt, nor without it"


def _added(told: GroupWording, corrected: Estimate) -> str:
    """What the prompt adds to the preference of the side that is preferred, whichever that is."""
    if told.case.mean.value > 0:
        return value_with_unit(corrected)
    value, low, high = (None if x is None else -x for x in (corrected.value, corrected.high, corrected.low))
    return value_with_unit(replace(corrected, value=value, low=low, high=high))


def ties(told: GroupWording) -> Iterator[Finding]:
    """PB104 ties: some pairs score alike on both sides, to within the noise floor.

    Means: Their gap is no larger than what the arithmetic alone produces. They count in the mean and are left
    out of the win rate.

    Why: Identical responses, or responses cut to the same tokens, teach nothing, and the mean does not show
    them.

    Do: Look whether the sides are equal, or became equal by truncation (`probe data`).

    Source: docs/statistics.md.
    """
    if told.case.ties:
        tied = [p for i in told.case.index if abs((p := told.scores[i]).gap) <= told.settings.noise_floor]
        yield Finding(
            "PB104",
            "info",
            f"{told.case.ties:,} of {count(told.case.mean.n, 'pair')} score alike on both sides",
            "Check that their two responses differ after truncation.",
            told.case.group,
            tuple(pair.line for pair in tied[:EXAMPLES_SHOWN] if pair.line),
            worst_pairs=tuple(pair.id for pair in tied[:EXAMPLES_SHOWN]),
        )


def opposed_groups(whole: GroupWording, groups: Sequence[GroupWording]) -> Iterator[Finding]:
    """PB105 opposed groups: the model prefers one side in some groups and the other side in others.

    Means: After Holm's correction at least one group is settled each way.

    Why: The mean over the whole file then describes the mixture of groups, not the model.

    Do: Read the groups one by one; train and gate them separately.

    Source: docs/statistics.md.
    """
    names = [
        [t.case.group for t in groups if t.row.verdict == f"favours {side}"]
        for side in ("chosen", "rejected")
    ]
    if all(names):
        first, second = whole.settings.sides
        yield Finding(
            "PB105",
            "warning",
            f"groups disagree: {some(names[0])} for {first}, {some(names[1])} for {second}",
            "Judge each group by itself; the overall mean depends on how many pairs each group has.",
        )
