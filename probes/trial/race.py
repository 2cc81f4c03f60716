"""Candidates trained on the same halves under one budget, and which of them is to be preferred.

A candidate is eligible when something was shown of it on unseen pairs: where samples are judged, that they
moved to the chosen kind; else that ranking per token rose, or (for a loss that compares sides) margins did.
The cheapest eligible one wins unless a dearer one beats it beyond noise in a direct comparison. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...records import Estimate, Finding, Measured
from ...stats.behaviour import Behaviour, Half, Judge, behaviour, moves
from ...stats.statistics import binomial_p, cluster_codes, cluster_sums
from .judge import held_out, ranking_change
from .passes import Pass


@dataclass(frozen=True, slots=True)
class RacedMethod:
    """One method of the race: what its halves made of each other.

    `cost`: responses that its *full run* reads, the tie-breaker. `halves` in the file's order of scoring, the
    same for all candidates; `written`: samples before and after, with the judge's material, a half each.
    """

    method: str
    cost: float
    steps: Sequence[int]
    halves: Pass
    written: Sequence[Half] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RaceStanding:
    """A candidate with what was shown of it, at a level corrected for all candidates."""

    candidate: RacedMethod
    accuracy: Estimate
    ranking: Estimate
    behaviour: Behaviour | None
    up: Estimate | None
    eligible: bool = field(default=False)

    @property
    def method(self) -> str:
        """The candidate's name."""
        return self.candidate.method


def race(candidates: Sequence[RacedMethod], alpha: float = 0.05) -> Measured:
    """Estimates `NAME@METHOD` of each candidate, plain `behaviour_*` of the winner, and `details["race"]`.

    Every test of a candidate is made at `alpha` over the number of candidates. Without a winner the plain
    estimates are the first candidate's.
    """
    level = alpha / len(candidates)
    standings = [_standing(candidate, level, len(candidates)) for candidate in candidates]
    won = winner(standings, alpha)
    told = won or standings[0]
    several = len(standings) > 1
    estimates = [*_plain(told, len(candidates))]
    for one in standings if several else ():
        estimates += [
            replace(e, name=f"{e.name}@{one.method}")
            for e in (one.accuracy, one.ranking, *(one.behaviour.estimates if one.behaviour else ()))
        ]
    rows = [_row(one, one is won) for one in standings]
    findings = [found for found in (moves_away(told), only_margins(told, several)) if found]
    return Measured(tuple(estimates), tuple(findings), {"race": rows})


def _standing(candidate: RacedMethod, level: float, tests: int) -> RaceStanding:
    accuracy = held_out(candidate.halves, "trial_accuracy", level)
    ranking = ranking_change(candidate.halves, level)
    some = any(half.before for half in candidate.written)
    shown = behaviour(candidate.written, alpha=level * tests, tests=tests) if some else None
    up = next((e for e in shown.estimates if e.name == "behaviour_up"), None) if shown else None
    if shown is not None and shown.judged:
        eligible = _above(up, 0.5)
    else:
        eligible = _above(ranking, 0.0) or (candidate.method != "sft" and _above(accuracy, 0.5))
    return RaceStanding(candidate, accuracy, ranking, shown, up, eligible)


def _above(estimate: Estimate | None, limit: float) -> bool:
    return estimate is not None and estimate.low is not None and estimate.low > limit


def winner(standings: Sequence[RaceStanding], alpha: float) -> RaceStanding | None:
    """The cheapest eligible candidate that no dearer eligible one beats; None where none is eligible."""
    order = sorted((one for one in standings if one.eligible), key=lambda one: one.candidate.cost)
    if not order:
        return None
    tests = len(order) * (len(order) - 1) / 2
    best = order[0]
    for other in order[1:]:
        if beats(other, best) <= alpha / tests:
            best = other
    return best


