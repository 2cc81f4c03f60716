"""Which training a directory holds: what a resumed one must have in common with it, and where it is."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..files import check_directory, shortened, write_text
from ..runs import RUNS, STARTED, STEM_BYTES, new_run_dir
from ..scoring.processes import rank
from .held_out import HELD_OUT_FILE
from .methods import METHODS, UNPAIRED
from .plan import Options
from .recipes import Recipe

PAIRS = "pairs"
TRAINING_FILES = ("run.json", "report.html", "scores.jsonl", HELD_OUT_FILE, "adapter", "model")
# What may differ: none of them changes a weight, or which of the states is kept.
FREE = ("resume", "trackers", "log_every")


def claim(
    directory: Path, pairs: Path, recipes: Sequence[Recipe], options: Options, fingerprint: Mapping[str, Any]
) -> dict[str, Any]:
    """Note which training a directory is given to; with `options.resume` check that it was given to this one.

    Returns what says which it is: all stages in turn, how they are run, and what on. Checkpoints bear it too.
    Raises `ProbeError` where the directory holds another one that was to be resumed.
    """
    loop = {key: value for key, value in asdict(options).items() if key not in FREE}
    told = {"stages": [recipe.facts() for recipe in recipes], **loop, **fingerprint}
    identity = json.loads(json.dumps(told, default=str))
    place = directory / STARTED
    if options.resume and directory.exists() and any(directory.iterdir()):
        _check(directory, identity)
    elif rank() == 0:
        if options.resume:
            print(f"{directory}: nothing to go on from; the training begins.", file=sys.stderr)
        directory.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps({PAIRS: str(pairs), **identity}, indent=1) + "\n")
    return {"training": identity}


def _results(directory: Path) -> Iterator[Path]:
    """What a training writes beside `STARTED`, and what would pass for the next one's."""
    for name in TRAINING_FILES:
        if (directory / name).exists():
            yield directory / name
    for place in directory.iterdir():
        number, _, method = place.name.partition("-")
        if place.is_dir() and number.isdigit() and method in {*METHODS, *UNPAIRED}:
            yield place


def _check(directory: Path, identity: Mapping[str, Any]) -> None:
    place = directory / STARTED
    if not place.exists():
        raise ProbeError(f"{directory}: holds no training that could go on. Leave --resume out.")
    made = json.loads(place.read_text(encoding="utf-8"))
    names = {**made, **identity}.keys() - {PAIRS}
    if differing := sorted(name for name in names if made.get(name) != identity.get(name)):
        raise ProbeError(
            f"{directory}: made with other options or another file ({', '.join(differing)}). Resume with "
            "those of its run, or leave --resume out."
        )


def run_directory(path: Path, created: str, resume: bool, asked: Path | None = None) -> Path:
    """The place `asked` for; else a new one, or with `resume` that of the last training on such a file.

    Raises `ProbeError` where there is none, where nothing can be written, or where the place asked for holds
    a training that is not resumed.
    """
    if asked is not None:
        held = next(_results(asked), None) if (asked / STARTED).exists() and not resume else None
        if held is not None:
            raise ProbeError(
                f"{asked}: holds a training ({held.name}), and nothing is overwritten. Go on with it by "
                "--resume, or choose another --out."
            )
        return asked
    if not resume:
        check_directory(RUNS)
        # One for all processes, which take that of the first.
        return new_run_dir("train", path.stem, created, RUNS) if rank() == 0 else RUNS
    name = re.compile(rf"\d+T\d+Z-train-{re.escape(shortened(path.stem, STEM_BYTES))}(-\d+)?")
    earlier = sorted(
        place
        for place in RUNS.glob("*")
        # One that is empty was given to a training that never began.
        if name.fullmatch(place.name) and any(place.iterdir()) and _pairs_of(place) in ("", str(path))
    )
    if not earlier:
        raise ProbeError(
            f"{path}: no earlier training on it in .probe/runs. Leave --resume out, or give --out."
        )
    return earlier[-1]


def _pairs_of(place: Path) -> str:
    """The pair file that the training in a directory was started on; "" where it does not say."""
    file = place / STARTED
    if not file.exists():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8")).get(PAIRS, ""))
