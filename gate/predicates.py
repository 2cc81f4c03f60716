"""What the decision table asks of a run: small predicates that answer with their evidence.

Each predicate is data: it can be printed for the documentation, and applied to `RunFacts`. It answers a tuple
of evidence (what it rests on, with the measured number), or None where it does not hold. A number counts as
above or below a limit only when the test against it rejects at alpha: at the alpha of the measurement, when
its whole interval is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ..number_format import measured as shown
from ..records import Estimate, Finding, Severity
from .accept import tolerates
from .conditions import p_against, wilson
from .restated import level_of
from .run_facts import Evidence, Goal, Held, RunFacts
from .states import probes_run


class Predicate(Protocol):
    """A row's condition: evidence where it holds, else None. Its `str` is the documentation."""

    def __call__(self, facts: RunFacts) -> Held | None:
        """Evidence, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A finding whose code has one of the prefixes (and none of `but`), of one of the severities."""

    prefixes: tuple[str, ...]
    severities: tuple[Severity, ...] = ("error",)
    but: tuple[str, ...] = ()

    def __call__(self, facts: RunFacts) -> Held | None:
        """One piece of evidence a finding."""
        found = facts.findings(self.prefixes, self.severities)
        held = tuple(
            Evidence(f.code, f.message, f.estimate) for f in found if not f.code.startswith(self.but)
        )
        return held or None

    def __str__(self) -> str:
        but = f" but {', '.join(self.but)}" if self.but else ""
        return f"{' or '.join(self.severities)} {', '.join(c.ljust(5, 'x') for c in self.prefixes)}{but}"


@dataclass(frozen=True, slots=True)
class Beyond:
    """An estimate of the whole file that is shown to lie on one side of a threshold.

    A `concern` is not raised where the config accepts its code or switches its limit off; good news has
    none to accept.
    """

    name: str
    side: Literal["above", "below"]
    threshold: str
    code: str
    concern: bool = True

    def __call__(self, facts: RunFacts) -> Held | None:
        """The estimate with its interval, the limit, and where the limit comes from."""
        measured, threshold = facts.run.estimate(self.name), facts.thresholds[self.threshold]
        limit = threshold.value
        if measured is None or measured.value is None:
            return None
        beyond = measured.value > limit if self.side == "above" else measured.value < limit
        p = p_against(measured, limit, level_of(facts.run))
        held = beyond and p is not None and p < facts.alpha
        if self.concern and self.threshold in facts.off:
            return None
        concern = Finding(self.code, "warning", "", "", estimate=measured)
        if self.concern and any(tolerates(entry, concern) for entry in facts.accepted):
            return None
        text = f"{say(measured)}, {self.side} {limit:g} (limit: {threshold.provenance})"
        return (Evidence(self.code, text, measured),) if held else None

    def __str__(self) -> str:
        limit = "its limit" if self.threshold == self.name else f"the limit of {self.threshold}"
        return f"{self.name} {self.side} {limit}"


@dataclass(frozen=True, slots=True)
class Failed:
    """The condition of that name fails for the whole file."""

    name: str

    def __call__(self, facts: RunFacts) -> Held | None:
        """The measured number and the limit, under the code of what was found."""
        held = (c for c in facts.run.verdict.conditions if c.name == self.name and c.group == "all")
        found = next((c for c in held if c.gates and c.result == "fail"), None)
        if found is None or found.measured is None:
            return None
        return (Evidence(found.code, f"{say(found.measured)}, limit {found.limit:g}", found.measured),)

    def __str__(self) -> str:
        return f"{self.name} fails"


@dataclass(frozen=True, slots=True)
class Judged:
    """Samples before and after the trial were judged: the judge tells unseen pairs apart."""

    def __call__(self, facts: RunFacts) -> Held | None:
        """No evidence of its own."""
        moved = facts.run.estimate("behaviour_up")
        return None if moved is None or moved.value is None else ()

    def __str__(self) -> str:
        return "samples judged"


@dataclass(frozen=True, slots=True)
class Won:
    """The method that a race of the trial prefers."""

    method: str

    def __call__(self, facts: RunFacts) -> Held | None:
        """What was shown of it on unseen prompts and pairs."""
        row = next((r for r in facts.run.details.get("race") or () if r["won"]), None)
        if row is None or row["method"] != self.method:
            return None
        told = f"raises the margin of {row['accuracy']:.0%} of unseen pairs"
        if row["judged"]:
            told += f" and moves the samples of {row['up']} prompts up, {row['down']} down"
        return (Evidence("PB501", f"in the race {self.method} {told}"),)

    def __str__(self) -> str:
        return f"the race prefers {self.method}"


@dataclass(frozen=True, slots=True)
class MovesSamples:
    """A candidate of the race whose samples are shown to move to the chosen kind, preferred or not."""

    method: str

    def __call__(self, facts: RunFacts) -> Held | None:
        """On how many unseen prompts they moved, up and down."""
        raced = (r for r in facts.run.details.get("race") or () if r["method"] == self.method)
        row = next((r for r in raced if r.get("eligible") and r["judged"]), None)
        if row is None:
            return None
        text = f"in the race {self.method} moves the samples of {row['up']} prompts up, {row['down']} down"
        return (Evidence("PB501", text),)

    def __str__(self) -> str:
        return f"in the race {self.method} moves samples to the chosen kind"


