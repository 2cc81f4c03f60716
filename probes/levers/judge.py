"""What the levers moved: the paired change of the gap, the pairs turned, the sentence, the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...records import NATS_PER_TOKEN, Estimate, Finding, Measured
from ...stats.resampling import sign_flip
from ...stats.statistics import Floats, mean_estimate, share_clustered

BROKEN_RATIO = 2.0  # times the neutral perplexity from which a lever is said to break the model (convention)


@dataclass(frozen=True, slots=True)
class Lever:
    """One lever, measured. `gaps`: nats/token of each pair under it, in the order of the base gaps.

    `tokens`: what a request costs more, on the mean. `seconds`: what it costs before (None: nothing).
    `perplexity`: of neutral answers under it (None: not measured). `how`: its settings in words.
    """

    name: str
    gaps: Floats
    tokens: float
    seconds: float | None
    perplexity: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Base:
    """The model as it is: gaps [pairs], the prompts that pairs share, neutral perplexity."""

    gaps: Floats
    clusters: npt.NDArray[np.int64]
    perplexity: float


def judge_levers(base: Base, levers: Sequence[Lever], alpha: float = 0.05) -> Measured:
    """Estimates, findings, table rows (the cheapest request first) and the sentence.

    A pair is turned when the base model's gap is not above 0 and the lever's is; lost, the other way round.
    The p of a change is that of flipping its sign for whole prompts.
    """
    ordered = sorted(levers, key=lambda lever: (lever.tokens, lever.seconds or 0.0))
    rows, estimates, findings = [_base_row(base)], [], []
    for lever in ordered:
        change, turned = _change(base, lever, alpha), _turned(base, lever, alpha)
        estimates += [change, turned]
        rows.append(_row(base, lever, change, turned))
        findings.append(check_broken(lever, base, change))
    told = sentence(rows[1:])
    findings.insert(0, check_works(rows[1:], estimates, alpha))
    return Measured(tuple(estimates), tuple(f for f in findings if f), {"levers": rows, "levers_told": told})


def _change(base: Base, lever: Lever, alpha: float) -> Estimate:
    moved = lever.gaps - base.gaps
    found = mean_estimate(
        moved, name=f"lever:{lever.name}", units=NATS_PER_TOKEN, clusters=base.clusters, alpha=alpha
    )
    test = sign_flip(moved, base.clusters)
    return replace(found, p=test.p, method=f"{found.method}; {test.method}")


def _turned(base: Base, lever: Lever, alpha: float) -> Estimate:
    wrong = base.gaps <= 0
    name = f"lever_turned:{lever.name}"
    return share_clustered(lever.gaps[wrong] > 0, base.clusters[wrong], name=name, alpha=alpha)


def _base_row(base: Base) -> dict[str, Any]:
    wrong = int((base.gaps <= 0).sum())
    return {
        "lever": "none", "gap": float(base.gaps.mean()), "change": None, "low": None, "high": None, "p": None,
        "turned": None, "wrong": wrong, "lost": None, "right": len(base.gaps) - wrong, "tokens": 0.0,
        "seconds": None, "perplexity": base.perplexity, "how": "", "share": None,
    }  # fmt: skip


def _row(base: Base, lever: Lever, change: Estimate, turned: Estimate) -> dict[str, Any]:
    wrong = base.gaps <= 0
    return {
        "lever": lever.name, "gap": float(lever.gaps.mean()), "change": change.value, "low": change.low,
        "high": change.high, "p": change.p, "turned": int((lever.gaps[wrong] > 0).sum()),
        "wrong": int(wrong.sum()), "lost": int((lever.gaps[~wrong] <= 0).sum()), "right": int((~wrong).sum()),
        "tokens": lever.tokens, "seconds": lever.seconds, "perplexity": lever.perplexity, "how": lever.how,
        "share": turned.value,
    }  # fmt: skip


# A lever as the subject of a sentence; a name that is not here is told as it is.
SUBJECTS = {
    "system": "the system text", "context": "the passage", "shots": "showing other answers first",
    "steering": "the steering vector",
}  # fmt: skip


def as_subject(lever: str) -> str:
    """What turns pairs, in words that a verb can follow."""
    return SUBJECTS.get(lever, lever)


def sentence(rows: Sequence[dict[str, Any]]) -> str:
    """What the levers come to in one sentence; rows are those of the levers, the cheapest first."""
    if not rows:
        return ""
    wrong = rows[0]["wrong"]
    if not wrong:
        return "the model ranks every pair right already: there is nothing to turn"
    prompts = [row for row in rows if row["lever"] != "trial"]
    trial = next((row for row in rows if row["lever"] == "trial"), None)
    best = max(prompts, key=_gained, default=None)
    told = f"{as_subject(best['lever'])} turns {_turns(best)}" if best else ""
    if trial is None:
        return told + ("" if best and _gained(best) > 0 else ": nothing works")
    if best is None:
        return f"the trial turns {_turns(trial)}"
    return f"{told}, the trial {_counts(trial)}: {_compared(prompts, _gained(trial))}"


def _gained(row: dict[str, Any]) -> int:
    """Pairs turned right less pairs turned wrong."""
    return int(row["turned"] - row["lost"])


def _turns(row: dict[str, Any]) -> str:
    lost = f" and loses {row['lost']} of {row['right']} that it ranks right" if row["lost"] else ""
    return f"{row['turned']} of {row['wrong']} pairs that the model ranks wrong{lost}"


def _counts(row: dict[str, Any]) -> str:
    """The same of a second lever, whose numbers are of the same pairs."""
    lost = f" and loses {row['lost']} of {row['right']}" if row["lost"] else ""
    return f"{row['turned']} of {row['wrong']}{lost}"


def _compared(levers: Sequence[dict[str, Any]], trial: int) -> str:
    """How the levers stand to the pairs that the trial gained; rows the cheapest first."""
    best = max(levers, key=_gained)
    if max(_gained(best), trial) <= 0:
        return "nothing tried works"
    if trial > _gained(best):
        return "training does more than anything tried"
    if trial <= 0:
        return f"{as_subject(best['lever'])} does more than the trial, without training"
    first = next(row["lever"] for row in levers if _gained(row) >= trial)
    return f"{as_subject(first)} does as much as the trial, without training"


def check_works(
    rows: Sequence[dict[str, Any]], estimates: Sequence[Estimate], alpha: float
) -> Finding | None:
    """PB530 a lever without training: something cheaper moves the gap towards the chosen side.

    Means: under the named lever the gap rises, by a test over prompts under Bonferroni's correction over the
    levers tried; at least one wrongly ranked pair turns, and at least as many turn as are lost.
    Why: a system text, a passage or a vector can be changed tomorrow, and the model forgets nothing;
    published accounts found retrieval and prompts stronger than LoRA for changing a belief.
    Do: try the lever on the task itself before training; train where it costs too many tokens or turns too
    few pairs.
    Source: measured on this file; docs/commands/levers.md says what is not known of unseen pairs.
    """
    tried = [row for row in rows if row["lever"] != "trial"]
    works = [
        row for row in tried
        if row["change"] > 0 and row["p"] is not None and row["p"] * len(tried) <= alpha
        and row["turned"] >= row["lost"] and row["turned"] > 0
    ]  # fmt: skip
    if not works:
        return None
    best = works[0]  # the cheapest
    estimate = next(e for e in estimates if e.name == f"lever:{best['lever']}")
    return Finding(
        "PB530",
        "info",
        f"{as_subject(best['lever'])} turns {best['turned']} of {best['wrong']} wrongly ranked pairs "
        f"and loses {best['lost']} of {best['right']}, at {best['tokens']:.0f} tokens a request and "
        "without training",
        "Try it on the task itself before training.",
        estimate=estimate,
    )


def check_broken(lever: Lever, base: Base, change: Estimate) -> Finding | None:
    """PB531 lever breaks the model: neutral text becomes much less likely under it.

    Means: the perplexity of ordinary answers to neutral questions is more than {BROKEN_RATIO:g} times the
    base model's.
    Why: the gap may then move because the model no longer writes sensible text, and the pairs cannot show the
    difference.
    Do: use a smaller --strength or a shorter text; do not read the lever's gap as a gain.
    Source: the limit of twice is a convention.
    """
    if lever.perplexity is None or lever.perplexity <= BROKEN_RATIO * base.perplexity:
        return None
    return Finding(
        "PB531",
        "warning",
        f"under {as_subject(lever.name)} the perplexity of neutral answers is {lever.perplexity:.3g}, "
        f"without it {base.perplexity:.3g}",
        "Do not read its gap as a gain; lower --strength or shorten the text.",
        estimate=change,
    )
