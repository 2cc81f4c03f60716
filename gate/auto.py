"""`probe train --method auto`: the gate that training rests on, and whether it may rest on it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProbeError
from ..pairs.unpaired import is_unpaired
from ..records import Condition, Decision, Finding, Run
from ..runs import new_run_dir, save_run
from ..scoring.processes import rank
from ..training.shipped import Tuning
from .decide import hyperparameters
from .last import in_file, last_gate
from .registry import PROBE_NAMES
from .row import STAGES
from .run_facts import RunFacts
from .settings import from_config, judged
from .unanswered import unanswered
from .whole import gate_answers

if TYPE_CHECKING:
    from ..probes.gated import GateRequest


def training_decision(
    run: Run, force: bool, reason: str | None
) -> tuple[Decision | None, tuple[Finding, ...]]:
    """The decision to train, or None where the gate forbids it; with the finding that it was forced.

    Forced, a decision without stages gives way to its runner-up. Raises `ProbeError` for `--force` without
    `--reason`, and where there is nothing that could be trained.
    """
    if force and not reason:
        raise ProbeError(
            "--force: needs --reason, which is saved with the run. Say why the gate is overruled."
        )
    decision, standing = run.decision, unanswered(run)
    if decision is None and standing and not force:
        return None, ()
    if decision is None:
        raise ProbeError("the gate's run holds no decision. Name a method with --method.")
    if decision.stages and not standing:
        return decision, ()
    if not force:
        return None, ()
    return _trainable(decision, run), (forced(decision, standing, str(reason)),)


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
        f"the gate was overruled ({names}): {reason}",
        "Compare the result with `probe compare` before using it.",
    )


def refusal(run: Run) -> str:
    """One line that says why nothing is trained."""
    method = run.decision.method if run.decision else "none"
    names = ", ".join(f"{c.name} ({c.result})" for c in unanswered(run))
    return f"not trained: the decision is {method}{f'; open: {names}' if names else ''}"


def gated(pairs: Path | None, request: Callable[[Path], GateRequest]) -> Run:
    """The last gate where it still holds; else, for a named file, a new one, saved and noted as the last.

    Raises `ProbeError` without `pairs` when the last gate does not hold.
    """
    try:
        return last_gate(pairs)
    except ProbeError as stale:
        if pairs is None:
            raise
        print(f"{stale} Gating {pairs} now.", file=sys.stderr)
    from ..runs import note_last

    run = _measured(request(pairs))
    if rank() == 0:
        note_last(run, save_run(run, new_run_dir(run.command, pairs.stem, run.created)))
    return run


def _measured(request: GateRequest) -> Run:
    """What `probe gate` would do under the config file, which sets more than training's own options do."""
    from .measure import run_probes

    own = in_file()
    reach = {name: own[name] for name in ("alpha", "bound", "beta", "trial_pairs") if name in own}
    off = frozenset(name for name in PROBE_NAMES if own.get(name) is False)
    judging = ("alpha", "bound", "minimum_n", "inconclusive", "goal", "one_stage")
    chosen = {name: own[name] for name in judging if name in own}
    options = from_config(full=request.full, **chosen)
    if is_unpaired(request.source.path, request.source.fields):
        return gate_answers(request.source, request.how, options, {}, seed=request.seed, off=off & {"trial"})
    measured, _ = run_probes(dataclasses.replace(request, off=off, limits=options.limits, **reach))
    origins = {**measured.config.get("origins", {}), **dict.fromkeys(own, "config file")}
    noted = dataclasses.replace(measured, config={**measured.config, **own, "origins": origins})
    return judged(noted, options, date.today())


def _trainable(decision: Decision, run: Run) -> Decision:
    if decision.stages:
        return decision
    method = str((decision.runner_up or {}).get("method"))
    if not STAGES.get(method):
        raise ProbeError(
            f"the decision is {decision.method} and its runner-up {method}: neither trains. "
            "Name a method in place of auto."
        )
    facts = RunFacts(run, {})
    tuning: Tuning = "full" if run.config.get("full") else "lora"
    values = hyperparameters(STAGES[method], parameters=facts.parameters, n=facts.pairs, tuning=tuning)
    return dataclasses.replace(decision, method=method, stages=STAGES[method], hyperparameters=values)
