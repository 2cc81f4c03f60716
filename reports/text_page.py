"""Lines of a terminal report: what fits in a width, in which glyphs, with which marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..escape import ascii_text, visible
from .command_line import command_parts

STYLES = {"good": "green", "bad": "bold red", "unsure": "yellow", "plain": "cyan"}


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How a report is laid out. `everything` lifts the limits on rows and pairs, `height` is the screen's.

    `findings`: most that a report tells which fits a screen; the others are named.
    """

    width: int = 80
    ascii_only: bool = False
    everything: bool = False
    height: int = 24
    findings: int = 5

    def text(self, text: str) -> str:
        """Any text, on one line, safe for a terminal, in this page's characters."""
        shown = visible(text)
        return ascii_text(shown) if self.ascii_only else shown

    def line(self, *parts: str | tuple[str, str]) -> Text:
        """One line from strings and (string, style) pairs."""
        line = Text()
        for part in parts:
            string, style = (part, "") if isinstance(part, str) else part
            line.append(self.text(string), style)
        return line

    def clip(self, text: str, width: int) -> str:
        """`text` cut to `width` cells, its cut end marked."""
        shown = self.text(text)
        if cell_len(shown) <= width:
            return shown
        mark = self.text("…")
        return set_cell_size(shown, max(0, width - len(mark))) + mark[:width]

    def ended(self, line: str, width: int) -> str:
        """A line of a text that goes on, cut after a whole word where it has several, its end marked."""
        mark = self.text("…")
        words = line.split(" ")
        while len(words) > 1 and cell_len(" ".join(words)) + len(mark) + 1 > width:
            words.pop()
        cut = " ".join(words)
        fits = cell_len(cut) + len(mark) + 1 <= width
        return f"{cut} {mark}" if fits else self.clip(cut + mark, width)

    def command(self, command: str, first: str, style: str = "bold") -> list[Text]:
        """A command that can be copied: a line of it ends between two options, with a backslash.

        A word that is longer than a line stays whole, since a break inside it would be read as a part of it.
        """
        lead = self.text(first)
        room = self.width - cell_len(lead) - 2
        lines: list[str] = []
        for part in self._breakable(command_parts(command, self.ascii_only), room):
            if lines and cell_len(lines[-1]) + 1 + cell_len(part) <= room:
                lines[-1] += f" {part}"
            else:
                lines.append(part)
        ends = [" \\"] * (len(lines) - 1) + [""]
        heads = [lead, *[" " * cell_len(lead)] * len(lines)]
        return [
            Text(head).append(line + end, style) for head, line, end in zip(heads, lines, ends, strict=False)
        ]

    @staticmethod
    def _breakable(parts: Iterable[str], room: int) -> Iterator[str]:
        """The parts, of which an option and its value are two where they do not fit on a line together."""
        for part in parts:
            long = part.startswith("--") and cell_len(part) > room
            yield from part.split(" ", 1) if long else [part]

    def wrap(
        self, text: str, *, indent: int = 0, first: str = "", style: str = "", rows: int = 0
    ) -> list[Text]:
        """`text` filled to the width after `first`, later lines under it; at most `rows` lines, 0 for all."""
        lead = Text(self.text(first))
        hang = max(indent, lead.cell_len)
        room = max(self.width - hang, 16)
        shown = self.text(text)
        filled = fill(shown, room)
        if rows and len(filled) > rows:
            filled = [*filled[: rows - 1], self.ended(filled[rows - 1], room)]
        heads = [set_cell_size(lead.plain, hang), *[" " * hang] * len(filled)]
        return [Text(head).append(line, style) for head, line in zip(heads, filled, strict=False)]


def fill(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken at spaces, inside a word only when it must."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        while cell_len(word) > width:
            head = _head(word, width)
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line]


def _head(word: str, width: int) -> str:
    end = 1
    while end < len(word) and cell_len(word[: end + 1]) <= width:
        end += 1
    return word[:end]