def beats(one: RaceStanding, other: RaceStanding) -> float:
    """Two-sided p that `one` is the better, 1 where it is not ahead.

    Where behaviour is judged, prompt by prompt, whose samples are nearer to the chosen kind; else by the
    prompts of which one ranks more unseen pairs right per token (McNemar, where each has one pair).
    """
    if one.behaviour and other.behaviour and one.behaviour.judged:
        up, down = _nearer(one.candidate, other.candidate)
    else:
        right = [
            c.halves.gaps + c.halves.token_margins > 0 for c in (one.candidate, other.candidate)
        ]  # fmt: skip
        prompts = cluster_codes(one.candidate.halves.prompts, len(right[0]))
        more = cluster_sums(right[0].astype(np.float64) - right[1], prompts)
        up, down = int(np.sum(more > 0)), int(np.sum(more < 0))
    return binomial_p(up, up + down) if up > down else 1.0


def _nearer(one: RacedMethod, other: RacedMethod) -> tuple[int, int]:
    up = down = 0
    for mine, theirs in zip(one.written, other.written, strict=True):
        judge = Judge(mine.train_chosen, mine.train_rejected)
        found = moves(judge, replace(mine, before=theirs.after))
        up, down = up + found.up, down + found.down
    return up, down


def _plain(told: RaceStanding, candidates: int) -> list[Estimate]:
    if told.behaviour is None:
        return []
    note = f"; {told.method}, interval corrected for {candidates} candidates" if candidates > 1 else ""
    return [replace(e, method=f"{e.method}{note}") for e in told.behaviour.estimates]


def _row(one: RaceStanding, won: bool) -> dict[str, Any]:
    """A row of the report's table of candidates."""
    shown = one.behaviour.row if one.behaviour else {"judged": False}
    return {
        "method": one.method, "won": won, "eligible": one.eligible, "steps": list(one.candidate.steps),
        "accuracy": one.accuracy.value, "accuracy_low": one.accuracy.low, "ranking": one.ranking.value,
        "ranking_low": one.ranking.low, "seconds": round(one.candidate.seconds, 1),
        "cost": one.candidate.cost, **shown,
    }  # fmt: skip


def moves_away(told: RaceStanding) -> Finding | None:
    """PB510 samples move away: after the trial the model writes more like the rejected side.

    Means: On unseen prompts, with the same random numbers before and after, more samples moved towards the
    rejected kind than towards the chosen one, by a judge that tells unseen pairs apart.
    Why: This is what a user would read; margins can rise all the same.
    Do: Look at the samples; try another method (`probe trial --methods dpo,sft,sft+dpo`) or a smaller rate.
    Source: docs/validity.md.
    """
    if told.up is None or told.up.high is None or told.up.high >= 0.5:
        return None
    row = told.behaviour.row if told.behaviour else {}
    text = f"{told.method}: of the prompts whose samples moved, {row['up']} moved up and {row['down']} down"
    return Finding(
        "PB510", "warning", text, "Try another method or a smaller learning rate.", estimate=told.up
    )


def only_margins(told: RaceStanding, several: bool) -> Finding | None:
    """PB511 written text not shown to move: pairs are ranked better, and samples do not follow.

    Means: The margins of unseen pairs rise beyond chance, but of the prompts whose samples changed not more
    moved to the chosen kind than away from it, as far as these samples can show.
    Why: A margin compares two given texts; the model itself may write neither. In most cells of
    docs/validity.md in which DPO raised every held-out margin, samples did not move up beyond chance.
    Do: More samples or steps; SFT on the chosen side moves samples most directly.
    Source: docs/validity.md.
    """
    up = told.up
    if up is None or up.value is None or up.low is None or up.high is None or up.high < 0.5 < up.low:
        return None
    if not _above(told.accuracy, 0.5) or up.low > 0.5 or up.high < 0.5:
        return None
    row = told.behaviour.row if told.behaviour else {}
    text = (
        f"{told.method} raises the margin of {told.accuracy.value:.0%} of unseen pairs, but moved samples up "
    )
    text += f"on {row['up']} prompts and down on {row['down']}"
    remedy = "Compare with SFT." if several else "Race it: `probe trial --methods dpo,sft,sft+dpo`."
    return Finding("PB511", "info", text, remedy, estimate=up)
