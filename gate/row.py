"""What a rule of the decision table is, and the stages that each method trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import Run
from .predicates import Both, Predicate
from .run_facts import Held, RunFacts

Strength = Literal["certain", "good", "moderate", "reasoned"]
STAGES: dict[str, tuple[str, ...]] = {
    "do-not-train": (),
    "fix-data": (),
    "sft": ("sft",),
    "dpo": ("dpo",),
    "dpop": ("dpop",),
    "dpo+nll": ("dpo_nll",),
    "orpo": ("orpo",),
    "sft+dpo": ("sft", "dpo"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One rule: when all of `when` hold, do `method`.

    `why` completes the evidence's sentence; `instead` is for rows that do not train; `change` says what would
    change the decision, `settles` names the (estimate, threshold) whose open test it waits for, `unmeasured`
    takes the place of `instead` where that estimate is missing. `loss` takes the place of the last stage.
    """

    key: str
    when: tuple[Predicate, ...]
    method: str
    why: str
    source: str
    strength: Strength
    change: str
    instead: str = ""
    unmeasured: str = ""
    settles: tuple[str, str] | None = None
    loss: str | None = None

    def holds(self, facts: RunFacts) -> Held | None:
        """The evidence of all predicates, or None."""
        return Both(self.when)(facts)

    def advice(self, run: Run) -> str:
        """What to do in place of training: a measurement only where it has not been made."""
        missing = self.settles is not None and run.estimate(self.settles[0]) is None
        return self.unmeasured if missing and self.unmeasured else self.instead

    @property
    def stages(self) -> tuple[str, ...]:
        """What would be trained, in order."""
        own = STAGES[self.method]
        return (*own[:-1], self.loss) if self.loss else own


@dataclass(frozen=True, slots=True)
class Note:
    """A reason that is added to whatever trains, or trains one of `stages`, when it holds."""

    when: tuple[Predicate, ...]
    code: str
    text: str
    source: str
    stages: tuple[str, ...] = ()

    def speaks(self, stages: tuple[str, ...], facts: RunFacts) -> bool:
        """Whether it belongs to a decision for these stages."""
        concerned = not self.stages or bool(set(self.stages) & set(stages))
        return concerned and Both(self.when)(facts) is not None
