"""What the answers of a blind audit say about a pair file: codes PB310–PB315."""

from __future__ import annotations

from collections.abc import Sequence

from ...number_format import count, limit_text
from ...number_format import measured as shown
from ...pairs.record import Pair
from ...records import Condition, Estimate, Finding, Measured
from .audit import (
    TIE_LIMIT,
    Answers,
    Audited,
    agreement,
    audit,
    audit_result,
    audit_row,
    audits_by_group,
    measure_labels,
    tie_share,
)

RELIABLE = 2 / 3  # Krippendorff: below it, not even tentative conclusions


def judge_labels(
    pairs: Sequence[Pair], answers: Answers, *, limit: float = 0.8, alpha: float = 0.05
) -> tuple[Measured, Condition]:
    """What the answers to the sampled `pairs` show, and the condition `agreement >= limit`."""
    audited = audit(pairs, answers)
    estimates = measure_labels(audited, answers, limit, alpha)
    total = estimates[0]
    checks = {"left_share": check_position, "krippendorff_alpha": check_labellers}
    found = [
        check_agreement(total, audited, limit, alpha),
        *check_groups(audited, limit, alpha),
        check_ties(audited, alpha),
        *(checks[e.name](e, alpha) for e in estimates if e.name in checks),
    ]
    rows = [audit_row(a) for a in audited if a.label is not None]
    measured = Measured(tuple(estimates), tuple(f for f in found if f), {"labels": rows})
    result, _ = audit_result(audited, limit, alpha)
    return measured, Condition("agreement", "all", total, limit, result, "PB310", sense=">=")


def check_agreement(
    estimate: Estimate, audited: Sequence[Audited], limit: float, alpha: float
) -> Finding | None:
    """PB310 labels disagree: people who do not know the labels prefer the rejected side too often.

    Means: in a random sample, agreement with the file's labels is below the limit (.8), by a one-sided test:
    the exact binomial one, or with several labellers Korn and Graubard's over pairs.
    Why: training on these pairs teaches the labeller's errors. A model went from 87% to 78% of good answers
    after DPO on pairs that a related model had graded.
    Do: look at the pairs named, find what the labeller got wrong (length, position, tone), and label again;
    or train with a loss that expects flipped labels (cDPO, epsilon = 1 - agreement).
    Source: limit of .8 by the convention of a published post-mortem; Chowdhury et al. 2024 (robust DPO).

    PB311 agreement open: too few labels to tell whether people agree with the file.

    Means: neither "at most the limit" nor "at least the limit" is rejected by the exact test; or every answer
    is a tie or a skip, so that there is nothing to test.
    Why: 21 of 26 is 81% and looks like a pass; its interval runs from 61% to 93%.
    Do: label as many more pairs as the message says, with `--n`; the sample grows, answers are kept.
    Source: exact binomial power; docs/commands/label.md.
    """
    result, more = audit_result(audited, limit, alpha)
    if result == "pass":
        return None
    against = [a.pair for a in audited if a.label == "rejected"]
    lines, ids = tuple(p.line for p in against if p.line), tuple(p.id for p in against)
    if result == "fail":
        return Finding(
            "PB310",
            "error",
            f"people preferred the chosen side in {_told(estimate)}, below {limit_text(limit, 'share')}",
            "Read the pairs named and label the file again.",
            lines=lines,
            estimate=estimate,
            worst_pairs=ids,
        )
    if estimate.value is None:
        text = (
            f"no answer to {count(len(audited), 'pair')} names the better side, so agreement was not measured"
        )
        remedy = "Ask somebody who can tell the sides apart; where nobody can, the pairs teach no preference."
        return Finding("PB311", "warning", text, remedy, estimate=estimate)
    message = f"{_told(estimate)} agree: neither above nor below {limit_text(limit, 'share')}"
    remedy = (
        f"Label {count(more, 'more pair')}, with a larger --n."
        if more
        else "Label more pairs, with a larger --n."
    )
    return Finding("PB311", "warning", message, remedy, lines=lines, estimate=estimate, worst_pairs=ids)


