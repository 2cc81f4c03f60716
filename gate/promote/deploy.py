"""Putting a model in place in one step, so that whoever reads the place meets the old one or the new one.

    serve -> serve.versions/0002-6f1d0c2a      the place is a symbolic link
             serve.versions/0001-93ab55e0      what it pointed to before

A version is copied under another name and renamed when it is whole, with a note of what came before it. Then
one `rename` swaps the link: before it the old model is in place, after it the new one, and nothing has to be
put right after a kill but copies that were not finished, which the next promotion removes.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CannotMeasure, ProbeError
from ...files import sha256_file, write_text
from ...records import to_json
from ...runs import now

NOTE = "promotion.json"  # in each version: what it is, when it came, what was there before
LOCK = ".lock"  # in the directory of the versions
PARTIAL = ".partial-"  # copies that are not whole yet, and links not yet in place
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True)
class Placed:
    """The names of the version that is in place and of the one before it; None: there was none."""

    now: str
    before: str | None


def promote(
    source: Path,
    place: Path,
    note: Mapping[str, Any] | None = None,
    check: Callable[[Path], None] = lambda _: None,
) -> Placed:
    """Copy the model in `source` and put it in place; the previous one is kept for `rollback`.

    Promoting what is in place already changes nothing. A plain directory at `place` is kept as the first
    version. `check` looks at the copy before it is put in place, and raises for one that may not be: what
    is copied is what was checked. Raises `ProbeError` for a source without weights, `CannotMeasure` when the
    disk refuses.
    """
    if not any(source.glob("*.safetensors")):
        raise ProbeError(f"{source}: no safetensors weights. Name the directory of a saved model or adapter.")
    with _alone(place) as versions:
        _clean(place, versions)
        known = _versions(versions)
        before = _current(place, versions) or _adopted(place, versions)
        name = _name(versions, source)
        if before and before.partition("-")[2] == name.partition("-")[2]:
            check(versions / before)
            return Placed(before, _previous(versions, before))
        told = {**(note or {}), "previous": before, "source": str(source)}
        try:
            _copied(source, versions / name, told, check)
        except BaseException:
            _forget(versions, known)
            raise
        _swap(versions / name, place)
        return Placed(name, before)


def restore_previous(place: Path) -> Placed:
    """Put the version before the present one back in place. Raises `ProbeError` where there is none."""
    if not place.is_symlink():
        raise ProbeError(f"{place}: not a place that `probe compare --promote-to` has made. Check the path.")
    with _alone(place) as versions:
        _clean(place, versions)
        name = _current(place, versions)
        before = _previous(versions, name) if name else None
        if before is None:
            raise ProbeError(
                f"{place}: {name or 'what is there'} has no version before it. Nothing was changed."
            )
        placed = Placed(before, _previous(versions, before))  # its note is read before anything is changed
        _swap(versions / before, place)
        return placed


@contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """The directory of the versions, held by this process alone; what the disk refuses is told in a line."""
    versions = place.with_name(f"{place.name}.versions")
    made = [path for path in (versions, *versions.parents) if not path.exists()]
    try:
        with _locked(versions):
            try:
                yield versions
            except BaseException:
                _unmake(versions, made)
                raise
    except OSError as error:
        raise CannotMeasure(f"{place}: {error.strerror or error}. What was in place is unchanged.") from error


def _forget(versions: Path, known: Sequence[Path]) -> None:
    """Remove the versions that are not among those known, and copies that are not whole."""
    for path in (*versions.glob(f"{PARTIAL}*"), *(p for p in _versions(versions) if p not in known)):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(versions: Path) -> Iterator[None]:
    """Hold the directory's lock; one that its last holder has removed meanwhile is made anew."""
    path = versions / LOCK
    while True:
        versions.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                yield
                return


def _unmake(versions: Path, made: Sequence[Path]) -> None:
    """Remove the directories that were made for versions of which there is none: a refusal leaves nothing."""
    with suppress(OSError):  # one that is not empty stays, with those above it
        if versions in made and [path.name for path in versions.iterdir()] == [LOCK]:
            (versions / LOCK).unlink()
        for path in made:
            path.rmdir()


