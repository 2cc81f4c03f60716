"""Files and models that a config file names: as seen from where the file lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..kinds import Kinds

# Options of text that name a place on this machine or on a hub.
NAMING = ("model", "adapter", "tokenizer", "revision")


def names_a_place(name: str, kinds: Kinds) -> bool:
    """Whether an option of this name and of these kinds takes a file, a directory or a model."""
    return Path in kinds or name in NAMING


def from_file(value: Any, folder: Path) -> Any:
    """A value of a config file in `folder` as a path from here, where it is one: `../model`.

    It is one where it stands beside the file, or begins with a dot; other names may be those of a hub.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [from_file(item, folder) for item in value]
    if not isinstance(value, str) or not value or Path(value).is_absolute() or folder == Path.cwd():
        return value
    told = value.startswith(("./", "../")) or value in (".", "..")
    return os.path.relpath(folder / value) if told or os.path.lexists(folder / value) else value


def check_given(place: str, key: str, value: Any) -> None:
    """Raises `ProbeError` for an empty name: that of a shell variable which is not set, say."""
    if value == "":
        raise ProbeError(f"{place}{key} is empty. Name one, or leave it out.")