@dataclass(frozen=True, slots=True)
class Turned:
    """After the trial most unseen pairs are shown to be ranked right: the belief has given way to one of the
    candidates, each with an interval that allows for their number."""

    def __call__(self, facts: RunFacts) -> Held | None:
        """The share of pairs before, and the trial's change of it."""
        raced = (f"@{row['method']}" for row in facts.run.details.get("race") or ())
        changes = (facts.run.estimate(f"ranking_change{name}") for name in ("", *raced))
        return next((held for change in changes if change and (held := self._by(change, facts))), None)

    def _by(self, change: Estimate, facts: RunFacts) -> Held | None:
        before = facts.run.estimate("win_rate")
        if before is None or before.value is None or change.value is None:
            return None
        prompts = facts.run.estimate("effective_prompts")
        n = min(change.n, (prompts and prompts.value) or change.n)
        least = change.value if change.low is None else change.low  # None: the same change in every pair
        after = min(1.0, before.value + change.value)
        if before.value + least <= 0.5 or wilson(after, n, facts.alpha)[0] <= 0.5:
            return None
        text = (
            f"{say(before)}, {100 * change.value:+.0f} points after the trial on pairs it was not trained on"
        )
        return (Evidence("PB501", text, change),)

    def __str__(self) -> str:
        return "most unseen pairs are ranked right after the trial"


@dataclass(frozen=True, slots=True)
class Leaning:
    """The bias verdict of the whole file."""

    verdict: str

    def __call__(self, facts: RunFacts) -> Held | None:
        """The verdict with the measured gap."""
        if not any(row.group == "all" and row.verdict == self.verdict for row in facts.run.bias):
            return None
        gap = facts.run.estimate("gap")
        number = f": {say(gap)}" if gap else ""
        return (Evidence("PB101", f"the base model {facts.named(self.verdict)}{number}", gap),)

    def __str__(self) -> str:
        return f"the base model {self.verdict}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user said the pairs are to teach, or that no SFT stage is wanted."""

    goal: Goal | Literal["one stage"]

    def __call__(self, facts: RunFacts) -> Held | None:
        """No evidence of its own: a wish is not a measurement."""
        return () if (facts.one_stage if self.goal == "one stage" else facts.goal == self.goal) else None

    def __str__(self) -> str:
        return "--one-stage" if self.goal == "one stage" else f"--goal {self.goal}"


@dataclass(frozen=True, slots=True)
class Size:
    """The model has at least as many weights as the threshold."""

    threshold: str

    def __call__(self, facts: RunFacts) -> Held | None:
        """No evidence of its own."""
        return () if (facts.parameters or 0) >= facts.thresholds[self.threshold].value else None

    def __str__(self) -> str:
        return f"model size at least {self.threshold}"


@dataclass(frozen=True, slots=True)
class Ran:
    """Every one of these probes has run."""

    probes: tuple[str, ...]

    def __call__(self, facts: RunFacts) -> Held | None:
        """No evidence of its own."""
        return () if set(self.probes) <= probes_run(facts.run) else None

    def __str__(self) -> str:
        return f"{', '.join(self.probes)} measured"


@dataclass(frozen=True, slots=True)
class Not:
    """The predicate does not hold; says nothing about whether its opposite was shown."""

    of: Predicate

    def __call__(self, facts: RunFacts) -> Held | None:
        """No evidence: absence is not a measurement."""
        return () if self.of(facts) is None else None

    def __str__(self) -> str:
        return f"not ({self.of})"


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of the predicates holds."""

    of: tuple[Predicate, ...]

    def __call__(self, facts: RunFacts) -> Held | None:
        """The evidence of all that hold."""
        held = [h for predicate in self.of if (h := predicate(facts)) is not None]
        return tuple(e for h in held for e in h) if held else None

    def __str__(self) -> str:
        return "(" + " or ".join(map(str, self.of)) + ")"


@dataclass(frozen=True, slots=True)
class Both:
    """All of the predicates hold."""

    of: tuple[Predicate, ...]

    def __call__(self, facts: RunFacts) -> Held | None:
        """The evidence of all."""
        held = [predicate(facts) for predicate in self.of]
        return None if any(h is None for h in held) else tuple(e for h in held for e in h or ())

    def __str__(self) -> str:
        return "(" + " and ".join(map(str, self.of)) + ")"


def say(measured: Estimate) -> str:
    """`trial accuracy 62% [55%, 69%]`: an estimate inside a sentence."""
    name = measured.name.replace("_", " ")
    if measured.value is None:
        return f"{name} could not be measured"
    units = "" if measured.units in ("share", "") else f" {measured.units}"
    return f"{name} {shown(measured)}{units}"
