"""Progress on stderr: a bar with rate and time left on a terminal, a line every 10% elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .streams import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

Advance = Callable[[float], None]
SILENCE = 10.0  # seconds after which a step that says nothing is said to be running still
_told = [0.0]  # when something was last said, by time.monotonic


def first_process() -> bool:
    """Whether this is the first of the processes that share the job: the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def alive(what: str, silence: float | None = None) -> Iterator[None]:
    """While the block runs, say so on stderr whenever nothing has been said for `silence` seconds."""
    period, started, done = SILENCE if silence is None else silence, time.monotonic(), threading.Event()
    _told[0] = started

    def watch() -> None:
        while not done.wait(max(0.01, _told[0] + period - time.monotonic())):
            if time.monotonic() - _told[0] >= period:
                print(f"{what}: running for {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
                _told[0] = time.monotonic()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


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
    console = Console(file=plain(sys.stderr))
    bar = Progress(*columns, console=console)
    shown = Group(bar, below) if below else bar
    with Live(shown, console=console, transient=True, refresh_per_second=5):
        task = bar.add_task(what, total=total, rate="")
        done = 0.0

        def advance(k: float) -> None:
            nonlocal done
            done += k
            _told[0] = time.monotonic()
            bar.update(task, advance=k, rate=_rate(done, started, unit))

        yield advance


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
    return f"{done / max(time.monotonic() - started, 1e-9):.3g} {unit}/s"
