"""A run as the decision table sees it, and the evidence that it finds there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..records import Estimate, Finding, Run, Severity
from .accept import Accepted, tolerates

Goal = Literal["auto", "taste", "fact", "correctness"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit of the table. `provenance`: `exact`, `measured on …`, a source, or `convention`."""

    value: float
    units: str
    provenance: str
    help: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing a decision rests on: the finding's code, and the sentence with the measured number."""

    code: str
    text: str
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the decision table sees it: what is accepted is left out, thresholds are as configured.

    `goal` is what the pairs are to teach, where the user has said so; `one_stage`: no SFT stage is wanted;
    `off`: thresholds that the config switches off.
    """

    run: Run
    thresholds: Mapping[str, Threshold]
    goal: Goal = "auto"
    one_stage: bool = False
    accepted: Sequence[Accepted] = field(default=())
    alpha: float = 0.05
    off: frozenset[str] = frozenset()

    def findings(self, prefixes: tuple[str, ...], severities: tuple[Severity, ...]) -> list[Finding]:
        """Findings of those codes and severities that are not accepted."""
        return [
            f
            for f in self.run.findings
            if f.code.startswith(prefixes)
            and f.severity in severities
            and not any(tolerates(entry, f) for entry in self.accepted)
        ]

    @property
    def parameters(self) -> int | None:
        """The model's number of weights, where a model was used."""
        size = (self.run.inputs.get("model") or {}).get("parameters")
        return int(size) if size else None

    def named(self, verdict: str) -> str:
        """A bias verdict with the user's own names of the sides."""
        for role, name in zip(("chosen", "rejected"), self.run.inputs.get("sides") or (), strict=False):
            verdict = verdict.replace(f"favours {role}", f"favours {name}")
        return verdict

    @property
    def pairs(self) -> int:
        """Pairs in the file."""
        return int((self.run.inputs.get("pairs") or {}).get("n") or 0)


Held = tuple[Evidence, ...]
