"""Logs that are not text: TensorBoard's event files and W&B's offline files."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...records import JsonRow
from .names import canonical

HEADER, LOG_BLOCK = 7, 32768
NEEDS = "needs its library: pip install 'prefprobe[logs]'"


class LibraryMissing(ProbeError):
    """A log that can be read once a library is installed: the line says which command does that."""


def is_events(path: Path) -> bool:
    """Whether a file is one of TensorBoard's, by its name."""
    return "tfevents" in path.name and path.is_file()


def is_wandb(path: Path) -> bool:
    """Whether a file is a run that W&B kept offline."""
    return path.suffix == ".wandb" and path.is_file()


def of_events(paths: Iterable[Path]) -> list[JsonRow]:
    """The scalars of event files, those of one step together, training and held-out ones apart.

    Where a metric goes back to an earlier step, as that of a resumed run does in its own file, what follows
    stands behind all that was before: what it replaced is told there. A file of other metrics joins the one
    before.
    """
    rows: list[JsonRow] = []
    of_pass: dict[tuple[float, bool], dict[str, Any]] = {}
    last: dict[str, float] = {}
    for path in paths:
        for step, tag, value in _scalars(path):
            if step < last.get(tag, step):
                rows += [of_pass[place] for place in sorted(of_pass)]
                of_pass, last = {}, {}
            held_out = canonical(tag).name.startswith("eval_")
            of_pass.setdefault((step, held_out), {"step": step})[tag] = value
            last[tag] = step
    return rows + [of_pass[place] for place in sorted(of_pass)]


def _scalars(path: Path) -> Iterator[tuple[float, str, float]]:
    try:
        loader = import_module("tensorboard.backend.event_processing.event_file_loader")
        tensor_util = import_module("tensorboard.util.tensor_util")
    except ImportError as error:
        raise LibraryMissing(f"{path}: a TensorBoard event file {NEEDS}.") from error
    try:
        for event in loader.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if kind == "simple_value":
                    yield float(event.step), value.tag, float(value.simple_value)
                elif kind == "tensor" and value.metadata.plugin_data.plugin_name in ("scalars", ""):
                    array = tensor_util.make_ndarray(value.tensor)
                    if array.size == 1 and array.dtype.kind in "fiu":
                        yield float(event.step), value.tag, float(array.item())
    except (ValueError, TypeError, OSError) as error:
        raise ProbeError(f"{path}: not a readable event file ({error}).") from error


def of_wandb(path: Path) -> list[JsonRow]:
    """The history of a W&B run kept offline, a row for each call of `wandb.log`."""
    try:
        messages = import_module("wandb.proto.wandb_internal_pb2")
    except ImportError as error:
        raise LibraryMissing(f"{path}: a W&B offline file {NEEDS}.") from error
    rows: list[JsonRow] = []
    for data in _records(path.read_bytes()):
        record = messages.Record()
        try:
            record.ParseFromString(data)
        except ValueError as error:
            raise ProbeError(f"{path}: not a readable W&B file ({error}).") from error
        if record.WhichOneof("record_type") == "history":
            rows.append(_history(record.history))
    return rows


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file in the format of LevelDB's log, behind W&B's header of seven bytes.

    Blocks of 32 KiB hold fragments: checksum (4 bytes), length (2), kind (1: whole, 2 to 4: first, middle,
    last). A run that was killed ends within a record, which is left out.
    """
    at, parts = HEADER, b""
    while at + 7 <= len(data):
        if LOG_BLOCK - at % LOG_BLOCK < 7:  # the rest of a block is padding
            at += LOG_BLOCK - at % LOG_BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        fragment = data[at + 7 : at + 7 + length]
        if kind not in (1, 2, 3, 4) or len(fragment) < length:
            return
        parts = fragment if kind in (1, 2) else parts + fragment
        at += 7 + length
        if kind in (1, 4):
            yield parts


def _history(history: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in history.item:
        name = item.key or "/".join(item.nested_key)
        row[name] = _value(item.value_json)
    row.setdefault("_step", history.step.num)
    return row


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return re.sub(r"^\"|\"$", "", text)
