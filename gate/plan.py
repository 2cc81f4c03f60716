"""What a gate would run, and what that costs, before anything is spent.

The unit is a pair's way through the model, both sides: forward alone, or forward and backward. Counts follow
from the number of pairs; seconds follow from the machine, and each probe says them as it goes.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..probes.gated import Cost, Effort, GateRequest
from ..scoring.options import is_endpoint
from .registry import PROBES, Probe
from .states import DONE, TEXT_ALONE

WITHOUT = "  without it: "
LAST_COLUMN = 33
NO_WEIGHTS = "not measured: it needs the weights, and an endpoint gives log-probs"


def possible(probe: Probe, request: GateRequest) -> tuple[Probe, str]:
    """The probe as this request can run it, and its state: one of `MEASURED_STATES`, or why it is not run."""
    if probe.name in request.off:
        return probe, "off"
    if not (probe.model and probe.weights and is_endpoint(request.how.model)):
        return probe, probe.idle(request) or DONE
    if probe.text is None:
        return probe, NO_WEIGHTS
    costless = Cost(probe.name, 0, 0, "the text alone")
    return replace(probe, run=probe.text, cost=lambda *_: costless), TEXT_ALONE


def not_run(request: GateRequest) -> dict[str, str]:
    """The probes that a request switches off or that its model cannot run, each with which of the two."""
    states = {probe.name: possible(probe, request)[1] for probe in PROBES}
    return {name: state for name, state in states.items() if state in ("off", NO_WEIGHTS)}


def planned_lines(n: int, request: GateRequest) -> Iterator[str]:
    """The plan of a request on a file of `n` pairs, as it is printed."""
    probes = [possible(probe, request)[0] for probe in PROBES]
    return plan_lines(costs(n, request.trial_pairs, request.effort, probes), not_run(request))


def costs(
    n: int, trial_pairs: int = 128, effort: Effort = Effort(), probes: Sequence[Probe] = PROBES
) -> tuple[Cost, ...]:
    """The cost of every probe on a file of `n` pairs, in the order in which they run."""
    return tuple(probe.cost(n, effort, trial_pairs) for probe in probes)


def plan_lines(planned: tuple[Cost, ...], off: Mapping[str, str]) -> Iterator[str]:
    """The plan as a table, two lines a probe, and its sum; what each one's removal would cost below it.

    `off`: the probes that are not run, each with why.
    """
    lost = {probe.name: probe.without for probe in PROBES}
    on = [cost for cost in planned if cost.probe not in off]
    total = Cost(
        "all", sum(c.forward for c in on), sum(c.backward for c in on), "what is stored costs nothing"
    )
    yield f"{'probe':<12}  {'forward':>7}  {'backward':>8}"
    for cost in (*planned, total):
        numbers = ("–", "–") if cost.probe in off else (f"{cost.forward:,}", f"{cost.backward:,}")
        what = f"{off[cost.probe]}; its conditions stay open" if cost.probe in off else cost.what
        yield f"{cost.probe:<12}  {numbers[0]:>7}  {numbers[1]:>8}  {what}"
        if cost.probe in lost:
            yield f"{WITHOUT}{lost[cost.probe]}"


def to_width(lines: Iterable[str], indent: int = LAST_COLUMN) -> str:
    """The lines as wide as the terminal: what has no room goes on at `indent`."""
    width = max(60, shutil.get_terminal_size((80, 24)).columns)
    places = ((line, " " * (len(WITHOUT) if line.startswith(WITHOUT) else indent)) for line in lines)
    parts = (textwrap.wrap(line, width, subsequent_indent=place) or [""] for line, place in places)
    return "\n".join(part for some in parts for part in some)
