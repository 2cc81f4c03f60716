"""Files that are either wholly written or not at all, and the hashes that name them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import CannotMeasure


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO[str]]:
    """A text file that appears under `path` only when the block ends without an error.

    Raises `CannotMeasure` when the disk is full or the place cannot be written; what stood there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise CannotMeasure(
            f"{path}: {error.strerror}. Free some space or choose another place with --out."
        ) from error
    try:
        with os.fdopen(handle, mode, encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise CannotMeasure(
            f"{path}: {error.strerror}. Free some space or choose another place with --out."
        ) from error
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


def sha256_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """The user's cache for probe: `$PROBE_CACHE`, else `$XDG_CACHE_HOME/probe`, else `~/.cache/probe`."""
    if own := os.environ.get("PROBE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probe"
