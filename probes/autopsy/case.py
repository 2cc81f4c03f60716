"""What an autopsy works on and what it returns: a case, the signs found in it, the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .curve import Curve, LogRow, curve_of
from .log import Log
from .method import RecognisedMethod

Confidence = Literal["certain", "likely", "cannot tell"]
Main = Literal["numerics", "diverged", "stuck", "overfit", "saturated", "displaced", "healthy"]


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing a log shows. `label` is a main label or a tag, `since_step` the first step that shows it.

    `evidence` quotes the log's numbers, `next` says what to check. `confidence` is "certain" where
    arithmetic on the logged numbers decides, "likely" where a rule weighs them, "cannot tell" where the log
    is too short.
    """

    label: str
    code: str
    since_step: float | None
    evidence: str
    next: str
    confidence: Confidence = "likely"


@dataclass(frozen=True, slots=True)
class Case:
    """A log with its recognised method."""

    log: Log
    method: RecognisedMethod

    def at(self, place: float) -> str:
        """`step 20`, or `entry 3` where the log does not say the step."""
        return self.log.at(place)

    def unmoved(self, row: LogRow) -> bool:
        """Whether a row's learning rate is 0, and not one that is written with too few digits."""
        return row.get("learning_rate") == 0.0 and not self.log.below("learning_rate")

    def curve(self, name: str) -> Curve:
        """The finite values of a column, in training or else in the evaluations."""
        return self.log.curve(name)

    def places(self) -> Iterator[tuple[str, tuple[LogRow, ...]]]:
        """Training and every evaluation set, each with the prefix its columns had in the file."""
        yield "", self.log.train
        for name, rows in self.log.evals.items():
            yield f"eval_{name}_" if name else "eval_", rows

    def evaluations(self, name: str) -> Iterator[tuple[str, Curve]]:
        """One column of every evaluation set, under its name in the file."""
        for prefix, rows in self.places():
            if prefix:
                yield prefix + name, curve_of(rows, name)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened: the first main label that applies (`signs[0]`), the others (`also`), and the tags.

    `healthy` means that no rule for a failed curve fired; the tags may still say that the run is worthless.
    """

    main: Main
    method: RecognisedMethod
    sign: Sign
    also: tuple[Sign, ...] = ()
    tags: tuple[Sign, ...] = ()
    notes: tuple[str, ...] = ()
    unit: str = "step"
