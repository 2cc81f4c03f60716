"""The top of a terminal report: subject, verdict, decision, findings."""

from __future__ import annotations

import re

from rich.text import Text

from ..number_format import group_told, plain, spans
from ..records import Decision, Finding, Run
from .advice import advised_findings, in_words, standing
from .answer import paragraph
from .decided import NOT_YET, instruction
from .headline import headline
from .next_step import next_told
from .terms import hint
from .text_page import STYLES, PageLayout
from .view import SEVERITY_MARKS, TONES, measured_on, subject, unit

NEXT = "NEXT  "
QUOTED = re.compile(r'"(.*)"')
FINDINGS_SHOWN = 8  # findings shown in full before --all


def head_lines(run: Run, page: PageLayout) -> list[Text]:
    """What was measured, and on what."""
    first = page.wrap(" · ".join(subject(run)), style="dim")
    second = page.wrap(" · ".join(measured_on(run)), style="dim") if measured_on(run) else []
    return [*first, *second]


def verdict_lines(run: Run, page: PageLayout) -> list[Text]:
    """The verdict, and the decision that follows from it."""
    head = headline(run)
    lines = page.wrap(head.text, first=f"{head.status.upper()}  ", style="bold")
    lines[0].stylize(f"bold {STYLES[head.tone]}", 0, len(head.status))
    return [*lines, *(_method(run, run.decision, page) if run.decision else [])]


def _method(run: Run, decision: Decision, page: PageLayout) -> list[Text]:
    stages = " → ".join(decision.stages)
    staged = f"{decision.method} ({stages})" if len(decision.stages) > 1 else decision.method
    words = instruction(run)
    if decision.stages:
        words = f"{words}; once that is settled: {staged}" if words == NOT_YET else staged
    return page.wrap(words, first="DECISION  ", style="bold")


def finding_lines(run: Run, page: PageLayout) -> list[Text]:
    """Every finding with its code, what to do and where, the gravest first."""
    found = advised_findings(run)
    shown = found if page.everything else found[:FINDINGS_SHOWN]
    lines = [line for finding in shown for line in _finding(finding, run, page)]
    hidden = len(found) - len(shown)
    return [*lines, page.line((f"{hidden} more findings: --all", "dim"))] if hidden else lines


def brief_findings(run: Run, page: PageLayout) -> list[Text]:
    """The gravest findings in two lines each; accepted ones are marked."""
    found = [f for f in advised_findings(run) if f.severity != "info"]
    first = {f.code: f for f in reversed(found)}  # a fault in every group is told once
    shown = [first[code] for code in dict.fromkeys(f.code for f in found)]
    lines = [line for f in shown[: page.findings] for line in _in_brief(f, run, page)]
    notes = dict.fromkeys(f.code for f in advised_findings(run) if f.severity == "info")
    rest = [(f.code for f in shown[page.findings :]), (code for code in notes if code not in first)]
    words = [
        f"{noun} {', '.join(codes)}"
        for noun, of in zip(("also", "notes"), rest, strict=True)
        if (codes := list(of))
    ]
    return (
        [*lines, *page.wrap(f"{'; '.join(words)}: see --all, or probe explain CODE", style="dim")]
        if words
        else lines
    )


def _in_brief(finding: Finding, run: Run, page: PageLayout) -> list[Text]:
    kind = standing(finding, run)
    others = [f for f in run.findings if f.code == finding.code and f.group != finding.group]
    alike = {_bare(f) for f in (finding, *others)} == {_bare(finding)}
    groups, which = ", ".join(group_told(f.group) for f in others), "the same" if alike else "likewise"
    said = f"{finding.message}; {which} in {groups}" if others else finding.message
    lead = f"{SEVERITY_MARKS[kind]} {finding.code}  "
    lines = page.wrap(said, first=lead, rows=3 if others else 2)
    lines[0].stylize(STYLES[TONES[kind]], 0, len(lead))
    return lines


def _bare(finding: Finding) -> str:
    """What a finding quotes, so that two of one code can be told to be the same: else its whole kind."""
    return "".join(QUOTED.findall(finding.message))


def _finding(finding: Finding, run: Run, page: PageLayout) -> list[Text]:
    named = finding.group == "all" or finding.group in finding.message
    where = "" if named else f" [{finding.group}]"
    kind = standing(finding, run)
    lead = f"{SEVERITY_MARKS[kind]} {finding.code}  "
    lines = page.wrap(f"{finding.message}{where}", first=lead)
    lines[0].stylize(STYLES[TONES[kind]], 0, len(lead))
    indent = len(page.text(lead))
    limit = 40 if page.everything else 8
    places = f"lines {spans(finding.lines, limit)}; " if finding.lines else ""
    remedy = page.wrap(f"→ {finding.remedy}", indent=indent) if finding.remedy else []
    return [*lines, *remedy, *page.wrap(f"{places}probe explain {finding.code}", indent=indent, style="dim")]


def reason_lines(run: Run, page: PageLayout) -> list[Text]:
    """Why this method: each reason with its finding and source; then what would change the decision."""
    if run.decision is None:
        return []
    lines = page.wrap(f"why: {in_words(run.decision, unit(run))}", style="bold")
    for reason in run.decision.reasons:
        lead = f"  {reason.code}  "
        lines += page.wrap(reason.text, first=lead)
        lines += page.wrap(reason.source, indent=len(lead), style="dim") if reason.source else []
    return lines + _runner_up(run.decision, page)


def _runner_up(decision: Decision, page: PageLayout) -> list[Text]:
    if not decision.runner_up:
        return []
    method = decision.runner_up.get("method", "")
    rest = {k: v for k, v in decision.runner_up.items() if k != "method"}
    lines = page.wrap(str(method), first="  runner-up: ")
    return lines + [
        line for k, v in rest.items() for line in page.wrap(plain(v), first=f"  {k.replace('_', ' ')}: ")
    ]


def term_lines(run: Run, page: PageLayout) -> list[Text]:
    """How a term of this report is looked up."""
    return page.wrap(hint(run), style="dim") if hint(run) else []


def last_lines(run: Run, page: PageLayout) -> list[Text]:
    """The verdict once more where a shell will act on it, so that it is on the screen after a long report."""
    if not run.verdict.conditions:
        return []
    status, code = run.verdict.status, run.verdict.exit_code
    mark = SEVERITY_MARKS.get(status, "·")
    return [page.line((f"{mark} {status}", STYLES[TONES[status]]), f" · exit code {code}")]


def answer_lines(run: Run, page: PageLayout) -> list[Text]:
    """The paragraph that answers, and the one command to run now."""
    if not run.summary:
        return []
    told = paragraph(run)
    lines = page.wrap(" ".join(told)) if told else []
    lines += page.command(run.next, NEXT) if run.next else []
    return [*lines, *page.wrap(next_told(run), indent=6, style="dim")] if next_told(run) else lines
