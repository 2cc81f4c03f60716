"""A saved run, read for what it decided: every method that it names is one that this version trains."""

from __future__ import annotations

from pathlib import Path

from ..records import Run
from ..runs import load_run
from .methods import method_of


def saved_run(path: Path) -> Run:
    """The run in a `run.json`, or in the directory that holds one.

    Raises `ProbeError` as `load_run` does, and for a stage of its decision that is no method.
    """
    run = load_run(path)
    for stage in run.decision.stages if run.decision else ():
        method_of(stage, f"{path}: decision.stages")
    return run
