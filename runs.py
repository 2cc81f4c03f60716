"""Saving and loading a `Run`, and the facts about this machine and project that are saved with it."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from . import __version__
from .errors import ProbeError
from .escape import json_text
from .files import atomic, cannot_write, shortened, write_text
from .plain import plain_json
from .records import SCHEMA_VERSION, Run, run_from_json, run_to_json, to_json

SCHEMA = Path(__file__).with_name("run-1.json")
RUNS = Path(".probe/runs")  # a directory each
STARTED = "training.json"  # what a training writes first into its directory
LAST = Path(".probe/last.json")  # the last gate of this project
STEM_BYTES = 200  # of a pair file's name in that of a run's directory, which has a date and a command too
PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "scipy", "scikit-learn", "tokenizers")


def now() -> str:
    """This moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment() -> dict[str, Any]:
    """Versions, platform, git state and argv: what another person needs to repeat the run."""
    return {
        "probe": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: v for name in PACKAGES if (v := _version(name))},
        "git": _git(),
        "argv": ["probe", *sys.argv[1:]],
    }


def new_run_dir(command: str, stem: str, created: str, root: Path = RUNS) -> Path:
    """A directory of this run's own, such as `.probe/runs/20261121T105200Z-bias-cico_insulin`: made here, so
    that no other process gets it too. Raises `CannotMeasure` where it cannot be made.
    """
    base = root / f"{created.replace('-', '').replace(':', '')}-{command}-{shortened(stem, STEM_BYTES)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        names = (base.name if i == 1 else f"{base.name}-{i}" for i in count(1))
        return next(path for name in names if _made(path := root / name))
    except OSError as error:
        raise cannot_write(base, error, " with --out") from error


def _made(path: Path) -> bool:
    with suppress(FileExistsError):
        path.mkdir()
        return True
    return False


def save_run(run: Run, directory: Path) -> Path:
    """Write `run.json` into `directory`; returns its path."""
    path = directory / "run.json"
    write_text(path, json_text(json.dumps(run_to_json(run), ensure_ascii=False, indent=1)) + "\n")
    return path


def save_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write rows as JSON Lines, atomically and as a stream."""
    with atomic(path) as file:
        for row in rows:
            file.write(json.dumps(plain_json(row), ensure_ascii=False) + "\n")


def load_run(path: Path) -> Run:
    """Read a `run.json` (or the directory that holds one).

    Raises `ProbeError` when it is absent, no JSON, of a newer schema, or no run by the published one.
    """
    path = path / "run.json" if path.is_dir() else path
    data = _json(path)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ProbeError(f'{path}: no "schema_version". Give a run.json written by probe.')
    if version > SCHEMA_VERSION:
        raise ProbeError(
            f"{path}: schema {version} is newer than this probe knows ({SCHEMA_VERSION}). "
            "Upgrade with `pip install -U prefprobe`."
        )
    _check_schema(path, data)
    return run_from_json(data)


@contextmanager
def read_from(*paths: Path) -> Iterator[None]:
    """What is done with saved runs: content that no run has ends as `ProbeError`, not as a crash.

    The schema holds the sections' forms, not every value in them; here is what it lets through.
    """
    try:
        yield
    except (TypeError, KeyError, AttributeError, ValueError, IndexError, OverflowError) as error:
        where = ", ".join(map(str, paths))
        raise ProbeError(
            f"{where}: holds what probe does not write ({error!r:.120}). Measure again."
        ) from error


def _check_schema(path: Path, data: Any) -> None:
    """Raises `ProbeError` with the first place at which `data` is no run by the published schema."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(data))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the whole"
        fact = error.message if len(error.message) <= 120 else f"{error.message[:119]}…"
        raise ProbeError(f"{path}: no run of schema {SCHEMA_VERSION}: {place}: {fact}. Measure again.")


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    # What this version writes has every key; a run of an older one takes defaults for those it lacks.
    return Draft202012Validator({**schema, "required": ["schema_version", "command", "created"]})


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror}. Give the run.json of an earlier probe.") from error
    except RecursionError as error:
        raise ProbeError(f"{path}: nested too deeply. Give a run.json written by probe.") from error
    except ValueError as error:
        raise ProbeError(f"{path}: not JSON ({error}). Give a run.json written by probe.") from error


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the project the command runs in; None outside a repository."""
    try:
        commit = _output("git", "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_output("git", "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def note_last(run: Run, path: Path) -> None:
    """Remember a gate, and what it judged, for `probe train --method auto`."""
    note = {"run": str(path.resolve()), "pairs": run.inputs.get("pairs"), "model": run.inputs.get("model")}
    write_text(LAST, json.dumps(to_json(note), ensure_ascii=False, indent=1) + "\n")


def check_gated_model(run: Run, facts: Mapping[str, Any]) -> None:
    """Raises `ProbeError` where the loaded model's weights are not those that were gated."""
    gated = run.inputs.get("model") or {}
    for key in ("weights_sha256", "adapter_sha256", "own_code", "tokenizer_sha256"):
        if gated.get(key) != facts.get(key):
            raise stale(f"the model's {key.removesuffix('_sha256').replace('_', ' ')} changed")


def stale(fact: str) -> ProbeError:
    """The error of a gate that speaks of something else than what is to be trained."""
    return ProbeError(f"the last gate does not hold any more: {fact}. Run `probe gate PAIRS` again.")
