"""The formats, by name. Each is a pure function from a `Run` to text."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..escape import json_text
from ..records import Run, run_to_json, to_json
from . import github, junit, markdown, text


def as_json(run: Run) -> str:
    """The content of `run.json`; an autopsy opens with its diagnosis."""
    found = run.details.get("autopsy")
    head = {"diagnosis": to_json(found)} if found else {}
    return json_text(json.dumps(head | run_to_json(run), ensure_ascii=False, indent=1)) + "\n"


def as_html(run: Run) -> str:
    """The content of `report.html`."""
    from .html import render  # jinja2 takes 50 ms that no other format needs

    return render(run)


RENDERERS: dict[str, Callable[[Run], str]] = {
    "text": text.render,
    "json": as_json,
    "markdown": markdown.render,
    "html": as_html,
    "junit": junit.render,
    "github": github.render,
}
