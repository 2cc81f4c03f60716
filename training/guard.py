"""The guard: says when a preference run should be warned, stopped or taken back.

Numbers in, events out: nothing here touches a model, a trainer or a file. The rules are in `rules.py`; these
two functions thread them over a run, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .guard_records import Event, GuardLimits, HeldOut, Step
from .rules import (
    accelerating,
    displaced,
    forgetting,
    frozen,
    impossible,
    not_reference,
    numerics,
    overfit,
    repeating,
    saturated,
    scattered,
    thumb,
)


@dataclass(frozen=True, slots=True)
class State:
    """What the guard remembers of one run and one held-out set."""

    steps: tuple[Step, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    best: HeldOut | None = None
    warned: frozenset[str] = frozenset()

    @property
    def since_held_out(self) -> tuple[Step, ...]:
        """The training rows since the last held-out measurement."""
        last = self.held_out[-1].step if self.held_out else -1
        return tuple(row for row in self.steps if row.step > last)


def watch_step(
    state: State,
    row: Step,
    limits: GuardLimits,
    *,
    dpo: bool = True,
    scaled: bool = False,
    total_steps: int | None = None,
) -> tuple[State, list[Event]]:
    """The guard's answer to one training row; returns the new state and what is to be said.

    `dpo`: the loss is −log σ of the reward margin plus something ≥ 0, so that its floor is known. `scaled`: a
    gradient scaler is at work.
    """
    streak = any(step.bad for step in state.steps[-2:])
    state = replace(state, steps=(*state.steps, row))
    events: list[Event | None] = [
        numerics(row.step, row.bad, scaled=scaled, repeated=streak),
        impossible(row.step, row.loss, row.reward_margin) if dpo and not row.bad else None,
        not_reference(row) if dpo else None,
        frozen(state.steps),
        accelerating(state.steps),
        *(thumb(row, total_steps, limits) if dpo else ()),
    ]
    return _told(state, events)


def watch_held_out(state: State, now: HeldOut, limits: GuardLimits) -> tuple[State, list[Event]]:
    """The guard's answer to one held-out measurement.

    The best state is the one of least held-out loss among those that broke no rule.
    """
    earlier, since = state.held_out, state.since_held_out
    start = earlier[0] if earlier else now
    events = [
        numerics(now.step, now.bad),
        displaced(now, limits),
        scattered(now, start, limits),
        repeating(now, start, limits),
        saturated(since, now, earlier, limits),
        overfit(now, earlier, limits),
        forgetting(now, start, limits),
    ]
    state = replace(state, held_out=(*earlier, now))
    if not any(event and event.action == "rollback" for event in events):
        state = replace(state, best=_better(state.best, now))
    return _told(state, events)


def _better(best: HeldOut | None, now: HeldOut) -> HeldOut | None:
    if now.loss is None or not math.isfinite(now.loss):
        return best
    if best is None or best.loss is None or now.loss < best.loss:
        return now
    return best


def _told(state: State, events: Iterable[Event | None]) -> tuple[State, list[Event]]:
    """A warning is given once a run; stops are always said."""
    new: list[Event] = []
    for event in events:
        if event and (event.action != "warn" or event.code not in state.warned | {e.code for e in new}):
            new.append(event)
    return replace(state, warned=state.warned | {event.code for event in new}), new


def state_from_json(data: Mapping[str, Any]) -> State:
    """A state from its `dataclasses.asdict` form, as a checkpoint keeps it."""
    best = data["best"]
    return State(
        tuple(Step(**_tupled(row)) for row in data["steps"]),
        tuple(HeldOut(**_tupled(row)) for row in data["held_out"]),
        HeldOut(**_tupled(best)) if best else None,
        frozenset(data["warned"]),
    )


def _tupled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "bad": tuple(row["bad"])}
