"""How long a gate will take on this machine, told before it begins and as each probe begins.

The seconds come from a short warm-up and the counts that each probe states (`gate/bill.py`); a training step
is taken to cost as much as three forwards. No torch at import.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..probes.gated import Work
from ..progress import alive
from . import cache
from .bill import duration, probe_seconds, text_seconds
from .registry import Probe

SCORED = frozenset({"negatives", "bias", "effects"})  # probes that score pairs themselves
STEP_FORWARDS = 3.0  # forwards that a forward with its backward pass is worth


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds that each probe is expected to take, without those whose part is kept from an earlier run."""

    expected: Mapping[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def opening(self) -> str:
        """The line before a gate begins; "" where nothing is left to measure."""
        if not self.expected:
            return ""
        parts = ", ".join(f"{name} {duration(value)}" for name, value in self.expected.items())
        whole = duration(sum(self.expected.values()))
        return f"about {whole} on this machine, less where scores are stored: {parts}\n"

    def at(self, name: str) -> str:
        """What is added to the line with which a probe begins: its own time, and how far the whole is, by the
        time that those before it took and that this one and those after it are expected to take."""
        if name not in self.expected:
            return ""
        names = list(self.expected)
        left = sum(self.expected[one] for one in names[names.index(name) :])
        spent = time.monotonic() - self.started
        whole = spent + left
        return f"; about {duration(self.expected[name])} ({spent:.0f} s of about {duration(whole)} gone)"


def part_name(probe: Probe, work: Work) -> str:
    """The name under which a probe's part is kept; "" where it is not."""
    if not probe.keeps or work.request.how.no_cache:
        return ""
    return cache.entry_name(probe.name, work.depends())


def schedule_probes(work: Work, on: Sequence[Probe], known: Mapping[str, float] | None = None) -> Schedule:
    """The expected seconds of the probes that are to be run: `known`, or from a warm-up on the first pairs.

    Without an expectation where the warm-up fails: what stops it is for the probes to tell.
    """
    new = [p for p in on if p.model and not ((name := part_name(p, work)) and cache.read(name))]
    if not new:
        return Schedule()
    if known is not None:
        return _expecting(known, new)
    from ..probes.half import gate_pace

    try:
        with alive("estimating the time"):
            names = {p.name for p in new}
            found = gate_pace(work.session, writes="trial" in names, scores=bool(SCORED & names))
            reads = "negatives" in names
            text = text_seconds(work.session, work.pairs) if reads else 0.0
    except Exception:
        return Schedule()
    spent = probe_seconds(work.request, work.pairs, found, STEP_FORWARDS * found.forward, text)
    return _expecting(spent, new)


def _expecting(spent: Mapping[str, float], new: Sequence[Probe]) -> Schedule:
    return Schedule({p.name: spent[p.name] for p in new if spent.get(p.name)})
