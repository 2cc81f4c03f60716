"""Whether the tuned model's answers moved to the chosen kind: the judge of behaviour, cross-fitted.

A comparison has no training pairs, so the judge of half of the prompts is fitted on the pairs of the other
half. It reads texts alone: one model is held at a time, so there are no states of the base model for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...pairs.identity import prompt_identity
from ...records import Run
from ...stats.behaviour import CutResponse, Half, behaviour

if TYPE_CHECKING:
    from ...scoring.session import Session

FEWEST_PROMPTS = 8  # prompts of a half


@dataclass(frozen=True, slots=True)
class Heard:
    """Answers by prompt, and both sides of the pairs with their prompts, each cut to the same length."""

    prompts: Sequence[str]
    answers: Sequence[CutResponse]
    pair_prompts: Sequence[str]
    chosen: Sequence[CutResponse]
    rejected: Sequence[CutResponse]


def heard(session: Session, prompts: Sequence[str], ids: Sequence[tuple[int, ...]], most: int) -> Heard:
    """The answers, of at most `most` tokens, and the pairs of the survey, as the judge reads them."""
    from ...training.behaviour import Sampling, as_writing, cut

    pairs = [pair for pair in session.survey.first if pair.prompt]
    codes = session.encoder.many(pairs)
    how = Sampling().fitted([side for one in codes for side in (one.chosen, one.rejected)])
    how = replace(how, tokens=min(how.tokens, most))
    return Heard(
        list(prompts),
        [cut(session.loaded, answer, how) for answer in ids],
        [prompt_identity(pair) for pair in pairs],
        [as_writing(session.loaded, one.chosen, how) for one in codes],
        [as_writing(session.loaded, one.rejected, how) for one in codes],
    )


def with_behaviour(run: Run, base: Heard | None, tuned: Heard | None, *, alpha: float, seed: int) -> Run:
    """`run` with `behaviour_*` and their row, where both models answered the same prompts, enough of them."""
    if base is None or tuned is None or list(base.prompts) != list(tuned.prompts):
        return run
    if len(base.prompts) < 2 * FEWEST_PROMPTS:
        return run
    known = sorted({*base.prompts, *base.pair_prompts})
    first = set(np.random.default_rng(seed).permutation(known)[::2].tolist())
    found = behaviour([_half(base, tuned, first, part) for part in (True, False)], alpha=alpha)
    row: dict[str, Any] = {
        "method": "tuned", "won": True, "eligible": True, "accuracy": None, "ranking": None, **found.row,
    }  # fmt: skip
    details = {**run.details, "race": [row]}
    return replace(run, estimates=(*run.estimates, *found.estimates), details=details)


def _half(base: Heard, tuned: Heard, first: set[str], part: bool) -> Half:
    """Judged: the prompts in `first` (without `part`: the others); fitted on the pairs of the rest."""

    def sides(rows: list[int]) -> tuple[list[CutResponse], list[CutResponse]]:
        return [base.chosen[i] for i in rows], [base.rejected[i] for i in rows]

    mine = [i for i, prompt in enumerate(base.pair_prompts) if (prompt in first) == part]
    fitted = [i for i, prompt in enumerate(base.pair_prompts) if (prompt in first) != part]
    asked = [i for i, prompt in enumerate(base.prompts) if (prompt in first) == part]
    before, after = ([[one.answers[i]] for i in asked] for one in (base, tuned))
    of_pairs, of_answers = [base.pair_prompts[i] for i in mine], [base.prompts[i] for i in asked]
    return Half(*sides(fitted), *sides(mine), of_pairs, before, after, of_answers)
