"""What the report says of a comparison: one check a finding. Codes PB901–PB905."""

from __future__ import annotations

from collections.abc import Sequence

from ...number_format import change as told
from ...number_format import change_interval, number
from ...records import Condition, Finding
from ...shared_limits import BOUND
from .changes import QuantityChange

GROUPS_SHOWN = 6


def promotion_findings(conditions: Sequence[Condition], changed: Sequence[QuantityChange]) -> list[Finding]:
    """What the report says of a comparison, the worst first."""
    by_place = {(c.estimate.name, c.group): c for c in changed}
    found = [got_worse(c, by_place[c.name, c.group]) for c in conditions if c.result == "fail"]
    hidden = [c for c in conditions if c.result == "fail" and c.group != "all"]
    found += [
        hidden_by_the_mean(by_place[name, "all"], [c for c in hidden if c.name == name])
        for name in dict.fromkeys(c.name for c in hidden)
        if _rose(by_place[name, "all"])
    ]
    if left := [c for c in conditions if c.result == "inconclusive"]:
        found.append(not_shown(left))
    found += [sunk_chosen(c) for c in changed if c.estimate.name == "chosen_change" and c.group == "all"
              and c.estimate.high is not None and c.estimate.high < -BOUND]  # fmt: skip
    found += [repeats_itself(c) for c in changed if c.estimate.name == "repetition_change"
              and c.estimate.low is not None and c.estimate.low > 0]  # fmt: skip
    return found


def _rose(change: QuantityChange) -> bool:
    value = change.estimate.value
    return value is not None and change.quantity.better * value > 0


def got_worse(condition: Condition, change: QuantityChange) -> Finding:
    """PB901 worse than allowed: a group got worse by more than its allowance.

    Means: on the same items, the tuned model's mean differs from the base's in the bad direction by more than
    the allowance, and the test of that holds after Holm's correction over all groups and quantities.
    Why: an average over all groups can rise while one group is lost, and the users of that group meet the
    loss every time.
    Do: keep the base model (`probe rollback` if the tuned one is in place); look at the group's items, add
    pairs or replay text of its kind, and compare again.
    Source: non-inferiority tests (Berger 1982 for the whole); the rule "no category down by more than a
    grade" is that of a published post-mortem.
    """
    quantity = change.quantity
    return Finding(
        "PB901",
        "error",
        f"{_where(condition.group)} got worse: {quantity.help}, {_moved(change)}, "
        f"allowed {told(condition.limit or 0.0, quantity.units)}",
        "Keep the base model; look at this group's items before training again.",
        group=condition.group,
        estimate=change.estimate,
    )


def not_shown(left: Sequence[Condition]) -> Finding:
    """PB902 not shown: for some groups it is open whether they got worse.

    Means: the interval of the change reaches beyond the allowance in these groups, or they have too few
    items for any test.
    Why: that no loss was seen does not show that there is none; with few items nothing can be seen.
    Do: measure more items of these groups, or widen the allowance on purpose with --allowance.
    Source: non-inferiority needs an interval, not a missing difference (Altman and Bland 1995).
    """
    names = sorted({c.group for c in left})
    shown = ", ".join(names[:GROUPS_SHOWN]) + (
        f" and {len(names) - GROUPS_SHOWN} more" if len(names) > GROUPS_SHOWN else ""
    )
    return Finding(
        "PB902",
        "warning",
        f"not shown to be within the allowance in {len(left)} of the conditions: {shown}",
        "Measure more items of these groups, or widen the allowance with --allowance.",
    )


def hidden_by_the_mean(whole: QuantityChange, lost: Sequence[Condition]) -> Finding:
    """PB903 hidden by the mean: better on average, and worse in a group.

    Means: the mean over all items rose while at least one group fell by more than its allowance.
    Why: a benchmark that reports one number calls this an improvement.
    Do: decide by group; promote a model only where each group is shown not to be worse.
    Source: a published post-mortem, in which five categories fell under a single score.
    """
    groups = ", ".join(c.group for c in lost)
    return Finding(
        "PB903",
        "warning",
        f"{whole.quantity.help} got better on average ({_moved(whole)}) and worse in {groups}",
        "Decide by group, not by the mean.",
        estimate=whole.estimate,
    )


def sunk_chosen(change: QuantityChange) -> Finding:
    """PB904 chosen side sank: the tuned model finds the chosen responses less likely than the base did.

    Means: the mean log-prob a token of the chosen responses fell by more than 0.1 nats (upper bound).
    Why: preference losses look at the difference of the sides only, so both can fall while it grows; what
    gains the mass is on neither side.
    Do: read sampled answers; train with DPO + NLL or DPOP, or for fewer steps.
    Source: Razin et al. 2024; Pal et al. 2024.
    """
    return Finding(
        "PB904",
        "warning",
        f"the chosen responses lost probability: {_moved(change)}",
        "Read sampled answers; an NLL term or fewer steps keep it from falling.",
        estimate=change.estimate,
    )


def repeats_itself(change: QuantityChange) -> Finding:
    """PB905 repetition rose: answers of the tuned model repeat themselves more.

    Means: on the same prompts, the share of repeated 3-grams in a sampled answer is higher than the base's,
    with an interval above 0.
    Why: repetition is how a model degenerates that was trained too far, and no log-prob of held-out text
    shows it.
    Do: read the answers; stop earlier, or lower the learning rate.
    Source: Holtzman et al. 2020, "The curious case of neural text degeneration".
    """
    return Finding(
        "PB905",
        "warning",
        f"sampled answers repeat themselves more: {_moved(change)}",
        "Read the answers; train for fewer steps or at a lower rate.",
        estimate=change.estimate,
    )


def _where(group: str) -> str:
    return "the whole" if group == "all" else f"group {group}"


def _moved(change: QuantityChange) -> str:
    e, units = change.estimate, change.quantity.units
    return (
        f"{number(change.before, units)} → {number(change.after, units)} "
        f"({told(e.value, units)} {change_interval(e.low, e.high, units)} {units})"
    )
