"""The terminal report of an autopsy: what the log is, what happened, what else it shows, the curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from rich.text import Text

from ..number_format import count, place_text
from ..records import Run
from .curves import draw, in_columns, panels
from .text_page import STYLES, PageLayout
from .view import UNTOLD, called

PANEL = 38


def log_lines(run: Run, page: PageLayout) -> list[Text]:
    """Which file was read, and as what."""
    log = run.inputs.get("log") or {}
    method = _autopsy(run).get("method") or {}
    name = PurePath(str(log.get("path") or "")).name
    parts = [f"probe {run.environment.get('probe', '')}".strip(), name]
    read = [
        f"{method.get('name')} ({method.get('why')})",
        "1 entry" if log.get("entries") == 1 else f"{log.get('entries')} entries",
    ]
    read += [count(log["evaluations"], "evaluation")] if log.get("evaluations") else []
    unit = {"entry": "entries"}.get(str(log.get("unit")), f"{log.get('unit') or 'step'}s")
    read += (
        [f"{unit} {place_text(log['first_step'])} to {place_text(log['last_step'])}"]
        if "first_step" in log
        else []
    )
    read += [f"read as {log['form']}"] if log.get("form") else []
    lines = page.wrap(" · ".join(part for part in parts if part), style="dim")
    lines += page.wrap(" · ".join(read), style="dim")
    return [
        *lines,
        *(line for note in _autopsy(run).get("notes") or () for line in page.wrap(str(note), style="dim")),
    ]


def diagnosis_lines(run: Run, page: PageLayout) -> list[Text]:
    """The main label with its evidence and advice."""
    found = _autopsy(run)
    word, tone = called(found)
    tags = ", ".join(found.get("tags") or ()) if found.get("main") == "healthy" else ""
    since = f" since {found['since']}" if found.get("since") else ""
    sure = f" ({found['confidence']})" if found.get("confidence") not in (None, word) and not tags else ""
    head = page.line((word.upper(), f"bold {STYLES['unsure' if tags else tone]}"), (since + sure, "bold"))
    if tags:
        head.append(page.text((": " if word == UNTOLD else " curves, but: ") + tags), "bold")
    return [head, *_told(found, page)]


def sign_lines(run: Run, page: PageLayout) -> list[Text]:
    """Other labels that apply, and the tags, each with its evidence."""
    found = _autopsy(run)
    return [
        line
        for sign in [*(found.get("also") or ()), *(found.get("tag_evidence") or ())]
        for line in [_heading(sign, page), *_told(sign, page)]
    ]


def plot_lines(run: Run, page: PageLayout) -> list[Text]:
    """The curves, in as many columns as fit."""
    history = (run.details.get("training") or {}).get("log_history") or []
    drawn = [draw(panel, min(PANEL, page.width), ascii_only=page.ascii_only) for panel in panels(history)]
    return [Text(line) for line in in_columns(drawn, page.width)]


def _autopsy(run: Run) -> Mapping[str, Any]:
    return run.details.get("autopsy") or {}


def _heading(sign: Mapping[str, Any], page: PageLayout) -> Text:
    since = sign.get("since")
    return page.line((f"{sign.get('label')}", "bold yellow"), f" since {since}" if since else "")


def _told(sign: Mapping[str, Any], page: PageLayout) -> list[Text]:
    """Evidence, advice and the code to look up, under a heading."""
    evidence = page.wrap(str(sign.get("evidence") or ""), first="  ")
    advice = page.wrap(f"→ {sign['next']}", first="  ") if sign.get("next") else []
    more = page.wrap(f"probe explain {sign['code']}", first="  ", style="dim") if sign.get("code") else []
    return [*evidence, *advice, *more]
