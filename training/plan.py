"""What a stage of training is given, and what it keeps while it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..scoring.scores import EncodedSide
from .data import Example
from .guard import State, state_from_json
from .guard_records import Event, GuardLimits
from .objective import Sums
from .recipes import MICRO_TOKENS


@dataclass(frozen=True, slots=True)
class Options:
    """How a stage is run, whatever its method."""

    seed: int = 0
    steps: int | None = None  # optimizer steps; None: by the recipe's epochs
    eval_every: int | None = None  # steps; None: a tenth of the run
    log_every: int | None = None  # steps; None: a hundredth of the run
    micro_tokens: int = MICRO_TOKENS
    mixed_precision: str = "no"
    resume: bool = False
    limits: GuardLimits = field(default_factory=GuardLimits)
    guard: bool = True
    sampled_prompts: int = 4
    replay_share: float = 0.25
    trackers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """What a stage trains on and is watched with."""

    train: Sequence[Example]
    held_out: Sequence[Example]
    replay: Sequence[EncodedSide] = ()
    watch: Sequence[EncodedSide] = ()


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended. `best_step` is the step whose weights the model now has."""

    steps: int
    best_step: int
    log_history: tuple[dict[str, Any], ...]
    events: tuple[Event, ...]
    stopped: Event | None


@dataclass
class Progress:
    """What a checkpoint remembers beside weights."""

    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    guard: State = field(default_factory=State)
    sums: Sums = field(default_factory=Sums)  # of the steps since the last row

    def to_json(self, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
        """Plain values; the fingerprint says which run this is."""
        return {
            "step": self.step,
            "rows": self.rows,
            "events": [asdict(event) for event in self.events],
            "guard": asdict(self.guard) | {"warned": sorted(self.guard.warned)},
            "sums": asdict(self.sums),
            "run": dict(fingerprint),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Progress:
        """The inverse of `to_json`."""
        events = [Event(**event) for event in data["events"]]
        return cls(
            data["step"], list(data["rows"]), events, state_from_json(data["guard"]), Sums(**data["sums"])
        )
