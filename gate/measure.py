"""Run the probes of a gate over one pair file, in one session with the model, and put their results together.

The probes load torch when they run; importing this module does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ProbeError
from ..pairs.misread import MISREAD_CODES
from ..probes.gated import GateRequest, Work, sharing
from ..progress import alive
from ..records import Finding, Measured, Run, to_json, together
from ..runs import environment, now
from ..scoring.processes import exchange, world
from ..scoring.told import once
from . import cache, plan
from .clean import on_clean_labels
from .registry import PROBE_NAMES, PROBES, Probe
from .schedule import Schedule, part_name, schedule_probes
from .states import MEASURED_STATES

if TYPE_CHECKING:
    from ..scoring.session import Session


def run_probes(
    request: GateRequest, session: Session | None = None, seconds: Mapping[str, float] | None = None
) -> tuple[Run, Iterable[Mapping[str, Any]] | None]:
    """Run every probe that is not off; returns the run, not yet judged, and the rows of its `scores.jsonl`.

    `session` is one at hand already; without it the model of `request.how` is loaded. `seconds` per probe are
    those of a bill that was made already. After an error of the
    numerics nothing else runs on the same broken arithmetic. Raises `ProbeError` for bad input and
    `CannotMeasure` for numbers that are not finite.
    """
    if unknown := sorted(request.off.difference(PROBE_NAMES)):
        raise ProbeError(
            f'off: there is no probe "{unknown[0]}". Those of the gate are {", ".join(PROBE_NAMES)}.'
        )
    created, work = now(), Work(request, _session=sharing(session) if session else None)
    possible = [plan.possible(probe, request) for probe in PROBES]
    states = {probe.name: state for probe, state in possible}
    running = [probe for probe, state in possible if state in MEASURED_STATES]
    if any(probe.model for probe in running):
        work.inputs |= work.session.inputs()  # first of all: a wrong file or model is told at once
        print(plan.to_width(plan.planned_lines(work.pairs, request)), file=sys.stderr)
    timed = schedule_probes(work, running, seconds)
    print(timed.opening(), end="", file=sys.stderr)
    parts: list[Measured] = []
    for probe in running:
        part, why_not = _tried(probe, work, parts, timed)
        parts.append(part if probe.name == "data" else _less_misread(part, states["data"]))
        states[probe.name] = why_not or states[probe.name]
    if not MEASURED_STATES.intersection(states.values()):
        raise ProbeError("every probe is switched off, so there is nothing to measure. Leave one on.")
    whole = together(parts)
    run = Run(
        command="gate",
        created=created,
        bias=work.bias,
        estimates=(*whole.estimates, *on_clean_labels(whole.estimates)),
        findings=_of_one_arithmetic(once(whole.findings)),
        inputs=work.facts(),
        config=config.current(),
        environment=environment(),
        details={**whole.details, "probes": states, **_sections(whole.details)},
    )
    return run, work.rows


def _less_misread(part: Measured, data: str) -> Measured:
    """Without what was found on a sample of rows that are read amiss, where the file's check has the say."""
    if data not in MEASURED_STATES:
        return part
    return replace(part, findings=tuple(f for f in part.findings if f.code not in MISREAD_CODES))


def _of_one_arithmetic(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The rounding of bfloat16 (PB613) once, as this run's scores have it: a part that was kept tells that of
    its own."""
    told = [finding for finding in findings if finding.code == "PB613"]
    kept = (finding for finding in findings if finding not in told[1:])
    return tuple(told[-1] if finding in told else finding for finding in kept)


def _sections(details: Mapping[str, Any]) -> dict[str, Any]:
    """How the report shows the rows of a probe that `reports/` has no table of its own for."""
    shown = [p.section for p in PROBES if p.section and details.get(p.section.key)]
    return {"sections": to_json(shown)} if shown else {}


def _tried(probe: Probe, work: Work, before: Iterable[Measured], timed: Schedule) -> tuple[Measured, str]:
    """What one probe found, or why nothing. What a file cannot carry leaves an open condition, no crash."""
    if any(f.severity == "error" and f.code.startswith("PB0") for part in before for f in part.findings):
        return Measured(), "not run, since the numerics failed"
    try:
        return _timed(probe, work, timed), ""
    except ProbeError as error:
        if probe.needed:
            raise
        print(f"{probe.name}: {error}", file=sys.stderr)
        return Measured(), f"could not measure: {error}"


def _timed(probe: Probe, work: Work, timed: Schedule) -> Measured:
    """A probe's part, measured or kept, with what it cost this time."""
    start = time.perf_counter()
    name = part_name(probe, work)
    known = _kept(name, work) if name else None
    planned = probe.cost(work.pairs, work.request.effort, work.request.trial_pairs).what
    what = f"kept since {known[1]}" if known else planned
    print(f"{probe.name}: {what}{timed.at(probe.name)}", file=sys.stderr)
    with alive(probe.name, expected=timed.expected.get(probe.name)):
        part = probe.run(work) if known is None else known[0]
    if name and known is None:
        cache.write(name, part)
    sections = {section: rows for section, rows in part.details.items() if section != "costs"}
    cost = {"probe": probe.name, "what": what, "seconds": round(time.perf_counter() - start, 2)}
    return Measured(part.estimates, part.findings, {**sections, "costs": [cost]})


def _kept(name: str, work: Work) -> tuple[Measured, str] | None:
    """A kept part that every process of the launch has: several machines have a cache each."""
    known = cache.read(name)
    if world() == 1:
        return known  # without asking for the device, which loads the model
    everyone = exchange(known is not None, cpu=work.session.loaded.device.type == "cpu")
    return known if all(everyone) else None
