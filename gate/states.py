"""What became of each probe of a run, and why a condition has no measurement."""

from __future__ import annotations

from collections.abc import Mapping

from ..records import Run
from .registry import PROBE_NAMES, Rule

DONE = "done"  # in `details.probes`; any other state but the next says why a probe has no result
TEXT_ALONE = "only the text: the rest needs the weights, and an endpoint gives log-probs"
MEASURED_STATES = frozenset({DONE, TEXT_ALONE})


def states(run: Run) -> Mapping[str, str]:
    """What became of each probe: as `gate` noted it, or the command itself as done."""
    noted: Mapping[str, str] | None = run.details.get("probes")
    return noted or {run.command: DONE}


def reads(run: Run) -> Mapping[str, int]:
    """The most that a probe reads whatever the file's size, where it has noted that; by an estimate's name
    where the probe reads less for it."""
    return {row["probe"]: int(row["most"]) for row in run.details.get("reads") or ()}


def probes_run(run: Run) -> set[str]:
    """The probes whose results `run` holds."""
    return {name for name, state in states(run).items() if state == DONE}


def may_be_none(rule: Rule, run: Run) -> bool:
    """Whether an optional rule without a number says that there is none: its probe ran, or no gate runs it.

    A probe that failed or was switched off has looked for nothing, so that nothing is known.
    """
    return rule.probe not in PROBE_NAMES or states(run).get(rule.probe) in MEASURED_STATES


def not_measured(rule: Rule, noted: Mapping[str, str], group: str = "all") -> str:
    """Why a condition has no measurement."""
    state = noted.get(rule.probe, "not run")
    if state == DONE and group != "all":
        return f"{rule.probe} gives no number for this group: too few of its pairs, or none for any group"
    why = "" if state == DONE else f": {state}"
    return f"not measured ({rule.probe}{why}); what was not run never passes"