def check_ties(audited: Sequence[Audited], alpha: float) -> Finding | None:
    """PB312 sides alike: people often cannot say which side is better.

    Means: the share of pairs called a tie is above {TIE_LIMIT} by an exact one-sided test.
    Why: a preference that people do not see is mostly noise or style; training fits it all the same.
    Do: drop these pairs, or make the rejected side clearly worse in what matters.
    Source: starting value; low-contrast pairs were named as the cause of a published regression.
    """
    one_sided = tie_share(audited, 2 * alpha)
    if one_sided.low is None or one_sided.low < TIE_LIMIT:
        return None
    estimate = tie_share(audited, alpha)
    message = f"the sides were found equally good in {_told(estimate)}"
    return Finding("PB312", "warning", message, "Drop pairs without a visible difference.", estimate=estimate)


def check_position(estimate: Estimate, alpha: float) -> Finding | None:
    """PB313 position bias: a labeller prefers one side of the screen.

    Means: the sides are shuffled by a fair coin, so an unbiased labeller answers left in half of the pairs;
    the exact two-sided test rejects that.
    Why: answers by position are noise in the agreement, which they pull towards one half.
    Do: label again more slowly, or have another person label.
    Source: exact binomial; position bias of judges: Zheng et al. 2023, "Judging LLM-as-a-Judge".
    """
    if estimate.p is None or estimate.p > alpha:
        return None
    who = "the labeller" if estimate.group == "all" else estimate.group
    message = f"{who} answered left in {_told(estimate)} (exact p = {estimate.p:.2g})"
    return Finding(
        "PB313",
        "warning",
        message,
        "Label again, or ask another person.",
        group=estimate.group,
        estimate=estimate,
    )


def check_labellers(estimate: Estimate, alpha: float) -> Finding | None:
    """PB314 labellers disagree: people do not agree with each other either.

    Means: the interval of Krippendorff's alpha between the labellers lies below 2/3.
    Why: if people disagree, no label of these pairs can be right for all of them; agreement with the file is
    then bounded by the question, not by the file's labeller.
    Do: say in one sentence what makes a side better, and label again.
    Source: Krippendorff 2004, "Reliability in content analysis": below .667 not even tentative conclusions.
    """
    if estimate.high is None or estimate.high >= RELIABLE:
        return None
    return Finding(
        "PB314",
        "warning",
        f"labellers agree with each other at alpha = {estimate.value:.2f} "
        f"[{estimate.low:.2f}, {estimate.high:.2f}] on {estimate.n} pairs",
        "Agree on what makes a side better, then label again.",
        estimate=estimate,
    )


def check_groups(audited: Sequence[Audited], limit: float, alpha: float) -> list[Finding]:
    """PB315 group disagrees: the labels of one group are contradicted.

    Means: agreement in this group is below the limit by a one-sided test, after Bonferroni's correction over
    the groups.
    Why: a good total can hide one kind of prompt that was labelled the wrong way round.
    Do: label this group again, or leave it out.
    Source: exact binomial; Bonferroni (Dunn 1961).
    """
    groups = audits_by_group(audited)
    low = []
    for group, rows in groups.items():
        corrected = agreement(rows, limit, 2 * alpha / len(groups), group)
        if corrected.high is not None and corrected.high <= limit:
            low.append(agreement(rows, limit, alpha, group))
    return [
        Finding(
            "PB315",
            "warning",
            f"{e.group}: people preferred the chosen side in {_told(e)}, below {limit_text(limit, 'share')}",
            "Label this group again, or leave it out.",
            group=e.group,
            estimate=e,
        )
        for e in low
    ]


def _told(e: Estimate) -> str:
    assert e.value is not None
    return f"{round(e.value * e.n)} of {e.n} labels ({shown(e)})"
