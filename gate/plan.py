"""What a gate would run, and what that costs, before anything is spent.

The unit is a pair's way through the model, both sides: forward alone, or forward and backward. Counts follow
from the number of pairs; seconds follow from the machine, and each probe says them as it goes.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from ..probes.gated import Cost, Effort
from .registry import PROBES, Probe

WITHOUT = "  without it: "
LAST_COLUMN = 33


def costs(
    n: int, trial_pairs: int = 128, effort: Effort = Effort(), probes: Sequence[Probe] = PROBES
) -> tuple[Cost, ...]:
    """The cost of every probe on a file of `n` pairs, in the order in which they run."""
    return tuple(probe.cost(n, effort, trial_pairs) for probe in probes)


def plan_lines(planned: tuple[Cost, ...], off: frozenset[str]) -> Iterator[str]:
    """The plan as a table, two lines a probe, and its sum; what each one's removal would cost below it."""
    lost = {probe.name: probe.without for probe in PROBES}
    on = [cost for cost in planned if cost.probe not in off]
    total = Cost(
        "all", sum(c.forward for c in on), sum(c.backward for c in on), "what is stored costs nothing"
    )
    yield f"{'probe':<12}  {'forward':>7}  {'backward':>8}"
    for cost in (*planned, total):
        numbers = ("–", "–") if cost.probe in off else (f"{cost.forward:,}", f"{cost.backward:,}")
        what = "off; its conditions stay open" if cost.probe in off else cost.what
        yield f"{cost.probe:<12}  {numbers[0]:>7}  {numbers[1]:>8}  {what}"
        if cost.probe in lost:
            yield f"{WITHOUT}{lost[cost.probe]}"


def to_width(lines: Iterable[str], indent: int = LAST_COLUMN) -> str:
    """The lines as wide as the terminal: what has no room goes on at `indent`."""
    width = max(60, shutil.get_terminal_size((80, 24)).columns)
    places = ((line, " " * (len(WITHOUT) if line.startswith(WITHOUT) else indent)) for line in lines)
    parts = (textwrap.wrap(line, width, subsequent_indent=place) or [""] for line, place in places)
    return "\n".join(part for some in parts for part in some)
