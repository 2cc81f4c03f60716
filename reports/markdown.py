"""The Markdown report: a step summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..escape import visible
from ..number_format import NONE, number, plain, spans
from ..records import Finding, Reason, Run
from .advice import advised_findings, standing
from .answer import paragraph
from .brief_tables import open_conditions
from .command_line import show_command, shown_command
from .decided import instruction
from .headline import headline
from .next_step import next_told
from .tables import tables
from .terms import terms
from .view import (
    SEVERITY_MARKS,
    IntervalCell,
    Table,
    backtick_parts,
    details,
    measured_on,
    reproduce,
    sides,
    subject,
)

MARKDOWN_SIGNS = re.compile(r"([\\`*_|~$]|(?<=\])\()")
# What opens a heading, a list or a rule where it stands first on a line; of `1.` the dot makes the list.
OPENS_BLOCK = re.compile(r"^(\s*)(#+(?!\S)|[-+=](?=[\s=-]*$|\s)|\d{1,9}(?=[.)](?!\S)))")
ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "@<!-- -->",
}  # the comment keeps @name from calling them
PAIR_CHARACTERS = 2000  # of a prompt or a response: ten pairs fit a step summary, whatever they hold
OPEN = 8  # findings, and conditions, that are not folded
MOST_ROWS = 100  # rows of a table; a step summary holds 1 MiB


def render(run: Run) -> str:
    """The report in GitHub's Markdown: the answer, what does not pass, the gravest findings; else folded."""
    head = headline(run)
    told = advised_findings(run)
    grave = [f for f in told if f.severity != "info"][:OPEN]
    parts = [
        f"## probe {run.command}: {SEVERITY_MARKS.get(head.status, '')} {head.status}".replace("  ", " "),
        prose(" ".join(paragraph(run))),
        _next(run),
        f"**{escaped(head.text)}**",
        f"Decision: **{escaped(instruction(run))}**" if run.decision else "",
        escaped(" · ".join([*subject(run), *measured_on(run)])),
        _grid(left, OPEN) if (left := open_conditions(run)).rows else "",
        "\n".join(_finding(f, run) for f in grave),
        _fold("the other findings", "\n".join(_finding(f, run) for f in told if f not in grave)),
        _fold("why", "\n".join(_reasons(run))),
        *[_fold(table.title, _grid(table)) for table in tables(run)],
        _fold("what gives a side away", _giveaways(run)),
        *_pairs(run),
        f"Again: {code_span(again)}" if (again := reproduce(run)) else "",
        f"Terms: {code_span('probe explain TERM')}" if terms(run) else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _next(run: Run) -> str:
    """The command to run now and what it is good for; "" where there is none."""
    if not run.next:
        return ""
    told = next_told(run)
    return f"Next: {code_span(shown_command(run.next))}" + (f" ({escaped(told)})" if told else "")


def escaped(text: str) -> str:
    """`text` as Markdown that shows as it is."""
    shown = OPENS_BLOCK.sub(_not_opening, MARKDOWN_SIGNS.sub(r"\\\1", visible(text)))
    return "".join(ENTITIES.get(c, c) for c in shown)


def _not_opening(found: re.Match[str]) -> str:
    sign = found[2]
    return f"{found[1]}{sign}\\" if sign.isdigit() else f"{found[1]}\\{sign}"


def prose(text: str) -> str:
    """`text` as Markdown, with what stands between backticks as code."""
    parts = backtick_parts(text)
    return "".join(code_span(part) if i % 2 and part else escaped(part) for i, part in enumerate(parts))


def code_span(text: str) -> str:
    """`text` in a code span, fenced by more backticks than it holds. Not for tables: a pipe ends a cell."""
    shown = visible(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def _quoted(text: str) -> str:
    """A text of a pair in a code span, its beginning where it is long."""
    hidden = len(text) - PAIR_CHARACTERS
    more = f" … {hidden:,} more characters" if hidden > 0 else ""
    return code_span(text[:PAIR_CHARACTERS]) + more


def _reasons(run: Run) -> list[str]:
    reasons = run.decision.reasons if run.decision else ()
    return [_reason(reason) for reason in reasons]


def _reason(reason: Reason) -> str:
    source = f" ({prose(reason.source)})" if reason.source else ""
    return f"- {prose(f'{reason.code}: {reason.text}')}{source}"


def _finding(finding: Finding, run: Run) -> str:
    group = "" if finding.group == "all" or finding.group in finding.message else f" [{finding.group}]"
    lines = f" (lines {spans(finding.lines, 20)})" if finding.lines else ""
    remedy = f"<br>→ {prose(finding.remedy)}" if finding.remedy else ""
    kind = standing(finding, run)
    head = f"{SEVERITY_MARKS[kind]} **{finding.code}** {kind}"
    return f"- {head}: {prose(finding.message + group + lines)}{remedy}"


def _fold(title: str, body: str) -> str:
    """`body` behind its title, or nothing where there is none."""
    return f"<details><summary>{escaped(title)}</summary>\n\n{body}\n\n</details>" if body else ""


def _grid(table: Table, most: int = MOST_ROWS) -> str:
    drawn = [i for i, column in enumerate(table.columns) if column.align != "plot"]
    shown = [i for i in drawn if table.columns[i].align != "note" or any(row[i] for row in table.rows)]
    head = [escaped(table.columns[i].name) for i in shown]
    rule = ["--:" if table.columns[i].align == "right" else "---" for i in shown]
    rows = [[_cell(row[i]) for i in shown] for row in table.rows[:most]]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    hidden = len(table.rows) - most
    note = f"{escaped(table.note)}\n\n" if table.note else ""
    return note + "\n".join(lines) + (f"\n\n{hidden:,} more rows in run.json" if hidden > 0 else "")


def _cell(cell: str | IntervalCell) -> str:
    return escaped(cell) if isinstance(cell, str) else NONE


def _giveaways(run: Run) -> str:
    return "\n".join(f"- {escaped(str(text))}" for text in details(run, "giveaways")[:10])


def _pairs(run: Run) -> list[str]:
    first, second = sides(run)
    parts = []
    for key, side in (("worst", second), ("best", first)):
        rows = details(run, key)[:5]
        if rows:
            body = "\n\n".join(_pair(row, first, second) for row in rows)
            command = show_command(run) if key == "worst" else None
            body += f"\n\n{code_span(shown_command(command))}" if command else ""
            summary = f"pairs leaning most to {escaped(side)}"
            parts.append(f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>")
    return parts


def _pair(row: Mapping[str, Any], first: str, second: str) -> str:
    place = f", line {row['line']}" if row.get("line") else ""
    texts = [
        f"  - {escaped(name)}: {_quoted(str((row.get(key) or {}).get('text') or ''))}"
        for name, key in ((first, "chosen"), (second, "rejected"))
    ]
    prompt = [f"  - prompt: {_quoted(plain(row['prompt']))}"] if row.get("prompt") else []
    head = f"- {number(row.get('gap'), 'nats')} {code_span(str(row.get('id')))}{place}"
    return "\n".join([head, *prompt, *texts])
