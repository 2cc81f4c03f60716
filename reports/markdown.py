"""The Markdown report: a step summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..escape import visible
from ..number_format import NONE, number, plain, spans
from ..records import Finding, Run
from .advice import findings, in_words
from .next_step import show_command
from .tables import tables
from .view import MARKS, Interval, Table, details, files, headline, reproduce, sides, subject

SPECIAL = re.compile(r"([\\`*_|~$]|(?<=\])\()")
ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "@<!-- -->",
}  # the comment keeps @name from calling them
FOLDED = {"others", "costs", "data", "accepted"}
ROWS = 100  # rows of a table; a step summary holds 1 MiB


def render(run: Run) -> str:
    """The report in GitHub's Markdown: verdict, findings, tables; long parts folded."""
    head = headline(run)
    parts = [
        f"## probe {run.command}: {MARKS.get(head.status, '')} {head.status}".replace("  ", " "),
        escaped(" ".join(run.summary)),
        f"Next: {code(run.next)}" if run.next else "",
        f"**{escaped(head.text)}**",
        *_decision(run),
        escaped(" · ".join([*subject(run), *files(run)])),
        *[_finding(finding) for finding in findings(run)],
        *[_folded(table) if table.key in FOLDED else _table(table) for table in tables(run)],
        *_giveaways(run),
        *_pairs(run),
        f"Again: {code(reproduce(run))}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """`text` as Markdown that shows as it is."""
    shown = SPECIAL.sub(r"\\\1", visible(text))
    return "".join(ENTITIES.get(c, c) for c in shown)


def code(text: str) -> str:
    """`text` in a code span, fenced by more backticks than it holds. Not for tables: a pipe ends a cell."""
    shown = visible(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def _decision(run: Run) -> list[str]:
    if run.decision is None:
        return []
    reasons = [f"- {escaped(f'{r.code}: {r.text}')} ({escaped(r.source)})" for r in run.decision.reasons]
    return [f"Decision: **{escaped(in_words(run.decision))}**", "\n".join(reasons)]


def _finding(finding: Finding) -> str:
    group = "" if finding.group == "all" or finding.group in finding.message else f" [{finding.group}]"
    lines = f" (lines {spans(finding.lines, 20)})" if finding.lines else ""
    remedy = f"<br>→ {escaped(finding.remedy)}" if finding.remedy else ""
    head = f"{MARKS[finding.severity]} **{finding.code}** {finding.severity}"
    return f"- {head}: {escaped(finding.message + group + lines)}{remedy}"


def _table(table: Table) -> str:
    return f"### {escaped(table.title)}\n\n{_grid(table)}"


def _folded(table: Table) -> str:
    return f"<details><summary>{escaped(table.title)}</summary>\n\n{_grid(table)}\n\n</details>"


def _grid(table: Table) -> str:
    shown = [i for i, column in enumerate(table.columns) if column.align != "plot"]
    head = [table.columns[i].name for i in shown]
    rule = ["--:" if table.columns[i].align == "right" else "---" for i in shown]
    rows = [[_cell(row[i]) for i in shown] for row in table.rows[:ROWS]]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    hidden = len(table.rows) - ROWS
    return "\n".join(lines) + (f"\n\n{hidden:,} more rows in run.json" if hidden > 0 else "")


def _cell(cell: str | Interval) -> str:
    return escaped(cell) if isinstance(cell, str) else NONE


def _giveaways(run: Run) -> list[str]:
    told = [f"- {escaped(str(text))}" for text in details(run, "giveaways")[:10]]
    return ["### what gives a side away\n\n" + "\n".join(told)] if told else []


def _pairs(run: Run) -> list[str]:
    first, second = sides(run)
    parts = []
    for key, side in (("worst", second), ("best", first)):
        rows = details(run, key)[:5]
        if rows:
            body = "\n\n".join(_pair(row, first, second) for row in rows)
            body += f"\n\n`{command}`" if key == "worst" and (command := show_command(run)) else ""
            summary = f"pairs leaning most to {escaped(side)}"
            parts.append(f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>")
    return parts


def _pair(row: Mapping[str, Any], first: str, second: str) -> str:
    place = f", line {row['line']}" if row.get("line") else ""
    texts = [
        f"  - {escaped(name)}: {code(str((row.get(key) or {}).get('text') or ''))}"
        for name, key in ((first, "chosen"), (second, "rejected"))
    ]
    prompt = [f"  - prompt: {code(plain(row['prompt']))}"] if row.get("prompt") else []
    head = f"- {number(row.get('gap'), 'nats')} {code(str(row.get('id')))}{place}"
    return "\n".join([head, *prompt, *texts])
