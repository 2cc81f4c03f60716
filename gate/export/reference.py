"""The model of a run as another tool can load it: a hub name with its revision, or an absolute path."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...files import in_home

MODEL_FOLDER = "model"  # the folder of an export that holds the embedded model
EMBEDDED_MARK = "(embedded)"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that other tools load: `revision` of a hub model, the `adapter` that lies on top of it."""

    name: str
    revision: str | None = None
    adapter: str | None = None


def model_reference(model: Mapping[str, Any], directory: Path, copy: bool) -> Reference:
    """How the model of a run is named in a config below `directory`.

    The embedded model, and a GGUF file, are named by their converted directory on this machine; `copy` puts
    it into `directory`. Raises `ProbeError` for a local path that is gone.
    """
    name, adapter = str(model.get("name")), model.get("adapter")
    kept = _path(str(adapter)) if adapter else None
    if name.endswith((EMBEDDED_MARK, ".gguf")):
        return Reference(_converted(name, directory, copy), None, kept)
    if _local(name):
        return Reference(_path(name), None, kept)
    revision = model.get("revision")
    return Reference(name, str(revision) if revision else None, kept)


def _local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or Path(name).is_dir()


def _path(name: str) -> str:
    """An absolute path of a local directory; a hub name as it is."""
    if not _local(name):
        return name
    place = in_home(name).resolve()
    if not place.is_dir():
        raise ProbeError(f"{name}: not there. The run was measured on it; put it back, or gate again.")
    return str(place)


def _is_copy(target: Path, source: Path) -> bool:
    """Whether a directory is a copy of a model that an earlier export made."""
    config = target / "config.json"
    return config.is_file() and config.read_bytes() == (source / config.name).read_bytes()


def _converted(name: str, directory: Path, copy: bool) -> str:
    from ...scoring.embedded import converted, embedded_gguf

    source = converted(embedded_gguf() if name.endswith(EMBEDDED_MARK) else in_home(name))
    if not copy:
        print(
            f"{name}: no hub has it, so the config names its converted copy {source}. "
            "--with-model copies it into the export.",
            file=sys.stderr,
        )
        return str(source)
    target = directory / MODEL_FOLDER
    if target.exists() and not _is_copy(target, source):
        raise ProbeError(
            f"{target}: holds something else than this model, and is kept. Choose another --out."
        )
    shutil.copytree(source, target, dirs_exist_ok=True)
    return str(target.resolve())
