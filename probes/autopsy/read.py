"""Finding the training log in whatever a path leads to: a file of any form, or a directory of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from .binary import LibraryMissing, is_events, is_wandb, of_events, of_wandb
from .examples import texts_of_examples
from .forms import columns, read_text, unread_part
from .hints import Hints, hints_beside, hints_in
from .log import Log, make_log
from .names import JUDGED_COLUMN, LOOKED_FOR

LOG_REMEDY = "Give a trainer_state.json, a JSONL or CSV of metrics, a run.json or a checkpoint directory."
IN_A_DIRECTORY = (
    "trainer_state.json",
    "run.json",
    "trainer_log.jsonl",
    "training_history.json",
    "log_history.json",
    "logging.jsonl",
    "metrics.csv",
)
# What else a run leaves behind, the most telling first; looked for three levels down.
PATTERNS = (
    "trainer_state.json",
    "*tfevents*",
    "*.wandb",
    "*.jsonl",
    "*.csv",
    "*.ipynb",
    "*.json",
    "*.log",
    "*.out",
    "*.txt",
    "*.md",
)
SEARCH_DEPTH = 3
MOST_FILES = 200
COLUMNS_SHOWN = 12
BEGINNING = 20_000  # characters: a few rows of most files of pairs
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read_log(path: Path) -> Log:
    """The training log in `path`: a file, a checkpoint directory or the directory of a run.

    Reads every form of `forms.FORMS`, TensorBoard event files and W&B's offline files. Raises `ProbeError`
    where there is no such file, or nothing in it is a curve that a verdict could be built on: then the
    message names the columns that there are. So it does for a data set, whatever its columns are called.
    """
    if path.is_dir():
        return _of_directory(path)
    log = _of_file(path)
    if not _judged(log):
        raise ProbeError(_unread(path, log))
    if _is_summary(log):
        raise _summary(path, log)
    return log


def _summary(path: Path, log: Log) -> ProbeError:
    return ProbeError(f"{path}: one entry, a summary and no curve: {_columns_of(log)}. {LOG_REMEDY}")


def _of_file(path: Path) -> Log:
    if is_events(path):
        return make_log(str(path), of_events([path]), "TensorBoard event file", hints_beside(path, Hints()))
    if is_wandb(path):
        return make_log(str(path), of_wandb(path), "W&B offline run", hints_beside(path, Hints()))
    text = _text(path)
    reading = read_text(text, path.name)
    if texts := texts_of_examples(reading.entries):
        raise ProbeError(_data_set(path, texts))
    log = make_log(str(path), reading.entries, reading.form, hints_beside(path, hints_in(text)))
    return replace(log, unread=unread_part(text, path.suffix, reading) or log.unread)


def _data_set(path: Path, texts: list[str]) -> str:
    pairs = {"chosen", "rejected"} <= {name.lower() for name in texts}
    remedy = f"`probe data {path}` measures such pairs." if pairs else LOG_REMEDY
    return (
        f"{path}: a data set and no training log: its rows hold texts ({', '.join(texts)}) and no step, "
        f"epoch, loss or learning rate. {remedy}"
    )


def _judged(log: Log) -> bool:
    """Whether a log has a curve that a verdict can be built on: of a loss, a reward or log-probabilities."""
    rows = [row for part in (log.train, *log.evals.values()) for row in part]
    return any(JUDGED_COLUMN.match(name) for row in rows for name in row)


def _is_summary(log: Log) -> bool:
    """Whether all there is of a run is one entry of finite numbers: nothing can be told from it."""
    parts = (log.train, *log.evals.values())
    numbers = [v for rows in parts for row in rows for v in row.values()]
    return not log.earlier and all(len(rows) < 2 for rows in parts) and all(map(math.isfinite, numbers))


def _columns_of(log: Log) -> str:
    names = dict.fromkeys(k for rows in (log.train, *log.evals.values()) for row in rows for k in row)
    return ", ".join(k for k in names if k != "step")


def _unread(path: Path, log: Log) -> str:
    names = [str(k) for k in _columns(path)]
    if not names:
        remedy = f"`probe data {path}` measures pairs." if _of_pairs(path) else LOG_REMEDY
        return f"{path}: no training metrics (loss, eval_loss, rewards, …) in it. {remedy}"
    shown = ", ".join(names[:COLUMNS_SHOWN]) + (
        f" and {len(names) - COLUMNS_SHOWN} more" if len(names) > COLUMNS_SHOWN else ""
    )
    return (
        f"{path}: no training metrics, none with a loss or a reward that is a number. Columns: {shown}. "
        f"Looked for: {LOOKED_FOR}. Rename a column to one of these."
    )


def _of_pairs(path: Path) -> bool:
    """Whether a text without metrics begins as a file of pairs: it names both sides, and not as metrics."""
    beginning = "" if is_events(path) or is_wandb(path) else _text(path)[:BEGINNING]
    return all(re.search(rf"(?<![/\w]){side}\b", beginning) for side in ("chosen", "rejected"))


def _columns(path: Path) -> Sequence[str]:
    if is_events(path) or is_wandb(path):
        entries: list[Mapping[str, Any]] = of_events([path]) if is_events(path) else of_wandb(path)
        return list(dict.fromkeys(str(k) for entry in entries for k in entry))
    return [" ".join(name.split())[:40] for name in columns(_text(path))]


def _of_directory(path: Path) -> Log:
    """The log of a run's directory: the best known name first, then whatever in it can be read."""
    named = [path / name for name in IN_A_DIRECTORY if (path / name).is_file()]
    named += sorted(path.glob("checkpoint-*/trainer_state.json"), key=_checkpoint_step, reverse=True)
    told: list[ProbeError] = []  # what is a log and no curve can be had from, yet
    for file in (*named, *_others(path)):
        try:
            log = _of_events(file) if is_events(file) else _of_file(file)
        except LibraryMissing as error:
            told.insert(0, error)
            continue
        except ProbeError:
            continue
        if _judged(log) and not _is_summary(log):
            return _noted(log, path, file)
        told += [_summary(file, log)] if _judged(log) else []
    if told:
        raise told[0]
    raise ProbeError(f"{path}: no trainer_state.json, event file or other training log in it. {LOG_REMEDY}")


