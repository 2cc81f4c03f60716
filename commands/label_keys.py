"""The keyboard and the screen of `probe label`: taken, given back, and taken again after a stop.

Signals are obeyed where the program waits for a key, never in the middle of painting.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SEQUENCES = {
    "\x1b[D": "left", "\x1bOD": "left", "\x1b[C": "right", "\x1bOC": "right",
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x04": "q",
}  # fmt: skip
KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
ENDING = ("SIGTERM", "SIGHUP", "SIGQUIT")  # end a program that has nothing against them, where they exist


class PressedKeys:
    """Single keys by name, from whatever a read gives; they end where a read gives nothing."""

    def __init__(self, read: Callable[[], str], flush: Callable[[], None] | None = None) -> None:
        self._read, self._flush = read, flush
        self._held: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._held:
            self._held = [SEQUENCES.get(key, key.lower()) for key in KEY.findall(self._read())]
        if not self._held:
            raise StopIteration
        return self._held.pop(0)

    def forget(self) -> None:
        """Drop what was pressed up to now: it was not meant for what is shown next."""
        self._held.clear()
        if self._flush:
            self._flush()


@contextmanager
def keyboard(console: Console, draw: Callable[[], None]) -> Iterator[PressedKeys]:
    """Keys as they are pressed, without echo, and a screen of the program's own; Ctrl-C stays Ctrl-C.

    `draw` paints that screen anew: after another size, and after a stop (Ctrl-Z, then `fg`). The terminal is
    as before while the program is stopped, and when it ends, by SIGTERM too.
    """
    if sys.platform == "win32":
        import typer

        with console.screen(hide_cursor=True):
            yield PressedKeys(typer.getchar)
        return
    terminal = _Terminal(console, draw)
    with _signals_in_a_pipe(*ENDING, "SIGTSTP", "SIGCONT", "SIGWINCH") as pipe:
        try:
            terminal.take()
            yield PressedKeys(lambda: terminal.read(pipe), terminal.flush)
        finally:
            terminal.give_back()


@contextmanager
def _signals_in_a_pipe(*names: str) -> Iterator[int]:
    """The end of a pipe from which the numbers of the named signals can be read, a byte each, as they come.

    One that is ignored stays so.
    """
    known = [getattr(signal, name) for name in names]
    before = {n: old for n in known if (old := signal.getsignal(n)) is not signal.SIG_IGN}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, lambda *_: None)
    try:
        yield reading
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(woken)
        os.close(reading)
        os.close(writing)


if sys.platform != "win32":
    import termios
    import tty

    class _Terminal:
        """The terminal of stdin and `console`, with the settings that it had."""

        def __init__(self, console: Console, draw: Callable[[], None]) -> None:
            self.console, self.draw = console, draw
            self.input = sys.stdin.fileno()
            self.before: list[Any] = termios.tcgetattr(self.input)

        def take(self) -> None:
            """No lines, no echo, another screen. In the background this stops the program until `fg`."""
            while not self._without_lines():
                pass
            self.console.set_alt_screen(True)
            self.console.show_cursor(False)

        def _without_lines(self) -> bool:
            """False where a stop came between, which a call of the C library tells as an error."""
            try:
                tty.setcbreak(self.input)
            except termios.error as error:
                if error.args[0] != errno.EINTR:
                    raise
                return False
            return True

        def give_back(self) -> None:
            """The settings and the screen that were there."""
            self.console.show_cursor(True)
            self.console.set_alt_screen(False)
            termios.tcsetattr(self.input, termios.TCSADRAIN, self.before)

        def flush(self) -> None:
            """Drop keys that were pressed and not read."""
            termios.tcflush(self.input, termios.TCIFLUSH)

        def read(self, pipe: int) -> str:
            """Wait for keys; what comes from `pipe` meanwhile is obeyed."""
            while True:
                ready, _, _ = select.select([self.input, pipe], [], [])
                if pipe not in ready:
                    return os.read(self.input, 1024).decode("utf-8", "replace")
                for number in os.read(pipe, 1024):
                    self._obey(number)

        def _obey(self, number: int) -> None:
            if number == signal.SIGINT:  # has a handler of its own
                return
            if number not in (signal.SIGCONT, signal.SIGWINCH):
                self._stop(number)
            if number != signal.SIGWINCH:
                self.take()
            self.draw()

        def _stop(self, number: int) -> None:
            """Do what the signal does by itself; the program goes on here if it is continued."""
            with suppress(OSError, termios.error):  # a terminal that hung up takes nothing
                self.give_back()
            handler = signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            signal.signal(number, handler)
