"""GitHub workflow commands: an annotation at the line of the pair file, for every finding."""

from __future__ import annotations

from itertools import zip_longest

from ..escape import visible
from ..records import Condition, Finding, Run
from .advice import advised_findings, standing
from .headline import headline
from .view import fact, fails, result

LEVEL = {"error": "error", "warning": "warning", "info": "notice"}
STANDING = ("fail", "inconclusive", "decides", "note")  # results of conditions that are annotated
MOST_PLACES = 5  # annotations of one finding; GitHub shows ten of a level


def render(run: Run) -> str:
    """One workflow command a line: the verdict, conditions that do not pass, findings at `file:line`."""
    path = str((run.inputs.get("pairs") or {}).get("path") or "")
    head = headline(run)
    level = "error" if run.verdict.exit_code else "notice"
    lines = [command(level, f"{head.status}: {head.text}", title=f"probe {run.command}")]
    lines += [_condition(c, run) for c in run.verdict.conditions if result(c, run) in STANDING]
    told = [_finding(finding, path, standing(finding, run)) for finding in advised_findings(run)]
    # The first place of every finding before the second of any: GitHub drops what is past ten of a level.
    lines += [line for places in zip_longest(*told) for line in places if line]
    return "".join(f"{line}\n" for line in lines)


def command(level: str, message: str, **properties: str) -> str:
    """`::level key=value::message`, escaped so that no text can start another command."""
    pairs = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{level}{' ' + pairs if pairs else ''}::{_data(message)}"


def _condition(condition: Condition, run: Run) -> str:
    level = "error" if fails(condition, run) else "warning"
    title = f"{condition.code} {condition.name} ({condition.group})"
    return command(level, f"{result(condition, run)}: {fact(condition)}", title=title)


def _finding(finding: Finding, path: str, kind: str) -> list[str]:
    hidden = len(finding.lines) - MOST_PLACES
    more = f" (and {hidden} more lines)" if hidden > 0 else ""
    message = f"{finding.message}{more}. {finding.remedy}".strip()
    places = [str(line) for line in finding.lines[:MOST_PLACES]] or [""]
    level = LEVEL.get(kind, "notice")
    return [command(level, message, file=path, line=line, title=finding.code) for line in places]


def _data(text: str) -> str:
    return visible(text, "\n").replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return visible(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
