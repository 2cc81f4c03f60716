"""Error findings that say what a condition says: one measurement has one result, by the condition's limit.

A probe raises such a finding by the shipped limit. Where the config sets another, the finding follows it and
becomes a piece of information. Where the condition only describes, the finding is a warning in a gate. What
it was is kept in `details.followed`, so that judging again with other limits starts from what was measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError
from ..records import Finding, Run
from ..shared_limits import SHIPPED_LEVEL
from .conditions import BY_CODE, facing, good_side, p_against

if TYPE_CHECKING:
    from .judge import JudgeSettings


def level_of(run: Run) -> float:
    """The alpha of the intervals of `run`, as it was measured. Raises `ProbeError` where it is none."""
    level = run.config.get("alpha", SHIPPED_LEVEL)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ProbeError(f"config.alpha of the run is {level!r}, which is no error rate. Measure again.")
    return float(level)


def restates(finding: Finding) -> bool:
    """Whether a condition judges the very estimate that the finding rests on."""
    rule = BY_CODE.get(finding.code)
    return rule is not None and finding.estimate is not None and finding.estimate.name == rule.name


def measured_findings(run: Run) -> tuple[Finding, ...]:
    """The findings as the probes raised them, whatever an earlier judgement made of them."""
    rows: list[Mapping[str, Any]] = run.details.get("followed") or []
    was = {(row["code"], row["group"]): {k: row[k] for k in ("severity", "message")} for row in rows}
    return tuple(dataclasses.replace(f, **was.get((f.code, f.group), {})) for f in run.findings)


def followed(run: Run, settings: JudgeSettings) -> tuple[tuple[Finding, ...], list[dict[str, Any]]]:
    """The findings under the configured limits, and a row for each that is no error under its own."""
    findings, rows = [], []
    for finding in measured_findings(run):
        changed: dict[str, Any] = {}
        if why := _excuse(finding, settings, level_of(run)):
            changed = {"severity": "info", "message": f"{finding.message} ({why})"}
        elif run.command == "gate" and _only_describes(finding, settings):
            changed = {"severity": "warning"}
        elif finding.severity == "warning" and _outvoted(finding, run):
            changed = {
                "severity": "info",
                "message": f"{finding.message}; answers decide here, and they moved",
            }
        if changed:
            rows.append({key: getattr(finding, key) for key in ("code", "group", "severity", "message")})
        findings.append(dataclasses.replace(finding, **changed))
    return tuple(findings), rows


def _outvoted(finding: Finding, run: Run) -> bool:
    """Whether the condition that a finding restates is judged by another estimate, which is a good one."""
    if not restates(finding):
        return False
    rule = BY_CODE[finding.code]
    decisive = run.estimate(rule.decisive) if rule.decisive and finding.group == "all" else None
    if decisive is None or decisive.low is None or rule.limit is None:
        return False
    return decisive.low > rule.limit


def _only_describes(finding: Finding, settings: JudgeSettings) -> bool:
    """Whether an error finding restates a condition that fails no gate, and that no limit was set for."""
    if finding.severity != "error" or not restates(finding):
        return False
    rule = BY_CODE[finding.code]
    return not rule.gates and not {rule.name} & {*settings.limits, *settings.groups.get(finding.group, {})}


def _excuse(finding: Finding, settings: JudgeSettings, level: float) -> str:
    """Why an error finding is none under the limit of the condition that it restates; "" where it stands."""
    if finding.severity != "error" or not restates(finding):
        return ""
    rule, estimate = BY_CODE[finding.code], finding.estimate
    assert estimate is not None
    own = settings.groups.get(finding.group, {})
    limit = own.get(rule.name, settings.limits.get(rule.name, rule.limit))
    if limit is False:
        return "its condition is switched off"
    if limit is None or limit == rule.limit or estimate.value is None:
        return ""
    p = p_against(estimate, facing(rule, estimate.value, float(limit)), level)
    past = not good_side(rule, estimate.value, float(limit)) and p is not None and p <= settings.alpha
    return "" if past else f"not shown to be past the limit of {limit:g} that is set"