def _of_events(file: Path) -> Log:
    """All event files of a directory: a resumed run starts a new one."""
    files = sorted(f for f in file.parent.iterdir() if is_events(f))
    hints = hints_beside(file, Hints())
    form = "TensorBoard event file" if len(files) == 1 else f"{len(files)} TensorBoard event files"
    return make_log(str(file.parent), of_events(files), form, hints)


def _others(path: Path) -> list[Path]:
    depth = len(path.parts)
    found: list[Path] = []
    for pattern in PATTERNS:
        files = sorted(path.rglob(pattern), key=lambda f: (len(f.parts), -_checkpoint_step(f), f.name))
        found += [f for f in files if f.is_file() and len(f.parts) - depth <= SEARCH_DEPTH and f not in found]
    return found[:MOST_FILES]


def _noted(log: Log, path: Path, file: Path) -> Log:
    inner = file.relative_to(path)
    notes = (f"read {inner} of the directory",) if inner.name != str(inner) else ()
    return replace(log, notes=(*notes, *log.notes))


def _checkpoint_step(path: Path) -> int:
    number = re.search(r"-(\d+)$", path.parent.name)
    return int(number.group(1)) if number else -1


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror or error}. {LOG_REMEDY}") from error
    except ValueError as error:  # a NUL in the name
        raise ProbeError(f"{path}: not a file name. {LOG_REMEDY}") from error
    try:
        return COLOUR.sub("", decoded(data))
    except ValueError as error:
        raise ProbeError(f"{path}: neither UTF-8 nor UTF-16 text. {LOG_REMEDY}") from error


def decoded(data: bytes) -> str:
    """Text of UTF-8 or, as PowerShell writes it, UTF-16 with or without a mark. Raises `ValueError`."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    if data[:3] == b"\xef\xbb\xbf":
        return data.decode("utf-8-sig")
    head = data[:2000]
    if head.count(0) > len(head) // 4:
        return data.decode("utf-16-le" if head[1::2].count(0) >= head[0::2].count(0) else "utf-16-be")
    return data.decode("utf-8")
