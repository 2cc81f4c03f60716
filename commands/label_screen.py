"""The screen of `probe label`: one pair at a time, two unmarked answers, one key."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.control import Control
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..errors import ProbeError
from ..escape import visible
from ..pairs.audit import AnswerKey, AnswerLog, LabelAnswer, Question
from ..pairs.record import Content, text_of
from ..runs import now
from ..streams import unescaped_stream
from .label_keys import PressedKeys, keyboard

ANSWER_KEYS: dict[str, AnswerKey] = {
    "left": "left", "l": "left", "1": "left", "right": "right", "r": "right", "2": "right",
    "t": "tie", "=": "tie", "s": "skip",
}  # fmt: skip
SCROLL = {"down": 1, "j": 1, "up": -1, "k": -1}
PAGES = {" ": 1, "pagedown": 1, "b": -1, "pageup": -1}
SIDE_BY_SIDE = 60  # columns from which the answers stand beside each other
HELP = "<- -> better side  t tie  s skip  u undo  q quit"


def ask_all(asked: Sequence[Question], log: AnswerLog, seed: int = 0) -> None:
    """Ask what is open until nothing is left or the labeller quits. Raises `ProbeError` off a terminal.

    `seed` is that of the sample, which the log keeps.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ProbeError("label asks on a terminal, and there is none. --report judges the saved answers.")
    console = Console(file=unescaped_stream(sys.stderr), highlight=False)
    if all(question.digest in log.answers for question in asked):
        return
    log.ask(len(asked), seed)
    page = ScreenPage(console)
    with keyboard(console, partial(page.draw, clear=True)) as keys:
        _ask(asked, log, page, keys)


def _ask(asked: Sequence[Question], log: AnswerLog, page: ScreenPage, keys: PressedKeys) -> None:
    sample = {question.digest for question in asked}
    while (question := next((q for q in asked if q.digest not in log.answers), None)) is not None:
        keys.forget()  # a key answers the pair that it was pressed for
        page.show(question, *_progress(asked, log))
        started = time.monotonic()
        key = _decide(page, keys)
        if key == "q":
            return
        if key == "u":
            log.undo(sample)
        else:
            log.add(_answer(question, ANSWER_KEYS[key], time.monotonic() - started))


def _decide(page: ScreenPage, keys: PressedKeys) -> str:
    """Scroll until an answer, undo or quit is pressed; returns that key."""
    for key in keys:
        if key in ANSWER_KEYS or key in ("u", "q"):
            return key
        page.scroll(SCROLL.get(key, 0) + PAGES.get(key, 0) * max(1, page.room - 1))
    return "q"


def _answer(question: Question, key: AnswerKey, seconds: float) -> LabelAnswer:
    label = question.label(key)
    return LabelAnswer(question.digest, question.pair.id, label, question.left, round(seconds, 1), now())


def _progress(asked: Sequence[Question], log: AnswerLog) -> tuple[int, int, float | None]:
    """Number of this question, of all, and the seconds that the rest will take at the usual pace."""
    done = [log.answers[q.digest].seconds for q in asked if q.digest in log.answers]
    pace = statistics.median(done) if len(done) >= 3 else None
    return len(done) + 1, len(asked), None if pace is None else pace * (len(asked) - len(done))


class ScreenPage:
    """What is on the screen: a header, a window on the question, the keys."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.question: Question | None = None
        self.header = ""
        self.top = 0

    @property
    def room(self) -> int:
        """Lines between the header and the footer."""
        return max(1, self.console.height - 3)

    def show(self, question: Question, number: int, total: int, left_s: float | None) -> None:
        """Put a question on the screen, from its first line."""
        rest = "" if left_s is None else f" · about {max(1, round(left_s / 60))} min left"
        self.question, self.header, self.top = question, f" pair {number} of {total}{rest}", 0
        self.draw()

    def scroll(self, lines: int) -> None:
        """Move the window; the ends hold it."""
        self.top += lines
        self.draw()

    def draw(self, *, clear: bool = False) -> None:
        """Paint the screen at its present size."""
        if self.question is None:
            return
        self.console.size = os.get_terminal_size(sys.stderr.fileno())  # not COLUMNS: it may be exported stale
        width, room = self.console.width, self.room
        body = question_lines(self.question, self.console, width)
        self.top = max(0, min(self.top, len(body) - room))
        shown = body[self.top : self.top + room]
        shown += [[Segment(" " * width)]] * (room - len(shown))
        window = (
            f"lines {self.top + 1}-{self.top + room} of {len(body)}, space b " if len(body) > room else ""
        )
        head = Text(_line(self.header, window, width), style="reverse", no_wrap=True)
        foot = Text(_line(f" {HELP}", "", width), style="reverse", no_wrap=True)
        segments = [segment for line in shown for segment in (*line, Segment.line())]
        self.console.control(Control.clear() if clear else Control(), Control.home())
        self.console.print(Group(head, _ScreenLines(segments), foot), end="", crop=True, soft_wrap=False)


def _line(left: str, right: str, width: int) -> str:
    """A line of exactly `width` columns; the right part is kept whole where both do not fit."""
    room = max(0, width - len(right))
    return (left[:room].ljust(room) + right)[:width]


class _ScreenLines:
    """Ready-made segments as a renderable."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield from self.segments


def question_lines(question: Question, console: Console, width: int) -> list[list[Segment]]:
    """The prompt and the two answers, wrapped to `width` columns; beside each other where there is room."""
    left, right = question.pair.chosen, question.pair.rejected
    if question.left == "rejected":
        left, right = right, left
    sides: RenderableType
    if width >= SIDE_BY_SIDE:
        sides = Table.grid(expand=True, padding=(0, 1))
        sides.add_column(ratio=1, overflow="fold")  # by default a text without spaces ends in "…"
        sides.add_column(ratio=1, overflow="fold")
        sides.add_row(Text("LEFT", style="bold"), Text("RIGHT", style="bold"))
        sides.add_row(_shown(left), _shown(right))
    else:
        sides = Group(Rule("LEFT"), _shown(left), Rule("RIGHT"), _shown(right))
    asked = question.pair.prompt
    prompt: list[RenderableType] = [] if asked is None else [_shown(asked), Rule()]
    options = console.options.update(width=width, height=None)
    return console.render_lines(Group(*prompt, sides), options, pad=True)


def _shown(content: Content) -> Text:
    """The words of a side; whatever could move the cursor is spelled out, and turns of a chat are marked."""
    if isinstance(content, str):
        return Text(visible(content, "\n"))
    turns = (f"{message.get('role', '?')}: {text_of((message,))}" for message in content)
    return Text(visible("\n\n".join(turns), "\n"))
