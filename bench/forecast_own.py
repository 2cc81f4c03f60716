"""Runs that users add to `forecast.py`: a `probe train` and the gate before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forecast_cells import number
from forecast_stats import Row

from probe.errors import ProbeError
from probe.runs import load_run


def added(run_path: Path, gate_path: Path | None) -> Row:
    """A row from a user's `probe train` run and the gate of the same file and weights before it.

    The gate has seen the pairs that the training held out, so these rows are shown apart. Raises
    `ProbeError` where the two do not belong together.
    """
    if gate_path is None:
        raise ProbeError("--add: needs --gate, the run of `probe gate` on the same file.")
    run, gate = load_run(run_path), load_run(gate_path)
    if run.command != "train" or gate.command != "gate":
        raise ProbeError(f"--add {run_path} --gate {gate_path}: not a run of `train` and one of `gate`.")
    for part, key in (("pairs", "sha256"), ("model", "weights_sha256")):
        if run.inputs[part][key] != gate.inputs[part][key]:
            raise ProbeError(
                f"{gate_path}: gated other {part}. Give the gate of the file that was trained on."
            )
    changed = [row for row in run.details["before_after"] if row["group"] == "all"]
    stages = run.details["training"]["stages"]
    name = Path(run.inputs["pairs"]["path"]).stem
    method = "+".join(stage["method"] for stage in stages)
    return {
        "key": f"own/{name}/{method}/{run.created}",
        "model": run.inputs["model"]["name"],
        "set": name,
        "method": method,
        "variant": "own",
        "split": run.inputs["split"],
        "estimates": {e.name: [e.value, e.low, e.high] for e in gate.estimates if e.group == "all"},
        "findings": [[f.code, f.severity] for f in gate.findings],
        "decision": gate.decision.method if gate.decision else None,
        "before_after": {row["name"]: [row["before"], row["after"]] for row in changed},
        "guard": [[event["step"], event["event"]] for event in run.details["training"]["guard"]],
        "provenance": {k: run.environment.get(k) for k in ("probe", "python", "packages", "git")},
    }


def own_runs(rows: Sequence[Row]) -> list[str]:
    """A heading and a table of the added runs; nothing without any."""
    own = [row for row in rows if row["variant"] == "own"]
    if not own:
        return []
    lines = [
        "| set (model) | method | signal | trial | pairs won before → after | chosen, nats/token | guard |",
        "|---|---|--:|--:|---|---|---|",
    ]
    for row in own:
        estimates, changed = row["estimates"], row["before_after"]
        won, chosen = (changed.get(k, [None, None]) for k in ("win rate", "chosen logps"))
        lines.append(
            f"| {row['set']} ({row['model']}) | {row['method']} "
            f"| {number(estimates.get('signal_accuracy', [None])[0])} "
            f"| {number(estimates.get('trial_accuracy', [None])[0])} "
            f"| {number(won[0])} → {number(won[1])} | {number(chosen[0])} → {number(chosen[1])} "
            f"| {', '.join(sorted({e for _, e in row['guard']})) or 'nothing'} |"
        )
    return ["### Runs that users added", "\n".join(lines)]
