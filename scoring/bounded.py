"""Limits for a chat template, which is a program that came with a model: time, memory, what a row may set.

A template is first rendered in a child process that is ended when it takes too long or too much; what passes
there is rendered here, under a watch that raises in its thread. So neither a loop over a billion numbers nor
a product that allocates them all holds up a run. What the watch cannot end is a single operation of Python
that only a later row sets off (a power of huge numbers): it raises between operations.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError

SECONDS = 10.0  # for one dialogue; a template takes well under a millisecond
TEMPLATE_MEMORY = 2 << 30  # bytes that a template may allocate
CHARACTERS = 1 << 26  # of one rendered dialogue
TEMPLATE_REMEDY = "Correct the template, or use --template raw."
# Thread: when its template ends, and the memory when it was first looked at (0 until then).
_deadlines: dict[int, tuple[float, int]] = {}
_lock = threading.Lock()
_passed: set[str] = set()  # templates that a child has rendered


class TemplateStopped(BaseException):
    """Raised in the thread of a template that is over its limits; no `except Exception` holds it."""


def row_options(tokenizer: PreTrainedTokenizerBase, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a row hands to the template. Raises `ProbeError` for what is an argument of the renderer."""
    if not given:
        return {}  # most rows: the signature takes longer than a template
    own = set(inspect.signature(tokenizer.apply_chat_template).parameters) - {"tools", "documents", "kwargs"}
    if taken := sorted(own.intersection(given)):
        raise ProbeError(
            f"chat_template_kwargs: {', '.join(taken)} cannot be set by a row. Leave it out; the template is "
            "the model's, or that of --template."
        )
    return dict(given)


def rendered(template: str, render: Callable[[], object]) -> str:
    """What `render` makes with this template, within the limits. Raises `ProbeError` beyond them."""
    if template not in _passed:
        render_in_child(render)
        _passed.add(template)
    with watched():
        text = str(render())
    if len(text) > CHARACTERS:
        raise ProbeError(
            f"the chat template makes {len(text):,} characters from one dialogue. {TEMPLATE_REMEDY}"
        )
    return text


@contextmanager
def watched(seconds: float = SECONDS) -> Iterator[None]:
    """Ends the block with a `ProbeError` once it takes longer or allocates more than a template may."""
    thread = threading.get_ident()
    _watch()
    with _lock:
        _deadlines[thread] = (time.monotonic() + seconds, 0)
    try:
        yield
    except TemplateStopped:
        pass
    finally:
        with _lock:
            stopped = _deadlines.pop(thread, None) is None
            if stopped:  # one that was raised but has not arrived must not arrive elsewhere
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
    if stopped:
        raise _without_end(seconds)


def render_in_child(render: Callable[[], object], seconds: float = SECONDS) -> None:
    """Run `render` in a child first. Raises `ProbeError` where it does not end, or the system ends it.

    Where processes cannot be forked safely nothing is tried, and the watch alone stands.
    """
    if sys.platform != "linux":
        return
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads exist; the child runs Python alone
        child = os.fork()
    if child == 0:
        _render_and_exit(render, writer)
    os.close(writer)
    done, _, _ = select.select([reader], [], [], seconds)
    said = os.read(reader, 1) if done else b""
    os.close(reader)
    if not said:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not said:
        raise _without_end(seconds)


def _without_end(seconds: float) -> ProbeError:
    return ProbeError(
        f"the chat template does not end within {seconds:.0f} s or {TEMPLATE_MEMORY >> 30} GiB of memory. "
        f"{TEMPLATE_REMEDY}"
    )


def _render_and_exit(render: Callable[[], object], writer: int) -> None:
    """In the child: says so on the pipe when `render` ends in any way but by its limits."""
    import resource

    said = b"."
    try:
        room = _virtual() + TEMPLATE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        render()
    except MemoryError:
        said = b""
    except BaseException:  # told by the parent, which renders the same once more
        pass
    finally:
        if said:
            os.write(writer, said)
        os._exit(0)


def _watch() -> None:
    """Start the thread that looks after the templates, once a process."""
    global _watcher
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_look, daemon=True, name="probe-templates")
        _watcher.start()


_watcher: threading.Thread | None = None


def _look() -> None:
    while True:
        time.sleep(0.05)
        with _lock:
            now, used = time.monotonic(), _resident() if _deadlines else 0
            for thread, (end, before) in list(_deadlines.items()):
                if now <= end and not before:
                    _deadlines[thread] = (end, used)  # most end before any look, and cost none
                elif now > end or used - before > TEMPLATE_MEMORY:
                    del _deadlines[thread]
                    raised = ctypes.py_object(TemplateStopped)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def _resident() -> int:
    return _statm(1)


def _virtual() -> int:
    return _statm(0)


def _statm(field: int) -> int:
    """Bytes of address space (0) or of memory in use (1) of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  (asked 20 times a second)
            return int(file.read().split()[field]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
