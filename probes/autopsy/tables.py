"""Tables of metrics: CSV, W&B panels, TensorBoard's CSV, Markdown, and the HTML of notebooks."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from itertools import zip_longest
from typing import Any

from ...records import JsonRow
from .names import COUNTS, MEASUREMENT_NAME, canonical
from .numerals import has_decimal_commas, has_dotted_thousands, with_point

# In the tables that transformers draws, everything beside these is of the evaluation.
OF_TRAINING = re.compile(r"^(step|epoch|training loss|learning rate|grad norm|)$", re.IGNORECASE)
BLANK_HEADING = re.compile(
    r"(?:step|epoch)(?: step)?(?: [\w/]+)*? (?:training|validation) loss(?: [\w/]+)*", re.IGNORECASE
)
BLANK_CELL = r"(?<!\S)(?:No log|[-+]?[\d.,]+(?:e[-+]?\d+)?|nan|-?inf)(?!\S)"
ENVELOPE = ("__MIN", "__MAX")
METRIC_NAMES = ("key", "metric", "metric_name", "name", "tag")
NOTHING = {"", "-", "No log", "No Log", "None", "null", "N/A"}


def of_csv(text: str, name: str = "") -> list[JsonRow]:
    """Rows of a CSV or TSV file whose heading, among its first lines, names a metric."""
    lines = text.lstrip("\ufeff").splitlines()
    start = next((i for i, line in enumerate(lines[:50]) if _is_heading(line, name)), None)
    if start is None:  # columns that are aligned by spaces, as a table pasted from a page is
        lines = [re.sub(r"(?<=\S) {2,}(?=\S)", "\t", line.strip()) for line in lines[:100_000]]
        start = next(
            (i for i, line in enumerate(lines[:50]) if "\t" in line and _is_heading(line, name)), None
        )
    if start is None:
        return _of_blanks(text)
    heading = lines[start]
    delimiter = max(",\t;", key=heading.count)
    try:
        table = list(csv.reader(io.StringIO("\n".join(lines[start:])), delimiter=delimiter))
    except csv.Error:
        return []
    table = _with_points(_rejoined(table), delimiter == ";")
    return _rows([cell.strip() for cell in table[0]], table[1:], name)


def _of_blanks(text: str) -> list[JsonRow]:
    """The table that transformers draws, pasted with one blank between its cells."""
    tables: list[list[list[str]]] = []
    for line in text.splitlines()[:100_000]:
        if BLANK_HEADING.fullmatch(line.strip()):
            cells = re.findall(r"(?:training|validation) loss|\S+(?: / \S+)*", line, re.IGNORECASE)
            tables.append([cells])
        elif tables and not re.sub(BLANK_CELL, "", line).strip():
            row = re.findall(BLANK_CELL, line)
            tables[-1] += [row] if len(row) == len(tables[-1][0]) else []
    return _longest(tables)


def _rejoined(table: list[list[str]]) -> list[list[str]]:
    """The cells of a table whose decimal commas are not quoted: behind a step every number stands in two."""
    heading, *rows = table
    n = 2 * len(heading) - 1
    split = [row for row in rows if len(row) == n and all(re.fullmatch(r"\s*-?\d+\s*", cell) for cell in row)]
    if len(heading) < 2 or not rows or len(split) < len(rows) or canonical(heading[0]).name not in COUNTS:
        return table
    return [heading, *([row[0], *map(".".join, zip(row[1::2], row[2::2], strict=True))] for row in rows)]


def _with_points(table: list[list[str]], commas: bool) -> list[list[str]]:
    """The cells below a heading with decimal points, where the table has decimal commas in their place.

    It has if it is parted by semicolons (`commas`), or its numbers say so. The comma of a count (a step) is
    one of thousands, unless nothing but 0 follows it in every row, and so is its point where they rise so.
    """
    heading, *rows = table
    counts = [canonical(name).name in COUNTS for name in heading]
    cells = [cell for row in rows for cell, count in zip(row, counts, strict=False) if not count]
    decimal = commas or has_decimal_commas(cells)
    columns = list(zip_longest(*rows, fillvalue=""))
    read = [_read_column(column, decimal, i < len(counts) and counts[i]) for i, column in enumerate(columns)]
    return [heading, *([read[i][at] for i in range(len(row))] for at, row in enumerate(rows))]


def _read_column(cells: Sequence[str], decimal: bool, count: bool) -> list[str]:
    if count and has_dotted_thousands([cell for cell in cells if cell.strip()]):
        return [cell.replace(".", "") for cell in cells]
    fractions = all(re.fullmatch(r"\d+,0+", cell.strip()) for cell in cells if cell.strip())
    return [with_point(cell) for cell in cells] if decimal and (fractions or not count) else list(cells)


def _is_heading(line: str, name: str) -> bool:
    cells = [cell.strip().strip('"') for cell in re.split(r"[,\t;]", line)]
    if len(cells) < 2 or any(_number(cell) for cell in cells if cell):
        return False
    return (
        _tensorboard(cells)
        or is_long(cells)
        or any(MEASUREMENT_NAME.search(canonical(_run_and_metric(c)[1]).name) for c in cells)
    )


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d[\d.eE+-]*", cell))


def _tensorboard(cells: Sequence[str]) -> bool:
    return {"wall time", "step", "value"} <= {cell.lower() for cell in cells}


def _rows(names: list[str], table: Iterable[Sequence[str]], file: str) -> list[JsonRow]:
    if _tensorboard(names):
        metric = tag_of(file)
        names = [{"value": metric, "wall time": "wall_time"}.get(n.lower(), n) for n in names]
    runs = {run for n in names if (run := _run_and_metric(n)[0])}
    rows = [dict(zip(names, row, strict=False)) for row in table if any(cell.strip() for cell in row)]
    rows = [{k: v for k, v in row.items() if k} for row in rows]
    return list(_of_runs(rows, sorted(runs))) if runs else list(rows)


def tag_of(file: str) -> str:
    """The metric in the name of a file that TensorBoard downloads: `run-NAME-tag-train_loss.csv`."""
    stem = re.sub(r"\.(csv|txt)$", "", file)
    tag = re.split(r"(?:^|[-_.])tag[-_.]", stem)[-1]
    words = [w for w in re.split(r"[-. ]+", tag) if w]
    named = [w for w in (tag, *words) if MEASUREMENT_NAME.search(canonical(w).name)]
    loss = re.search(r"(train|eval|val)?[_/ -]*loss", tag, re.IGNORECASE)
    return named[0] if named else loss.group() if loss else "value"


def _run_and_metric(name: str) -> tuple[str, str]:
    """`RUN - train/loss` as W&B names the columns of a panel."""
    run, separator, metric = name.rpartition(" - ")
    return (run.strip(), metric.strip()) if separator else ("", name)


def _of_runs(rows: list[dict[str, str]], runs: list[str]) -> Iterator[JsonRow]:
    for run in runs:
        for row in rows:
            own: dict[str, str] = {}
            for key, value in row.items():
                of, metric = _run_and_metric(key)
                if not metric.endswith(ENVELOPE) and of in ("", run) and value.strip() != "":
                    own[metric] = value
            if any(MEASUREMENT_NAME.search(canonical(k).name) for k in own):
                yield {**own, "run": run} if len(runs) > 1 else own


def is_long(names: Iterable[str]) -> bool:
    """Whether a table has a row for every number: the metric's name in one column, its value in another."""
    lower = {name.lower() for name in names}
    return "value" in lower and "step" in lower and bool(lower & set(METRIC_NAMES))


