"""What a call from Python returns: a run that shows, saves and tabulates itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import ProbeError
from .records import Run


@dataclass(frozen=True, slots=True)
class Result(Run):
    """A `Run` in Python: `verdict`, `decision`, `estimates`, `findings` as in `run.json`.

    `rows` are those of `scores.jsonl`, one per scored pair; empty where no pair was scored one by one.
    """

    rows: tuple[Mapping[str, Any], ...] = ()

    def __str__(self) -> str:
        """The text report, 80 columns wide."""
        from .reports import text

        return text.render(self, width=80, color=False, ascii_only=False)

    def _repr_html_(self) -> str:
        """The HTML report in a frame of its own, for notebooks."""
        from html import escape

        page = escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" sandbox style="width: 100%; height: 40em; border: 0"></iframe>'

    def to_html(self) -> str:
        """`report.html` as a string."""
        from .reports import html

        return html.render(self)

    def to_pandas(self, what: str = "estimates") -> Any:
        """A `pandas.DataFrame`: `estimates`, `findings`, `conditions`, or `pairs` (the scored pairs).

        Raises `ProbeError` for another name, and where pandas is not installed.
        """
        tables: dict[str, Iterable[Any]] = {
            "estimates": self.estimates,
            "findings": self.findings,
            "conditions": self.verdict.conditions,
            "pairs": self.rows,
        }
        if what not in tables:
            raise ProbeError(f'to_pandas("{what}"): no such table. Use {", ".join(tables)}.')
        try:
            import pandas
        except ImportError as error:
            raise ProbeError("to_pandas needs pandas. Install it: `pip install pandas`.") from error
        from .records import to_json

        return pandas.json_normalize([to_json(row) for row in tables[what]])

    def save(self, directory: str | Path) -> Path:
        """Write run.json, report.html and, where pairs were scored, scores.jsonl; returns the directory."""
        from .files import write_text
        from .runs import save_rows, save_run

        place = Path(directory)
        save_run(self, place)
        write_text(place / "report.html", self.to_html())
        if self.rows:
            save_rows(self.rows, place / "scores.jsonl")
        return place


def result_of(
    run: Run, out: str | Path | None, pairs: Any, rows: tuple[Mapping[str, Any], ...] = ()
) -> Result:
    """The run with its rows, saved where `out` says; pairs that were no file are named as such."""
    from .reports.answer import answered

    inputs = dict(run.inputs)
    if not isinstance(pairs, str | Path) and "pairs" in inputs:
        inputs["pairs"] = {
            **inputs["pairs"], "path": f"{type(pairs).__name__} in memory", "in_memory": True
        }  # fmt: skip
    environment = {**run.environment, "argv": []}  # the words of the calling script make no run of `probe`
    parts = {field.name: getattr(run, field.name) for field in fields(run)}
    made = answered(replace(Result(**parts, rows=rows), inputs=inputs, environment=environment))
    if not isinstance(pairs, str | Path):
        made = replace(made, next=None)  # a command takes a file
    if out is not None:
        made.save(out)
    return made
