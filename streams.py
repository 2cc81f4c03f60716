"""The way out of the process: text is escaped, and a stream that fails changes no exit code.

`main` puts an `Outlet` before stdout and stderr. Whatever is printed passes its escaping; a reader that went
away, a full disk or a closed descriptor loses the text and nothing else. What has been escaped already (the
reports) and what moves the cursor on purpose (rich) is written with `print_report`, `utf8` and
`unescaped_stream`.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from .errors import Exit
from .escape import ascii_text, inert, visible

WIPE = "\r\x1b[2K"  # back to the start of a terminal's line, which is then empty


class Outlet(io.TextIOBase):
    """A text stream that escapes what it is given and remembers, rather than raises, that it failed.

    `inner` None stands for a descriptor that was closed: everything is dropped.
    """

    def __init__(self, inner: TextIO | None) -> None:
        self.inner = inner
        self.error: Exception | None = None
        self._blank = True  # nothing but white space on the current line so far
        self._lock = threading.RLock()  # a bar is drawn by a thread of its own
        self._drawn = False  # the current line is a drawing, which gives way to text
        self._ci = bool(os.environ.get("GITHUB_ACTIONS"))

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The inner stream's encoding."""
        return getattr(self.inner, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Always: what cannot be written is dropped."""
        return True

    def isatty(self) -> bool:
        """Whether a terminal is behind it."""
        return self.inner is not None and not self.inner.closed and self.inner.isatty()

    def fileno(self) -> int:
        """The inner stream's descriptor."""
        if self.inner is None:
            raise io.UnsupportedOperation("fileno")
        return self.inner.fileno()

    def write(self, text: str) -> int:
        """Write `text` with its control characters made visible; only line ends stay."""
        with self._lock:
            if self._drawn:
                self.draw("")
            self.raw(self._safe(text))
        return len(text)

    def draw(self, line: str) -> None:
        """Put `line` in place of the terminal's current one, until the next is drawn or text is written.

        Nothing is drawn over text whose line has not ended: `print` writes its line end by itself.
        """
        with self._lock:
            if not self._drawn and not self._blank:
                return
            self.raw(WIPE + visible(line))
            self._drawn, self._blank = bool(line), True
            self.flush()

    def raw(self, text: str) -> None:
        """Write `text` as it is, as far as the encoding allows."""
        shown = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._blank = not shown.rpartition("\n")[2].strip() and (self._blank or "\n" in shown)
        self._try(lambda inner: inner.write(shown))

    def octets(self, data: bytes) -> None:
        """Write bytes past the encoding: XML, HTML and JSON are UTF-8 whatever the terminal's is."""

        def write(inner: TextIO) -> None:
            inner.flush()
            inner.buffer.write(data)
            inner.buffer.flush()

        self._try(write)

    def flush(self) -> None:
        """Flush the inner stream."""
        self._try(lambda inner: inner.flush())

    def _safe(self, text: str) -> str:
        # A progress bar of a library goes back to the start of its line; it does so first of all.
        back, text = ("\r", text[1:]) if text.startswith("\r") and self.isatty() else ("", text)
        shown = "\n".join(visible(line) for line in text.split("\n"))
        shown = shown if self.encoding.lower().replace("-", "").startswith("utf") else ascii_text(shown)
        return back + (inert(shown, self._blank) if self._ci else shown)

    def _try(self, act: Any) -> None:
        if self.inner is None or self.error is not None:
            return
        try:
            act(self.inner)
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            self.error = error


def print_report(text: str) -> None:
    """Write a report, which has escaped its own texts, to stdout."""
    if isinstance(sys.stdout, Outlet):
        sys.stdout.raw(text)
    else:
        sys.stdout.write(text)


def draw_line(line: str) -> None:
    """Put `line` in place of the current one of stderr's terminal; "" wipes it out."""
    err = sys.stderr
    (err if isinstance(err, Outlet) else Outlet(err)).draw(line)


def utf8(content: str) -> None:
    """Write a document that is UTF-8 whatever the terminal's encoding is."""
    out, data = sys.stdout, content.encode("utf-8", "backslashreplace")
    (out if isinstance(out, Outlet) else Outlet(out)).octets(data)


def unescaped_stream(stream: TextIO) -> TextIO:
    """The stream without its escaping, for what draws on a terminal and escapes its own texts."""
    return stream.inner or stream if isinstance(stream, Outlet) else stream


@contextmanager
def guarded() -> Iterator[list[int]]:
    """Stdout and stderr behind outlets while the block runs; the code in the list's first place is settled.

    A report that got lost otherwise than by its reader going away turns 0 into `Exit.CRASH`.
    """
    _occupy()
    before = sys.stdout, sys.stderr
    out, err = (Outlet(cast(TextIO | None, stream)) for stream in before)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    codes = [int(Exit.CRASH)]
    try:
        yield codes
    finally:
        out.flush()
        if out.error is not None and getattr(out.error, "errno", None) != errno.EPIPE:
            print(f"probe: stdout: {out.error}; the report was not written whole.", file=err)
            codes[0] = codes[0] or Exit.CRASH
        err.flush()
        sys.stdout, sys.stderr = before
        for outlet, real in ((out, sys.__stdout__), (err, sys.__stderr__)):
            if outlet.error is not None and outlet.inner is real:
                _silence(outlet)


def _occupy() -> None:
    """Put the null device where a standard descriptor is closed, so that no file of ours gets its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _silence(outlet: Outlet) -> None:
    """What is left in the buffer must not fail again when the interpreter flushes it: that exits with 120."""
    try:
        null = os.open(Path(os.devnull), os.O_WRONLY)
        os.dup2(null, outlet.fileno())
        os.close(null)
    except (OSError, ValueError):
        return
