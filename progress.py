"""Progress on stderr: a bar with rate and time left on a terminal, a line every 10% elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .launched import rank
from .streams import draw_line, unescaped_stream

if TYPE_CHECKING:
    from rich.console import RenderableType

Advance = Callable[[float], None]
SILENCE = 10.0  # seconds after which a step that says nothing is said to be running still
BEAT = 0.5  # seconds between two drawings of a step's own bar
OVERDUE = 1.1  # times the expected seconds after which more than they are being taken
WIDE = 24  # cells of that bar
_told = [0.0]  # when something was last said, by time.monotonic
_drawn = [0]  # bars that count units and are on the terminal now


def first_process() -> bool:
    """Whether this is the first of the processes that share the job: the one that speaks and writes."""
    return rank() == 0


@contextmanager
def alive(what: str, silence: float | None = None, expected: float | None = None) -> Iterator[None]:
    """While the block runs, show that it does, by the seconds that it has taken and those `expected`.

    On a terminal a bar moves by the time whenever no bar of the block's own is drawn; elsewhere a line is
    printed whenever nothing has been said for `silence` seconds.
    """
    period, started, done = SILENCE if silence is None else silence, time.monotonic(), threading.Event()
    _told[0] = started
    watch = _draw if sys.stderr.isatty() else _tell
    watcher = threading.Thread(target=watch, args=(what, started, done, period, expected), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _tell(what: str, started: float, done: threading.Event, period: float, expected: float | None) -> None:
    """A line whenever nothing has been said for `period` seconds, until `done`."""
    while not done.wait(max(0.01, _told[0] + period - time.monotonic())):
        if time.monotonic() - _told[0] >= period:
            spent = time.monotonic() - started
            print(f"{what}: running for {spent:.0f} s{_of(spent, expected)}", file=sys.stderr, flush=True)
            _told[0] = time.monotonic()


def _draw(what: str, started: float, done: threading.Event, period: float, expected: float | None) -> None:
    """A bar of seconds on the last line of the terminal while no other bar is there, until `done`."""
    shown = False
    while not done.wait(min(BEAT, period)):
        if _drawn[0]:
            shown = False  # the other bar has the line
            continue
        line = _timed_bar(what, time.monotonic() - started, expected)
        width = shutil.get_terminal_size().columns  # a line that wraps would not be wiped out whole
        draw_line(line[: width - 1])
        shown = True
    if shown:
        draw_line("")


def _timed_bar(what: str, spent: float, expected: float | None) -> str:
    """`trial  ##########--------------  20 s of about 48 s`; without an expectation the mark wanders."""
    if expected:
        full = min(WIDE, int(WIDE * spent / expected))
        bar = "#" * full + "-" * (WIDE - full)
    else:
        place = int(spent / BEAT) % WIDE
        bar = "-" * place + "#" + "-" * (WIDE - place - 1)
    return f"{what}  {bar}  {spent:.0f} s{_of(spent, expected)}"


def _of(spent: float, expected: float | None) -> str:
    if not expected:
        return ""
    about = f"about {max(expected, 1):.0f} s"
    return f" of {about}" if spent <= max(expected, 1) * OVERDUE else f"; {about} were expected"


@contextmanager
def progress(
    what: str, total: int | None, unit: str = "pairs", below: RenderableType | None = None
) -> Iterator[Advance]:
    """Yields `advance(k)`, to be called when `k` more units are done. `total` None: unknown length.

    `below` is drawn under the bar of a terminal; both are gone when the block ends.
    """
    if total == 0 or not first_process():
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(what, total, unit, below) as advance:
            yield advance
    else:
        yield _lines(what, total, unit)


@contextmanager
def _bar(what: str, total: int | None, unit: str, below: RenderableType | None = None) -> Iterator[Advance]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    started = time.monotonic()
    console = Console(file=unescaped_stream(sys.stderr))
    bar = Progress(*columns, console=console)
    shown = Group(bar, below) if below else bar
    with _holding(), Live(shown, console=console, transient=True, refresh_per_second=5):
        task = bar.add_task(what, total=total, rate="")
        done = 0.0

        def advance(k: float) -> None:
            nonlocal done
            done += k
            _told[0] = time.monotonic()
            bar.update(task, advance=k, rate=_rate(done, started, unit))

        yield advance


@contextmanager
def _holding() -> Iterator[None]:
    """While a bar that counts units is on the terminal, no bar of seconds is; what it left is wiped out."""
    _drawn[0] += 1
    draw_line("")
    try:
        yield
    finally:
        _drawn[0] -= 1


def _lines(what: str, total: int | None, unit: str) -> Advance:
    started, done, told = time.monotonic(), 0.0, 0

    def advance(k: float) -> None:
        nonlocal done, told
        done += k
        step = int(10 * done // total if total else done // 10_000)
        if step > told:
            told = step
            _told[0] = time.monotonic()
            print(
                f"{what}: {done:.0f}/{total or '?'} {unit}, {_rate(done, started, unit)}",
                file=sys.stderr,
                flush=True,
            )

    return advance


def _rate(done: float, started: float, unit: str) -> str:
    rate = done / max(time.monotonic() - started, 1e-9)
    return f"{rate:,.0f} {unit}/s" if rate >= 100.0 else f"{rate:.3g} {unit}/s"
