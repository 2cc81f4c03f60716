"""Tables of delimited text: CSV, TSV and what Excel writes, a row for each record below the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import IO

from .jsonl import MAX_LINE, JsonRows
from .rows import BadRow, RestUnread, short

ROWS_IN_A_CELL = 5  # lines with as many commas as the header, which prose hardly has in a row


def csv_rows(file: IO[bytes], delimiter: str = ",") -> JsonRows:
    """Rows of a table with a header. A record may span lines; its number is that of its first."""
    csv.field_size_limit(MAX_LINE)
    head: bytes = file.peek(65536).split(b"\n")[0]  # type: ignore[attr-defined]
    if delimiter == "," and b"," not in head and (b";" in head or b"\t" in head):  # as Excel writes it
        delimiter = ";" if b";" in head else "\t"
    # Bytes that are no UTF-8 travel as lone surrogates to the row that holds them.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(_text_lines(text), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Past a broken quote, rows cannot be told apart.
            yield line, RestUnread(f"not CSV ({error}). Quote the field and double the quotes in it.")
            return
        if cells is None:
            return
        if header is None:
            header = cells
        elif cells:
            yield line, _swallowed(header, cells, delimiter) or _record(header, cells)


def _swallowed(header: Sequence[str], cells: Sequence[str], delimiter: str) -> BadRow | None:
    """A record whose cell holds whole rows: a quote that was no opening one has taken them in.

    Prose has commas too, so that of a comma `ROWS_IN_A_CELL` lines with the same number as the header count.
    """
    for cell in cells:
        inside = cell.split("\n")[1:-1]
        rows = [line for line in inside if line.count(delimiter) == len(header) - 1]
        if len(header) > 1 and len(rows) == len(inside) >= (1 if delimiter == "\t" else ROWS_IN_A_CELL):
            return RestUnread(
                f"a quote that opens here takes in {len(inside)} rows as its text. "
                "Quote the field and double the quotes in it."
            )
    return None


def _text_lines(text: IO[str]) -> Iterator[str]:
    """The lines of a text. Raises `csv.Error` for one that is no line of pairs, before it is read whole."""
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise csv.Error(f"a line longer than {MAX_LINE // 2**20} MiB")
        yield line


def _record(header: list[str], cells: list[str]) -> dict[str, str] | BadRow:
    if len(cells) != len(header):
        return BadRow(f"{len(cells)} fields under a header of {len(header)}. Quote fields with a separator.")
    row = dict(zip(header, cells, strict=True))
    if len(row) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        return BadRow(f'the header names "{short(twice)}" twice. Rename one column.')
    try:
        "".join([*row, *cells]).encode()
    except UnicodeEncodeError:
        return BadRow("holds bytes that are not UTF-8. Save the file as UTF-8.")
    return row
