"""`probe train --method auto`: the gate that training rests on, and whether it may rest on it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ProbeError
from ..files import sha256_file
from ..records import Condition, Decision, Finding, Run
from ..runs import load_run, new_run_dir, save_run
from .decide import hyperparameters
from .facts import Facts
from .settings import from_config, judged
from .table import STAGES

if TYPE_CHECKING:
    from .measure import Request

LAST = Path(".probe/last.json")
# Settings that both commands have and that change what was measured.
SAME = ("model", "revision", "adapter", "dtype", "template", "max_length", "fields", "skip_bad", "full")
JUDGED = ("accept", "gate.limits", "gate.groups")
# What a method answers: failing these conditions is why it was chosen, so they do not forbid it.
ANSWERS: dict[str, tuple[str, ...]] = {
    "sft": ("PB12", "PB2", "PB4", "PB5"),
    "sft+dpo": ("PB12",),
    "orpo": ("PB12",),
    "dpop": ("PB4",),
    "dpo+nll": ("PB4",),
}


def last_gate(pairs: Path | None) -> Run:
    """The last gate of this project, if it still speaks of this file and these settings.

    `pairs` None takes the gated file itself. Raises `ProbeError` with the first thing that changed since.
    """
    run = _last()
    gated = run.inputs.get("pairs") or {}
    path = pairs or Path(str(gated.get("path")))
    if not path.exists() or sha256_file(path) != gated.get("sha256"):
        raise _stale(f"{path} is not the file that was gated, or has changed since")
    now = config.current()
    for name in SAME:
        if name in now and now[name] != run.config.get(name):
            raise _stale(f"{name.replace('_', '-')} was {run.config.get(name)!r}, is {now[name]!r}")
    for name in JUDGED:
        if now.get(name) != run.config.get(name):
            raise _stale(f"[{name}] of the config has changed")
    return run


def check_model(run: Run, facts: Mapping[str, Any]) -> None:
    """Raises `ProbeError` where the loaded model's weights are not those that were gated."""
    gated = run.inputs.get("model") or {}
    for key in ("weights_sha256", "adapter_sha256", "tokenizer_sha256"):
        if gated.get(key) != facts.get(key):
            raise _stale(f"the model's {key.removesuffix('_sha256')} changed")


def settled(run: Run, force: bool, reason: str | None) -> tuple[Decision | None, tuple[Finding, ...]]:
    """The decision to train, or None where the gate forbids it; with the finding that it was forced.

    Forced, a decision without stages gives way to its runner-up. Raises `ProbeError` for `--force` without
    `--reason`, and where there is nothing that could be trained.
    """
    if force and not reason:
        raise ProbeError(
            "--force: needs --reason, which is saved with the run. Say why the gate is overruled."
        )
    decision = run.decision
    if decision is None:
        raise ProbeError("the gate's run holds no decision. Run `probe gate` again.")
    standing = unanswered(run)
    if decision.stages and not standing:
        return decision, ()
    if not force:
        return None, ()
    return _trainable(decision, run), (forced(decision, standing, str(reason)),)


def unanswered(run: Run) -> list[Condition]:
    """The conditions that keep the gate from passing and that the decided method does not answer."""
    if run.verdict.exit_code == 0:
        return []
    answers = ANSWERS.get(run.decision.method if run.decision else "", ())
    open_ = [c for c in run.verdict.conditions if c.gates and c.result in ("fail", "inconclusive")]
    return [c for c in open_ if not (c.code.startswith(answers) and (c.result == "fail" or c.measured))]


def forced(decision: Decision, standing: list[Condition], reason: str) -> Finding:
    """PB706 gate overruled: training was forced against the gate.

    Means: `probe train --method auto --force` trained although conditions of the gate did not pass, or
    although the decision was not to train.
    Why: Whoever finds these weights later needs to know that they were made against a failing check, and why.
    Do: Compare the result with the model before it (`probe compare`) before it is used.
    Source: The practice of recorded overrides in change control; a convention.
    """
    names = ", ".join(c.name for c in standing) or f"decision {decision.method}"
    return Finding(
        "PB706",
        "warning",
        f"The gate was overruled ({names}): {reason}",
        "Compare the result with `probe compare` before using it.",
    )


def refusal(run: Run) -> str:
    """One line that says why nothing is trained."""
    method = run.decision.method if run.decision else "none"
    names = ", ".join(f"{c.name} ({c.result})" for c in unanswered(run))
    return f"not trained: the decision is {method}{f'; open: {names}' if names else ''}"


def gated(pairs: Path | None, request: Callable[[Path], Request]) -> Run:
    """The last gate where it still holds; else, for a named file, a new one, saved and noted as the last.

    Raises `ProbeError` without `pairs` when the last gate does not hold.
    """
    try:
        return last_gate(pairs)
    except ProbeError as stale:
        if pairs is None:
            raise
        print(f"{stale} Gating {pairs} now.", file=sys.stderr)
    from ..reports.emit import note_last
    from .measure import measure

    measured, _ = measure(request(pairs))
    run = _judged(measured)
    note_last(run, save_run(run, new_run_dir("gate", pairs.stem, run.created)))
    return run


def _judged(measured: Run) -> Run:
    """`measured` under the `[gate]` settings of the config file."""
    own = {key.replace("-", "_"): value for key, value in config.section("gate").items()}
    known = ("alpha", "bound", "minimum_n", "inconclusive", "goal", "one_stage")
    chosen = {key: own[key] for key in known if key in own}
    full = bool(config.current().get("full", False))
    return judged(measured, from_config(full=full, **chosen), date.today())


def _last() -> Run:
    try:
        note = json.loads(LAST.read_text(encoding="utf-8"))
        return load_run(Path(note["run"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProbeError("no gate has been run in this project. Run `probe gate PAIRS` first.") from error


def _stale(fact: str) -> ProbeError:
    return ProbeError(f"the last gate does not hold any more: {fact}. Run `probe gate PAIRS` again.")


def _trainable(decision: Decision, run: Run) -> Decision:
    if decision.stages:
        return decision
    method = str((decision.runner_up or {}).get("method"))
    if not STAGES.get(method):
        raise ProbeError(
            f"the decision is {decision.method} and its runner-up {method}: neither trains. "
            "Name a method in place of auto."
        )
    facts = Facts(run, {})
    values = hyperparameters(STAGES[method], parameters=facts.parameters, n=facts.pairs)
    return dataclasses.replace(decision, method=method, stages=STAGES[method], hyperparameters=values)
