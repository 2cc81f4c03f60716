"""Files that are either wholly written or not at all, and the hashes that name them."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import IO

from .errors import CannotMeasure, ProbeError

NAME_BYTES = 255  # of a file's name, on nearly all systems
SHOWN = 80  # bytes of a name, where a part of it says enough

_inputs: ContextVar[tuple[Path, ...]] = ContextVar("probe_inputs", default=())


def protect(inputs: Iterable[Path]) -> None:
    """From now on no writer replaces any of `inputs`, files or what stands in directories.

    Raises `ProbeError` for a pipe or a device among them: inputs are read more than once.
    """
    _inputs.set(tuple(path for path in inputs if path.exists()))
    for path in _inputs.get():
        if not (path.is_file() or path.is_dir()):
            raise ProbeError(
                f"{path}: a pipe or device, and inputs are read twice. Write it to a file first."
            )


def protect_also(*inputs: Path) -> None:
    """From now on no writer replaces these inputs either, which are known by a saved run, not by name."""
    _inputs.set((*_inputs.get(), *(path for path in inputs if path.exists())))


def writable(path: Path) -> Path:
    """The file that a writer may replace: `path`, or where its symbolic link leads.

    Raises `ProbeError` for a link that leads nowhere, for what is no regular file, and for an input.
    """
    check_length_of_name(path)
    if path.is_symlink() and not path.exists():
        raise ProbeError(f"{path}: a symbolic link that leads nowhere. Remove it, or write elsewhere.")
    real = path.resolve() if path.is_symlink() else path
    if not real.exists():
        return real
    if not real.is_file():
        kind = "a directory" if real.is_dir() else "a pipe or device"
        raise ProbeError(f"{path}: {kind}, not a file that can be replaced. Choose another name.")
    for given in _inputs.get():
        inside = given.is_dir() and real.resolve().is_relative_to(given.resolve())
        if inside or (given.exists() and real.samefile(given)):
            raise ProbeError(f"{path}: an input of this command, which is kept. Choose another name.")
    return real


def check_length_of_name(path: Path) -> None:
    """Raises `ProbeError` for a path with a name that no file can have."""
    for name in path.parts:
        if (n := len(os.fsencode(name))) > NAME_BYTES:
            raise ProbeError(
                f"{shortened(name, SHOWN)}…: a name of {n} bytes, and a file's has at most {NAME_BYTES}. "
                "Choose a shorter one."
            )


def shortened(name: str, room: int) -> str:
    """The beginning of a name that fits into `room` bytes, cut between characters."""
    return os.fsencode(name)[:room].decode("utf-8", "ignore")


def check_target(path: Path) -> None:
    """Raises `ProbeError` where `path` could not be written as a file; nothing is written."""
    check_directory(writable(path).parent)


def check_directory(path: Path) -> None:
    """Raises `ProbeError` where no file could be written into `path`, which need not exist yet."""
    check_length_of_name(path)
    there = next(
        (place for place in (path, *path.absolute().parents) if place.is_symlink() or place.exists()), path
    )
    if not there.is_dir():  # a link that leads nowhere is none either
        raise ProbeError(f"{there}: not a directory. Choose another place.")
    try:  # the one answer that holds for root, read-only mounts and odd file systems
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ProbeError(f"{there}: cannot be written ({error.strerror}). Choose another place.") from error


def cannot_write(path: Path, error: OSError, how: str = "") -> CannotMeasure:
    """The error of a file that was not written, with what mends it; `how` another place is named."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "Free some space or choose" if full else "Choose"
    return CannotMeasure(f"{path}: {error.strerror}. {remedy} another place{how}.")


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO[str]]:
    """A text file that appears under `path` only when the block ends without an error.

    Raises `CannotMeasure` when the disk is full or the place cannot be written, and as `writable` does; what
    stood there stays.
    """
    path = writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{shortened(path.name, SHOWN)}.")
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        with os.fdopen(handle, mode, encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic(path) as file:
        file.write(text)


def sources(root: Path) -> Iterator[Path]:
    """The modules of the package at `root`, sorted, those of its sub-packages after its own."""
    yield from sorted(root.glob("*.py"))
    for path in sorted(root.iterdir()):
        if (path / "__init__.py").is_file():
            yield from sources(path)


def sources_digest(root: Path, modules: Iterable[Path]) -> str:
    """The hexadecimal SHA-256 of modules below `root`, by name and text, in the order given."""
    digest = hashlib.sha256()
    for path in modules:
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """The user's cache for probe: `$PROBE_CACHE`, else `$XDG_CACHE_HOME/probe`, else `~/.cache/probe`.

    A folder of this process, where the user has no home directory; told once.
    """
    if own := os.environ.get("PROBE_CACHE"):
        return in_home(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return in_home(shared) / "probe"
    try:
        return Path.home() / ".cache" / "probe"
    except RuntimeError:
        return Path(_homeless().name)


@cache
def _homeless() -> tempfile.TemporaryDirectory[str]:
    print(
        "probe: no home directory, so nothing is kept in a cache after this. PROBE_CACHE names a place.",
        file=sys.stderr,
    )
    return tempfile.TemporaryDirectory(prefix="probe-")


def in_home(name: str | Path) -> Path:
    """The path that a name means: `~` is the user's home, where there is one; else the name as it stands."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
