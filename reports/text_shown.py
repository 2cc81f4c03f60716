"""Pairs as a model reads them, for a terminal: context dimmed, each scored token between bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from ..number_format import count
from ..records import Run
from .text_page import PageLayout
from .view import details, sides

COLUMN_RULE = "│"
SCREEN_ROWS = {"context": 4, "side": 4}  # of each in a screen of 24 lines; more where the screen has more
SCREEN = 24
SPECIAL_STYLE = "bold magenta"

Piece = tuple[str, str]  # text as it is shown, and its style


def shown_lines(run: Run, page: PageLayout) -> list[Text]:
    """Every pair that was asked for, one under the other."""
    lines: list[Text] = []
    rows = details(run, "shown")
    for row in rows:
        lines += [Text()] if lines else []
        lines += _pair(row, sides(run), page)
    return lines


def _pair(row: Mapping[str, Any], names: tuple[str, str], page: PageLayout) -> list[Text]:
    """One pair: its place, the context (once where both sides have the same), both sides, what was met."""
    chosen, rejected = (row["sides"][key] for key in ("chosen", "rejected"))
    head = page.wrap(f"line {row['line']}", style="bold")
    one = chosen["context"] == rejected["context"]
    contexts = [("both sides", chosen)] if one else [(names[0], chosen), (names[1], rejected)]
    lines = list(head)
    for name, side in contexts:
        tokens = count(len(side["context"]), "token")
        lines += page.wrap(f"context of {name} · {tokens}, not scored", style="bold")
        lines += _block(_plain(side["context"], page), page, "context", len(contexts), tail=True)
    for name, side in zip(names, (chosen, rejected), strict=True):
        lines += _side(name, side, page)
    return [*lines, *_met(row, page)]


def _side(name: str, side: Mapping[str, Any], page: PageLayout) -> list[Text]:
    end = " and the end token" if side["end"] else ", no end token"
    head = page.wrap(f"{name} · {count(len(side['tokens']), 'token')} scored{end}", style="bold")
    pieces = _barred(side["tokens"], page)
    if side["end"]:
        pieces = [*pieces, (" end ", "dim"), *_barred(side["end"], page)]
    return [*head, *_block(pieces, page, "side", 1)]


def _met(row: Mapping[str, Any], page: PageLayout) -> list[Text]:
    """Flags in words, what the template changed, and whether the pair has a score."""
    lines: list[Text] = []
    for change in row["changes"]:
        told = f"{count(change['tokens'], 'token')} of {change['side']}: {change['words'].strip()}"
        lines += page.wrap(f"{row['flags'].get(change['flag'], change['flag'])}: {told}", first="! ", rows=2)
    said = {change["flag"] for change in row["changes"]}
    for flag, meaning in row["flags"].items():
        if flag not in said:
            lines += page.wrap(meaning, first="! ")
    if row["excluded"]:
        lines += page.wrap("left out of every score", first="! ", style="bold")
    return lines


def _plain(pieces: Sequence[Sequence[Any]], page: PageLayout) -> list[Piece]:
    return [(page.text(text), SPECIAL_STYLE if special else "dim") for text, special in pieces]


def _barred(pieces: Sequence[Sequence[Any]], page: PageLayout) -> list[Piece]:
    bar = page.text(COLUMN_RULE)
    shown = [(page.text(text), SPECIAL_STYLE if special else "") for text, special in pieces]
    return [(bar, "dim"), *(part for piece in shown for part in (piece, (bar, "dim")))] if shown else []


def _block(
    pieces: list[Piece], page: PageLayout, kind: str, shared_by: int, tail: bool = False
) -> list[Text]:
    """The pieces in lines of the page; where there are too many, the `tail` of them, or their beginning."""
    lines = _filled(pieces, page.width - 2)
    most = max(1, (SCREEN_ROWS[kind] + (page.height - SCREEN) // 3) // shared_by)
    if not page.everything and len(lines) > most:
        hidden = len(lines) - most + 1
        more = page.line((f"{hidden} more lines {'before' if tail else 'after'} these: --all", "dim"))
        kept = lines[-(most - 1) :] if most > 1 else []
        lines = [more, *kept] if tail else [*lines[: most - 1], more]
    return [Text("  ").append_text(line) for line in lines]


def _filled(pieces: Sequence[Piece], width: int) -> list[Text]:
    """Pieces one after the other, cut into lines of at most `width` cells."""
    lines, line, used = [], Text(), 0
    for text, style in pieces:
        for character in text:
            cells = cell_len(character)
            if used + cells > width:
                lines.append(line)
                line, used = Text(), 0
            line.append(character, style)
            used += cells
    return [*lines, line] if used else lines
