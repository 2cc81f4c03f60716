"""Tables in a terminal: columns give way when the width is short, intervals are drawn on one axis."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from .axis import tick_label, ticks
from .text_page import STYLES, PageLayout, fill
from .view import TONES, Column, IntervalCell, Table, notes

COLUMN_GAP = 2
PLOT = (13, 33)  # least and most cells of a plot column
LEAST_TEXT = 10  # cells of a text column while numbers are whole
WIDEST_TEXT = 28  # cells of a text column that is not the last

TextRow = tuple[str | IntervalCell, ...]
Fitted = list[tuple[int, Column, int]]  # index in the row, column, width in cells


def table_lines(table: Table, page: PageLayout) -> list[Text]:
    """The table with its title; too many rows are cut and counted."""
    rows, hidden = _shown(table, page)
    fitted = _fit(table, rows, page)
    title, note = (
        page.wrap(table.title, style="bold"),
        page.wrap(table.note, style="dim") if table.note else [],
    )
    body = [
        line
        for row in rows
        for line in (
            *_row(table, row, fitted, page, table.total and row is rows[-1]),
            *_notes(table, row, page),
        )
    ]
    more = [page.line((f"{hidden:,} more rows: --all", "dim"))] if hidden else []
    return [*title, *note, _header(table, fitted, page), *body, *more]


def _shown(table: Table, page: PageLayout) -> tuple[Sequence[TextRow], int]:
    extra = len(table.rows) - table.limit
    if page.everything or extra <= 1:
        return table.rows, 0
    last = table.rows[-1:] if table.total else ()
    return (*table.rows[: table.limit - len(last)], *last), extra


def _fit(table: Table, rows: Sequence[TextRow], page: PageLayout) -> Fitted:
    """Which columns are shown, how wide: the most droppable go first; plots, then texts, take the rest."""
    columns = table.columns
    widths = [_natural(table, i, [row[i] for row in rows], page) for i in range(len(columns))]
    shown = [i for i, width in enumerate(widths) if width]
    drops = [_drop(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    while _total(widths, shown) > page.width and any(drops[i] for i in shown):
        shown.remove(max(shown, key=lambda i: drops[i]))
    spare = page.width - _total(widths, shown)
    for _ in range(-spare):  # words are known by their beginning, numbers are not
        cut = max(shown, key=lambda i: (columns[i].align == "left" and widths[i] > LEAST_TEXT, widths[i]))
        widths[cut] -= 1
    for i in sorted(shown, key=lambda i: columns[i].align != "plot"):
        wanted = PLOT[1] if columns[i].align == "plot" else _longest([row[i] for row in rows], page)
        more = min(max(spare, 0), max(wanted - widths[i], 0))
        widths[i], spare = widths[i] + more, spare - more
    return [(i, columns[i], widths[i]) for i in shown]


def _drop(column: Column, cells: Sequence[str | IntervalCell]) -> int:
    """How soon the column gives way; never where it alone says of which group a row is."""
    return 0 if column.name == "group" and len(set(cells)) > 1 else column.drop


def _natural(table: Table, i: int, cells: Sequence[str | IntervalCell], page: PageLayout) -> int:
    column = table.columns[i]
    if column.align in ("plot", "note"):
        return PLOT[0] if column.align == "plot" else 0
    longest = _longest(cells, page)
    if not longest and not column.name:
        return 0
    return max(len(column.name), longest if i == len(table.columns) - 1 else min(longest, WIDEST_TEXT))


def _longest(cells: Sequence[str | IntervalCell], page: PageLayout) -> int:
    return max((cell_len(page.text(cell)) for cell in cells if isinstance(cell, str)), default=0)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] for i in shown) + COLUMN_GAP * (len(shown) - 1)


def _header(table: Table, fitted: Fitted, page: PageLayout) -> Text:
    names = [axis_line(table.axis, width) if c.align == "plot" else c.name for _, c, width in fitted]
    cells = [
        _padded(page.text(name), width, c.align) for name, (_, c, width) in zip(names, fitted, strict=True)
    ]
    return Text((" " * COLUMN_GAP).join(cells).rstrip(), "dim")


def _row(table: Table, row: TextRow, fitted: Fitted, page: PageLayout, total: bool) -> list[Text]:
    line, below = Text(), []
    for i, column, width in fitted:
        cell = row[i]
        line.append(" " * COLUMN_GAP if line else "")
        if isinstance(cell, IntervalCell):
            line.append_text(strip(cell, table, width, page, total))
            continue
        shown = page.clip(cell, width)
        if line and i == fitted[-1][0]:  # the last column has room below to run on
            hang = " " * line.cell_len
            shown, *rest = fill(page.text(cell), width)
            below = [Text(hang + more) for more in rest]
        style = STYLES[TONES[cell]] if cell in TONES else ("bold" if total else "")
        line.append(_padded(shown, width, column.align), style)
    line.rstrip()
    return [line, *below]


def _notes(table: Table, row: TextRow, page: PageLayout) -> list[Text]:
    return [line for note in notes(table, row) for line in page.wrap(note, indent=2, style="dim")]


def _padded(text: str, width: int, align: str) -> str:
    return " " * (width - cell_len(text)) + text if align == "right" else set_cell_size(text, width)


def axis_line(axis: tuple[float, float], width: int) -> str:
    """The tick labels of a plot column, each centred on its place; zero and the ends come before the rest."""
    low, high = axis
    cells = [" "] * (width + 1)
    between = ticks(low, high) if width >= 24 else []
    for tick in (*([0.0] if low <= 0 <= high else []), low, high, *between):
        name = tick_label(tick)
        start = min(max(_place(tick, axis, width) - len(name) // 2, 0), width - len(name))
        around = slice(max(start - 1, 0), start + len(name) + 1)
        if not "".join(cells[around]).strip():
            cells[start : start + len(name)] = name
    return "".join(cells[:width])


def strip(cell: IntervalCell, table: Table, width: int, page: PageLayout, total: bool = False) -> Text:
    """An interval on the table's axis: `├──●──┤`, zero as `│`, the neutral zone's ends as `┊`."""
    cells = [" "] * width
    for mark in table.marks:
        cells[_place(mark, table.axis, width)] = "┊"
    if table.axis[0] < 0 <= table.axis[1]:
        cells[_place(0.0, table.axis, width)] = "│"
    drawn: list[int] = []
    if cell.low is not None and cell.high is not None:
        low, high = _place(cell.low, table.axis, width), _place(cell.high, table.axis, width)
        cells[low : high + 1] = ["├", *["─"] * (high - low - 1), "┤"] if high > low else ["│"]
        drawn = [low, high]
    if cell.value is not None:
        place = _place(cell.value, table.axis, width)
        cells[place] = "◆" if total else "●"
        drawn.append(place)
    line = Text(page.text("".join(cells)), "dim")
    if drawn:
        line.stylize("not dim bold" if total else "not dim", min(drawn), max(drawn) + 1)
    return line


def _place(value: float, axis: tuple[float, float], width: int) -> int:
    low, high = axis
    return min(max(round((value - low) / ((high - low) or 1.0) * (width - 1)), 0), width - 1)
