"""Whether a gate scores pairs by a copy of the model in bfloat16, and what that does to their gaps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..records import Finding
from ..shared_limits import WIDENED as WIDENED  # the text of PB613 names it
from .pace import PACE_PAIRS, Pace, forward_pace, longest_side, pace, scored_sides

if TYPE_CHECKING:
    from ..scoring.rounding import Rounding
    from ..scoring.session import HalfSession, Session

NEAR = 3.0  # standard deviations of the rounding: a gap within so many of 0 is scored in float32
LEAST_COMPARED = 12  # pairs; fewer say too little of the rounding


def scoring_session(session: Session) -> Session:
    """The session that a gate scores in: the copy where it may be taken and changes little, else `session`.

    Tried once a session; `session.half` then says what came of it.
    """
    from ..scoring.half import can_be_halved
    from ..scoring.rounding import allowed
    from ..scoring.session import HalfSession

    if session.half is None:
        tried = _tried(session) if allowed(session) and can_be_halved(session.loaded) else None
        session.half = tried or HalfSession()
    return session.half.session or session


def gate_pace(session: Session, *, writes: bool = True, scores: bool = True) -> Pace:
    """The pace of a gate. `writes`, `scores`: whether a probe of it writes, and whether one scores pairs."""
    found = pace(session, writes=writes)
    if scores and scoring_session(session) is not session and session.half:
        return replace(found, scoring=session.half.forward)
    return found


def _tried(session: Session) -> HalfSession | None:
    """Some pairs of the file, scored both ways; None where they are too few or the model cannot be packed."""
    from ..scoring.half import HalfScorer, halved
    from ..scoring.rounding import rounding
    from ..scoring.session import HalfSession
    from ..scoring.store import Store, model_key

    some, own = session.survey.sample[:PACE_PAIRS], session.scorer
    longest = longest_side(session.encoder.many(session.survey.sample))
    exact = session.scores_of(some, "scoring")
    if len(exact) < LEAST_COMPARED or own.prove(longest).plain:
        return None
    loaded = halved(session.loaded)
    store = own.store and Store(own.store.path, model_key(loaded.facts))
    scorer = HalfScorer(loaded, session.encoder, store, own.budget, met=own.met, exact=own)
    copy = replace(session, loaded=loaded, scorer=scorer)
    copy_pace = forward_pace(copy, scored_sides(session.encoder.many(some)), longest)
    gaps = [score.gap for score in copy.scores_of(some, "scoring in bfloat16")]
    found = rounding([score.gap for score in exact], gaps)
    scorer.near = NEAR * found.noise
    return HalfSession(copy if found.taken else None, found, copy_pace)


def half_finding(session: Session) -> tuple[Finding, ...]:
    """PB613 scored in bfloat16: pairs were scored, and states read, by a copy of the model in bfloat16.

    Means: a gate scores and reads by the faster arithmetic that this processor has. Some of the pairs were
    scored both ways, and the difference widens the interval of their mean gap by {WIDENED:.0%} at most; where
    it would widen it more, float32 is kept. A pair whose gap lies within three standard deviations of the
    difference of 0 was scored in float32: which side is ahead, and whether there is a tie, is not rounding.

    Why: scores and states of some hundred pairs take a third of the time so.

    Do: nothing. `--dtype float32` makes everything in float32; `probe bias` always does.

    Source: `bench/forms.py`; the difference is measured in every run.
    """
    found: Rounding | None = session.half.rounding if session.half else None
    if found is None or not found.taken:
        return ()
    return (
        Finding(
            "PB613",
            "info",
            f"pairs were scored in bfloat16, those near a tie in float32: {found.told(ranked=False)}",
            "Nothing to do; --dtype float32 makes everything in float32.",
        ),
    )  # fmt: skip
