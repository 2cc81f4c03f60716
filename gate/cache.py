"""What a probe measured, kept between runs: a second gate of the same file and model answers from here.

An entry is a `run.json` of one probe's part, under a name that hashes everything it depends on. The code that
measures is part of the name, as no version number of a probe would be raised as reliably as its text changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..files import cache_dir, sources, sources_digest
from ..records import Measured, Run, to_json
from ..runs import environment, load_run, now, save_run

PACKAGE = Path(__file__).parents[1]
ROOMS = ("pairs", "probes", "scoring", "stats", "training")  # whose code measures, all of it


def entry_name(probe: str, depends: Mapping[str, Any]) -> str:
    """The name of a probe's entry for all that it `depends` on, this code and the packages under it."""
    whole = {**to_json(depends), "probe": probe, "code": code_digest(), "packages": environment()["packages"]}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def read(name: str) -> tuple[Measured, str] | None:
    """A kept part and the time it was measured; None where there is none that can be read."""
    path = _directory(name)
    if not (path / "run.json").exists():
        return None
    try:
        run = load_run(path)
    except ProbeError:
        return None
    return Measured(run.estimates, run.findings, run.details), run.created


def write(name: str, part: Measured) -> None:
    """Keep a part. A place that cannot be written costs the next run its time, not this one its result."""
    run = Run("gate", now(), estimates=part.estimates, findings=part.findings, details=part.details)
    try:
        save_run(run, _directory(name))
    except ProbeError as error:
        print(f"probe: not kept for the next run: {error}", file=sys.stderr)


@cache
def code_digest() -> str:
    """The digest of the source files that measure."""
    return sources_digest(PACKAGE, measuring())


def measuring() -> Iterator[Path]:
    """The source files that measure, with the limits and the words that all rooms share."""
    yield from sorted(PACKAGE.glob("*.py"))
    yield PACKAGE / "gate" / "measure.py"
    for room in ROOMS:
        yield from sources(PACKAGE / room)


def _directory(name: str) -> Path:
    return cache_dir() / "gate" / name
