"""A saved run, read for what it decided: every method that it names is one that this version trains."""

from __future__ import annotations

from pathlib import Path

from ..files import protect_also
from ..records import Run
from ..runs import load_run
from .methods import method_of


def saved_run(path: Path) -> Run:
    """The run in a `run.json`, or in the directory that holds one. No writer replaces its pair file.

    Raises `ProbeError` as `load_run` does, and for a stage of its decision that is no method.
    """
    run = load_run(path)
    if pairs := (run.inputs.get("pairs") or {}).get("path"):
        protect_also(Path(pairs))
    for stage in run.decision.stages if run.decision else ():
        method_of(stage, f"{path}: decision.stages")
    return run