def _clean(place: Path, versions: Path) -> None:
    """Remove what a killed process left: copies not whole, links not in place, a directory swapped out."""
    for left in (*versions.glob(f"{PARTIAL}*"), *place.parent.glob(f"{PARTIAL}{place.name}")):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _current(place: Path, versions: Path) -> str | None:
    """The version that the place points to; None where nothing is, or a plain directory.

    Raises `ProbeError` for a link or a file that is not of our making.
    """
    if place.is_symlink():
        target = place.readlink()
        if target.parent.name == versions.name and (versions / target.name / NOTE).is_file():
            return target.name
    elif not place.exists() or place.is_dir():
        return None
    raise ProbeError(f"{place}: is something that probe did not make. Move it away, or name another place.")


def _adopted(place: Path, versions: Path) -> str | None:
    """Keep a copy of the plain directory that is in place, as the first version; None where there is none."""
    if not place.is_dir():
        return None
    if not any(place.iterdir()):
        raise ProbeError(f"{place}: an empty directory. Remove it, so that a model can be put in its place.")
    name = _name(versions, place)
    digest = name.partition("-")[2]
    known = next((p.name for p in _versions(versions) if p.name.partition("-")[2] == digest), None)
    if known is None:
        _copied(place, versions / name, {"previous": None, "source": str(place)})
    return known or name


def _versions(versions: Path) -> list[Path]:
    return sorted(path for path in versions.iterdir() if path.name[:4].isdigit())


def _name(versions: Path, source: Path) -> str:
    """The next number, and a digest of the files' names and bytes by which equal models are known."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.name != NOTE)
    lines = [f"{path.relative_to(source).as_posix()} {sha256_file(path)}" for path in files]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    last = max((int(path.name.partition("-")[0]) for path in _versions(versions)), default=0)
    return f"{last + 1:04d}-{digest}"


def _copied(
    source: Path, version: Path, note: Mapping[str, Any], check: Callable[[Path], None] = lambda _: None
) -> None:
    """A copy of `source` that appears under the version's name only when it is whole and on the disk."""
    partial = version.with_name(f"{PARTIAL}{version.name}")
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(NOTE))
    check(partial)
    write_text(partial / NOTE, json.dumps(to_json({"promoted": now(), **note}), indent=1) + "\n")
    for path in (*partial.rglob("*"), partial):
        _flush(path)
    partial.rename(version)
    _flush(version.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _previous(versions: Path, name: str) -> str | None:
    """The version that a version's note says was in place before it, if it is still there."""
    try:
        previous = json.loads((versions / name / NOTE).read_text(encoding="utf-8")).get("previous")
        known = previous is None or isinstance(previous, str)
    except (OSError, ValueError, AttributeError) as error:
        raise ProbeError(
            f"{versions / name / NOTE}: not readable ({error}). Nothing was changed; promote a model anew."
        ) from error
    if not known or previous != (previous and Path(previous).name):
        raise ProbeError(f"{versions / name / NOTE}: names no version. Nothing was changed; promote anew.")
    return previous if previous and (versions / previous).is_dir() else None


def _swap(version: Path, place: Path) -> None:
    """The one step: the link is made under another name and renamed onto the place."""
    link = place.with_name(f"{PARTIAL}{place.name}")
    link.symlink_to(Path(version.parent.name) / version.name)
    if place.is_dir() and not place.is_symlink():
        _exchange(link, place)
        shutil.rmtree(link)  # the plain directory; a copy is among the versions
    else:
        link.replace(place)
    _flush(place.parent)


def _exchange(link: Path, place: Path) -> None:
    """Swap the names of a link and a directory, which `rename` alone cannot. Linux only (renameat2)."""
    renameat2 = (
        getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    )
    if renameat2 is None or renameat2(
        AT_FDCWD, os.fsencode(link), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE
    ):
        link.unlink()
        raise ProbeError(
            f"{place}: a plain directory, which this system cannot swap for a link in one step. "
            "Move it away and promote again; a copy is among the versions."
        )