def pivoted(rows: list[JsonRow]) -> list[JsonRow]:
    """A long table, as MLflow and event streams keep it, with the numbers of one step in one row."""
    if not rows or not is_long(map(str, rows[0])):
        return rows
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        low = {str(k).lower(): v for k, v in row.items()}
        name = next((str(low[k]) for k in METRIC_NAMES if low.get(k)), "")
        run = str(low.get("run_id") or low.get("run") or "")
        entry = found.setdefault((run, str(low.get("step"))), {"step": low.get("step")})
        entry |= {name: low.get("value")} | ({"run": run} if run else {})
    return list(found.values())


def of_markdown(text: str, name: str = "") -> list[JsonRow]:
    """The longest Markdown table with a metric in its heading, as the Trainer writes into model cards."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if "|" in line else []
        if len(cells) < 2:
            inside = False
        elif not inside:
            inside = True
            tables.append([cells])
        elif not all(re.fullmatch(r":?-{1,}:?", cell) for cell in cells):
            tables[-1].append(cells)
    return _longest(tables)


def _longest(tables: Iterable[list[list[str]]]) -> list[JsonRow]:
    """The rows of the longest table, its heading first, that measures anything."""
    pointed = (_with_points(table, False) for table in tables if len(table) > 1)
    found = [[_drawn(table[0], row) for row in table[1:]] for table in pointed]
    return max((t for t in found if _measured(t)), key=len, default=[])


def _measured(table: Sequence[JsonRow]) -> bool:
    return any(MEASUREMENT_NAME.search(canonical(str(k)).name) for row in table[:1] for k in row)


def _drawn(heading: Sequence[str], cells: Sequence[str]) -> JsonRow:
    """A row of a table that transformers draws: beside a validation loss other metrics are held out too."""
    held_out = any(canonical(h).name == "eval_loss" for h in heading)
    row: dict[str, Any] = {}
    for key, value in zip(heading, cells, strict=False):
        if value in NOTHING:
            continue
        own = not held_out or OF_TRAINING.match(key) or canonical(key).name.startswith("eval_")
        row[key if own else f"eval_{key}"] = value
    return row


def of_html(text: str) -> list[JsonRow]:
    """The longest table with a metric in its heading."""
    if "<t" not in text:
        return []
    reader = _Tables()
    reader.feed(text)
    return _longest(reader.tables)


class _Tables(HTMLParser):
    """The cells of every table of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[-1][-1][-1] += data.strip()
