"""Whether the last gate of a project still holds, and the settings that training takes over from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from .. import config
from ..errors import ProbeError
from ..pairs.formats import is_still
from ..records import Run
from ..runs import LAST, stale
from ..training.saved import saved_run
from .registry import PROBE_NAMES

# Settings that `gate` and `train` share and that change what was measured.
SHARED_SETTINGS = (
    "model",
    "revision",
    "adapter",
    "dtype",
    "quantize",
    "template",
    "max_length",
    "fields",
    "skip_bad",
    "full",
)
TAKEN = (*SHARED_SETTINGS, "sides")
# Settings of `gate` alone: as far as the file sets them, they must be what they were.
JUDGING = (
    *("alpha", "bound", "beta", "minimum_n", "inconclusive", "goal", "one_stage", "trial_pairs"),
    *("thorough", "quick"),
    *PROBE_NAMES,
)
JUDGING_TABLES = ("accept", "gate.limits", "gate.groups", "data.limits")


def last_gate(pairs: Path | None) -> Run:
    """The last gate of this project, if it still speaks of this file and these settings.

    `pairs` None takes the gated file itself. Raises `ProbeError` with the first thing that changed since.
    """
    run = _last()
    gated = run.inputs.get("pairs") or {}
    path = pairs or Path(str(gated.get("path")))
    if not is_still(path, gated.get("sha256")):
        raise stale(f"{path} is not the file that was gated, or has changed since")
    _check_same(run)
    _check_judging(run)
    _check_accepted(run, date.today())
    return run


def taken(run: Run) -> dict[str, Any]:
    """What training runs under: each shared setting as it was gated (`last_gate` has refused any other).

    They become the running command's, so that its `run.json` holds what it was run with.
    """
    now, then = config.current(), run.config.get("origins") or {}
    found = {name: run.config.get(name, now.get(name)) for name in TAKEN}
    differing = [name for name in TAKEN if name in now and found[name] != now[name]]
    config.take({name: (found[name], then.get(name, config.ARGUMENT)) for name in differing})
    return found


def in_file(names: tuple[str, ...] = JUDGING) -> dict[str, Any]:
    """The config file's values for `probe gate`: its own table's before those for all commands."""
    found: dict[str, Any] = {}
    for lookup in (config.section("gate").get, config.section):
        for key in (spelling for name in names for spelling in (name, name.replace("_", "-"))):
            value = lookup(key)
            if value is not None and not isinstance(value, Mapping):  # a table is another command's
                found.setdefault(key.replace("-", "_"), value)
    return found


def _check_same(run: Run) -> None:
    """What was typed for the gate need not be typed again; anything else must be as it was."""
    now, then = config.current(), run.config.get("origins") or {}
    origins = now.get("origins") or {}
    for name in SHARED_SETTINGS:
        typed_once = then.get(name) in config.TYPED and origins.get(name) == config.DEFAULT
        if name in now and not typed_once and now[name] != run.config.get(name):
            raise stale(f"{name.replace('_', '-')} was {run.config.get(name)!r}, is {now[name]!r}")


def _check_judging(run: Run) -> None:
    now, then = in_file(), run.config.get("origins") or {}
    for name in JUDGING:
        origin = then.get(name, config.DEFAULT)
        same = now[name] == run.config.get(name) if name in now else origin == config.DEFAULT
        if origin not in config.TYPED and not same:
            raise stale(f"{name.replace('_', '-')} of the config has changed")
    for name in JUDGING_TABLES:
        if config.current().get(name) != run.config.get(name):
            raise stale(f"[{name}] of the config has changed")


def _check_accepted(run: Run, today: date) -> None:
    """What the gate accepted until a day is accepted until that day, whenever the training starts."""
    for row in run.details.get("accepted") or ():
        if (until := row.get("until")) and today > date.fromisoformat(until):
            raise stale(f"the acceptance of {row['code']} ended on {until}")


def _last() -> Run:
    try:
        note = json.loads(LAST.read_text(encoding="utf-8"))
        return saved_run(Path(note["run"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProbeError("no gate has been run in this project. Run `probe gate PAIRS` first.") from error
