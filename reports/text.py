"""The terminal report: verdict first, then why, then the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO

from rich.console import Console
from rich.text import Text

from ..escape import ascii_text
from ..records import Run
from . import brief_tables, compare_tables, effects_tables, negatives_tables, raced, tables
from .autopsy_text import diagnosis_lines, log_lines, plot_lines, sign_lines
from .next_step import errors_told
from .probe_sections import probe_tables
from .text_page import PageLayout
from .text_pairs import pair_lines, show_line
from .text_shown import shown_lines
from .text_tables import table_lines
from .text_training import autopsy_lines, axis_lines, curve_lines
from .text_why import (
    answer_lines,
    brief_findings,
    finding_lines,
    head_lines,
    last_lines,
    reason_lines,
    term_lines,
    verdict_lines,
)
from .view import Table, unaccepted

TextSection = Callable[[Run, PageLayout], list[Text]]


def render(
    run: Run,
    *,
    width: int = 80,
    color: bool = False,
    ascii_only: bool = False,
    everything: bool = False,
    height: int = 24,
) -> str:
    """The report of any command's run, for a terminal of `width` columns.

    Long lists are cut unless `everything`. `ascii_only` writes every other character as an escape.
    """
    page = PageLayout(max(width, 40), ascii_only, everything, height)
    if run.command in BRIEF and not everything:
        lines = [*_brief(run, page), *_more(run, page)]
    else:
        lines = _lines(OWN.get(run.command, REPORT_SECTIONS), run, page)
    out = "".join(f"{line}\n" for line in _printed(lines, page.width, color))
    return ascii_text(out) if ascii_only else out


def _lines(sections: Sequence[TextSection], run: Run, page: PageLayout) -> list[Text]:
    """The sections that have something for this run, an empty line between them."""
    blocks = [block for section in sections if (block := section(run, page))]
    return [line for i, block in enumerate(blocks) for line in ([Text()] if i else []) + block]


def _brief(run: Run, page: PageLayout) -> list[Text]:
    """A screen of the run: as many findings in words as fit, the others named."""
    lines: list[Text] = []
    for most in range(page.findings, 0, -1):
        lines = _lines(BRIEF[run.command], run, replace(page, findings=most))
        if len(lines) <= SCREEN_LINES:
            break
    return _cut(lines, page)


def _printed(lines: list[Text], width: int, color: bool) -> list[str]:
    # An empty environment: the same run gives the same bytes, whatever TERM or COLUMNS say.
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        force_jupyter=False,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False)
    return captured.get().splitlines()


def _cut(lines: list[Text], page: PageLayout) -> list[Text]:
    hidden = len(lines) - SCREEN_LINES
    return (
        lines if hidden <= 0 else [*lines[: SCREEN_LINES - 1], page.line((f"{hidden + 1} more lines", "dim"))]
    )


def _more(run: Run, page: PageLayout) -> list[Text]:
    told = errors_told(unaccepted(run)) if run.command == "data" else ""
    last = [page.line((told, "bold"))] if told else []
    judged = f" · {run.verdict.status} · exit code {run.verdict.exit_code}" if run.verdict.conditions else ""
    return [Text(), page.line((f"everything else: --all, or report.html{judged}", "dim")), *last]


def _table(make: Callable[[Run], Table]) -> TextSection:
    def section(run: Run, page: PageLayout) -> list[Text]:
        table = make(run)
        return table_lines(table, page) if table.rows else []

    return section


def _why(run: Run, page: PageLayout) -> list[Text]:
    found = finding_lines(run, page)
    return [*verdict_lines(run, page), *([Text(), *found] if found else [])]


def _triviality(run: Run, page: PageLayout) -> list[Text]:
    return _table(tables.ladder)(run, page) + axis_lines(run, page)


def _probe_sections(run: Run, page: PageLayout) -> list[Text]:
    shown = [table_lines(table, page) for table in probe_tables(run) if table.rows]
    return [line for i, lines in enumerate(shown) for line in ([Text()] if i else []) + lines]


# A screen of 40 lines, less an empty one, the line that says where the rest is, and the count of errors.
SCREEN_LINES = 37
LEADING_SECTIONS: tuple[TextSection, ...] = (head_lines, answer_lines, verdict_lines)
# What a screen shows of a run; the rest stands behind --all.
BRIEF: dict[str, tuple[TextSection, ...]] = {
    "bias": (*LEADING_SECTIONS, _table(tables.groups), brief_findings, show_line),
    "data": (*LEADING_SECTIONS, brief_findings, _table(brief_tables.raised_checks)),
    "negatives": (*LEADING_SECTIONS, brief_findings, _table(tables.ladder)),
    "trial": (*LEADING_SECTIONS, brief_findings),
    "gate": (*LEADING_SECTIONS, _table(brief_tables.open_conditions), brief_findings),
}
REPORT_SECTIONS: tuple[TextSection, ...] = (
    head_lines,
    answer_lines,
    _why,
    reason_lines,
    _table(tables.hyper_parameters),
    autopsy_lines,
    _table(tables.conditions),
    _table(raced.candidates),
    _table(raced.hardest),
    _table(compare_tables.runs),
    _table(compare_tables.changes_table),
    _table(effects_tables.lever_changes),
    _table(effects_tables.trait_effects),
    _table(effects_tables.attributes),
    _table(tables.groups),
    _table(tables.data_checks),
    _triviality,
    _table(negatives_tables.authorship),
    _table(tables.before_after),
    curve_lines,
    _table(tables.guard),
    _probe_sections,
    _table(tables.others),
    _table(negatives_tables.pairs),
    pair_lines,
    _table(tables.accepted),
    _table(tables.time_spent),
    term_lines,
    last_lines,
)
# A finished log has no verdict, pairs or scores: what happened is the report.
AUTOPSY: tuple[TextSection, ...] = (log_lines, diagnosis_lines, sign_lines, plot_lines)
# Reports that are laid out for themselves.
OWN: dict[str, tuple[TextSection, ...]] = {"autopsy": AUTOPSY, "show": (head_lines, shown_lines)}
