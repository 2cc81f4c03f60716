"""`report.html`: one file that loads nothing, complete without its script; for screen, phone and paper."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..escape import visible
from ..glossary import definition
from ..number_format import number, plain, spans
from ..records import Run
from . import page_script, plots, tables, tokens, trend
from .advice import advised_findings, in_words, standing
from .answer import paragraph
from .command_line import command_parts, show_command, shown_command
from .curves_svg import drawn_panels
from .decided import instruction
from .headline import headline
from .next_step import next_told
from .probe_sections import probe_tables
from .terms import terms
from .view import (
    SEVERITY_MARKS,
    TONES,
    backtick_parts,
    details,
    measured_on,
    model_name,
    named,
    notes,
    reproduce,
    sides,
    subject,
    unit,
)

HERE = Path(__file__).parent
PLOTTED = 10_000  # pairs in the plots, the first ones


def render(run: Run) -> str:
    """The report as one HTML file."""
    return _environment().get_template("report.html.j2").render(_context(run))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.globals.update(
        bar=plots.interval_bar,
        bar_axis=plots.interval_axis,
        axis_told=plots.axis_told,
        notes=notes,
        spans=spans,
    )
    environment.globals.update(meaning=definition)
    return environment


def _shown(value: Any) -> Any:
    """Whatever the template prints: markup as it is, everything else without hidden characters."""
    return value if isinstance(value, Markup) else visible(str(value))


def _prose(text: str) -> Markup:
    """`text` with what stands between backticks as code."""
    parts = backtick_parts(visible(text))
    marked = (Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))
    return Markup("").join(marked)


def _context(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "script": page_script.script(),
        "script_hash": page_script.script_digest(),
        "explained": page_script.explained(run),
        "terms": terms(run),
        "every": (every := _every(run)),
        "which_pairs": _which_pairs(run, len(every)),
        "groups": sorted({str(row.get("group") or "") for row in details(run, "pairs")} - {""}),
        "css": Markup((HERE / "report.css").read_text(encoding="utf-8")),
        "head": headline(run),
        "paragraph": paragraph(run),
        "tones": TONES,
        "marks": SEVERITY_MARKS,
        "title": " · ".join(
            part for part in (f"probe {run.command}", *measured_on(run)[:1], model_name(run)) if part
        ),
        "subject": subject(run),
        "files": measured_on(run),
        "findings": advised_findings(run),
        "standing": lambda finding: standing(finding, run),
        "next_told": next_told(run),
        "next_parts": command_parts(run.next) if run.next else [],
        "show_any": shown_command(show_command(run, "LINE") or ""),
        "title_text": _title_text(run),
        "decided": in_words(run.decision, unit(run)) if run.decision else "",
        "sides": sides(run),
        "tables": {table.key: table for table in tables.tables(run)},
        "sections": [table.key for table in probe_tables(run)],
        "figures": _figures(run),
        "panels": drawn_panels(run),
        "autopsy": run.details.get("autopsy") or {},
        "giveaways": details(run, "giveaways"),
        "pairs": _pairs(run),
        "levels": [tokens.token("", -(level + 1e-6)).tint for level in (0.0, *tokens.TINT_LEVELS)],
        "level_names": ["likely", *[f"−{level:g}" for level in tokens.TINT_LEVELS]],
        "runner_up": {k: plain(v) for k, v in ((run.decision and run.decision.runner_up) or {}).items()},
        "reproduce": reproduce(run),
        "metadata": _metadata(run),
    }


def _title_text(run: Run) -> str:
    """The title beside the verdict: what to do, or which side is preferred; the counts stand below it."""
    if run.command == "gate" and (said := instruction(run)):
        return said
    row = next((row for row in run.bias if row.group == "all"), None)
    return named(row.verdict, run) if row and run.command == "bias" and run.summary else headline(run).text


def _figures(run: Run) -> dict[str, Markup]:
    first, second = sides(run)
    bound = tables.bound(run)
    pairs = [row for row in details(run, "pairs")[:PLOTTED] if row.get("gap") is not None]
    figures = {"changes": plots.changes(details(run, "before_after"))}
    figures |= {f"trend:{i}": figure for i, figure in enumerate(trend.figures(details(run, "trend")))}
    if pairs:
        figures["strips"] = plots.gap_strips(pairs, first, second, bound, _which_pairs(run, len(pairs)))
        figures["histogram"] = plots.gap_histogram(pairs, first, second, bound)
        figures["length"] = plots.length_plot(pairs, first, second)
    if (axis := run.details.get("axis") or {}).get("regions") and axis.get("position") is not None:
        figures["standing"] = plots.signal_axis(axis)
    return {key: figure for key, figure in figures.items() if figure}


def _which_pairs(run: Run, held: int) -> str:
    """Of which pairs the plots and the table of all pairs are; a run carries some of a long file."""
    n = (run.inputs.get("pairs") or {}).get("n") or 0
    return f"{held:,} of {n:,} pairs" if n > held else "every pair"


def _pairs(run: Run) -> list[dict[str, Any]]:
    first, second = sides(run)
    shown = []
    for key, side in (("worst", second), ("best", first)):
        rows = [_pair(row, f"{key}-{i}", first, second) for i, row in enumerate(details(run, key))]
        command = shown_command(show_command(run) or "") if key == "worst" else ""
        shown += [{"title": f"leaning most to {side}", "rows": rows, "show": command}] if rows else []
    return shown


def _pair(row: Mapping[str, Any], place: str, first: str, second: str) -> dict[str, Any]:
    where = [f"line {row['line']}"] if row.get("line") else []
    return {
        "anchor": f"pair-{row.get('line') or place}",
        "id": str(row.get("id")),
        "gap": number(row.get("gap"), "nats"),
        "place": ", ".join([*where, *([str(row["group"])] if row.get("group") else [])]),
        "prompt": str(row.get("prompt") or ""),
        "sides": [tokens.side(row, "chosen", first), tokens.side(row, "rejected", second)],
    }


def _every(run: Run) -> list[dict[str, Any]]:
    """A row for each pair that the run carries, with a link where its tokens are shown."""
    shown = {row.get("line") for key in ("worst", "best") for row in details(run, key)}
    return [
        {
            "line": row.get("line") or "",
            "id": str(row.get("id")),
            "group": str(row.get("group") or ""),
            "gap": number(row.get("gap"), "nats"),
            "value": f"{row['gap']:.4g}",
            **{side: plain(row.get(f"{side}_tokens")) for side in ("chosen", "rejected")},
            "tokens": row.get("line") in shown and row.get("line") is not None,
        }
        for row in details(run, "pairs")[:PLOTTED]
        if row.get("gap") is not None
    ]


def _metadata(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    environment = dict(run.environment)
    environment.pop("argv", None)
    parts: list[tuple[str, Mapping[str, Any]]] = [
        ("run", {"command": run.command, "created": run.created}),
        (f"{unit(run)}s", run.inputs.get("pairs") or {}),
        ("model", run.inputs.get("model") or {}),
        ("configuration", _configuration(run.config)),
        ("environment", environment),
    ]
    return [(name, [(str(k), plain(v)) for k, v in facts.items()]) for name, facts in parts if facts]


def _configuration(config: Mapping[str, Any]) -> dict[str, str]:
    """Every setting with its origin, what the user set first."""
    origins = config.get("origins") or {}
    values = {key: value for key, value in config.items() if key != "origins"}
    ordered = sorted(values, key=lambda key: origins.get(key) == "default")
    return {k: f"{plain(values[k])} ({origins[k]})" if k in origins else plain(values[k]) for k in ordered}
