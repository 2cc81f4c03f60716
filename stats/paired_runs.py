"""Saved runs side by side: paired differences on the pairs that two runs share.

H0, per group: the mean change of the gap is zero. Pairs are matched by id, which needs the same pair file, or
ids of their own where the file has changed: a line number names another pair in another version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ProbeError
from ..records import Estimate, JsonRow, Run, same_pairs, to_json
from .comparable import measured_by, shared_groups, unlike
from .mean_change import MeanChange, mean_changes, share_changes

JUDGED_BY = ("alpha", "bound")  # the level of a run's intervals, and the gap that is taken for none
MODEL_FACTS = ("name", "revision", "adapter", "dtype", "quantization", "weights_sha256")


def run_name(index: int) -> str:
    """A, B, …, Z, AA, AB, …: as columns of a sheet are named."""
    letter = chr(ord("A") + index % 26)
    return letter if index < 26 else run_name(index // 26 - 1) + letter


def side_by_side(runs: Sequence[Run], *, created: str, alpha: float = 0.05) -> Run:
    """A run that sets `runs` beside each other, each after the first compared with the first.

    `details["runs"]` has a row per run, named A, B, …; `details["differences"]` a row per group and quantity,
    with intervals that hold together over the groups (Bonferroni); `details["notes"]` says what was paired.
    """
    names = [run_name(i) for i in range(len(runs))]
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, run in zip(names[1:], runs[1:], strict=True):
        pairs, note = matched_rows(runs[0], run)
        facts = [*unlike(runs[0], run).values(), *filter(None, [shared_groups(pairs)[1]])]
        notes.append("; ".join((f"{name} − A: {note}", *facts)))
        rows += [{**to_json(e), "name": f"{name} − A: {e.name}"} for e in differences(pairs, alpha)]
    apart = distinctions(runs)
    listed = [
        {"run": name, **_facts(run), "apart": own} for name, run, own in zip(names, runs, apart, strict=True)
    ]
    sides, *other = (run.inputs.get("sides") for run in runs)
    same = all(named == sides for named in other)
    return Run(
        command="report",
        created=created,
        inputs={"sides": sides} if sides and same else {},
        config={"alpha": alpha},
        environment={"probe": runs[0].environment.get("probe")},
        details={"runs": listed, "differences": rows, "notes": notes, "trend": trend(runs, names)},
    )


MAIN = (
    "gap",
    "win_rate",
    "surface_accuracy",
    "length_accuracy",
    "trial_accuracy",
    "behaviour_up",
    "agreement",
)


def trend(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """The main numbers over the runs: a row for each that at least two of them measured."""
    rows = []
    for main in MAIN:
        found = [run.estimate(main) for run in runs]
        if sum(e is not None and e.value is not None for e in found) < 2:
            continue
        points = [
            {"run": name, **{key: getattr(e, key, None) for key in ("value", "low", "high", "n")}}
            for name, e in zip(names, found, strict=True)
        ]
        units = next(e.units for e in found if e is not None)
        rows.append({"name": main.replace("_", " "), "units": units, "points": points})
    return rows


def distinctions(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each run, those facts of its model, template, file and limits that are not the same in all."""
    facts = [
        {
            **{key: (run.inputs.get("model") or {}).get(key) for key in MODEL_FACTS},
            **measured_by(run),
            **{key: run.config.get(key) for key in JUDGED_BY},
            **{key: (run.inputs.get("pairs") or {}).get(key) for key in ("path", "sha256")},
            "sides": run.inputs.get("sides"),
        }
        for run in runs
    ]
    differing = [key for key in facts[0] if any(other[key] != facts[0][key] for other in facts)]
    return [{key: own[key] for key in differing} for own in facts]


def matched_rows(first: Run, second: Run) -> tuple[list[tuple[JsonRow, JsonRow]], str]:
    """The pairs of both runs, matched, and a sentence on what was matched."""
    before, after = _rows(first), _rows(second)
    same = same_pairs(first, second)
    shared = [i for i in before if i in after and (same or i != str(before[i].get("line")))]
    ids = [i for i in shared if _same_text(before[i], after[i])]
    versions = "the same pair file" if same else "two versions of the pair file, matched by id"
    if not ids:
        why = "no pair has the same text in both runs" if shared else "no pair is known to be in both runs"
        return [], f"{why}; only their own numbers can be compared"
    left_out = len(before.keys() | after.keys()) - len(ids)
    left_out -= (others := len(shared) - len(ids))
    note = f"{len(ids):,} pairs of {versions}" + (f", {left_out:,} in one run only" if left_out else "")
    note += f", {others:,} with other texts left out" if others else ""
    return [(before[i], after[i]) for i in ids], note


def _same_text(before: JsonRow, after: JsonRow) -> bool:
    """Whether both rows are of one text, as far as both say."""
    return None in (before.get("text"), after.get("text")) or before["text"] == after["text"]


def differences(pairs: Sequence[tuple[JsonRow, JsonRow]], alpha: float) -> list[Estimate]:
    """Change of the mean gap and of the win rate, over all pairs and in each group."""
    return [change.estimate for change in paired_changes(pairs, alpha)]


def paired_changes(pairs: Sequence[tuple[JsonRow, JsonRow]], alpha: float) -> list[MeanChange]:
    """`differences` with the values that each lies between: the gap and the win rate, group by group."""
    groups, _ = shared_groups(pairs)
    clusters = _clusters(pairs)
    first, second = (np.array([pair[side]["gap"] for pair in pairs]) for side in (0, 1))
    gap = mean_changes(
        first, second, groups, clusters, name="gap", units="nats/token", alpha=alpha, shared=True
    )
    won = share_changes(first > 0, second > 0, groups, clusters, name="win rate", alpha=alpha, shared=True)
    return [change for both in zip(gap, won, strict=True) for change in both]


def _clusters(pairs: Sequence[tuple[JsonRow, JsonRow]]) -> list[str]:
    """The label of each pair's prompt. Raises `ProbeError` for rows of a version that did not save it."""
    if any(after.get("cluster") is None for _, after in pairs):
        raise ProbeError(
            "a saved run does not say which of its pairs share a prompt, so no difference can be judged. "
            "Measure it again with this version."
        )
    return [str(after["cluster"]) for _, after in pairs]


def _rows(run: Run) -> dict[str, JsonRow]:
    return {str(row["id"]): row for row in run.details.get("pairs") or () if row.get("gap") is not None}


def _facts(run: Run) -> dict[str, Any]:
    pairs, model = run.inputs.get("pairs") or {}, run.inputs.get("model") or {}
    verdict = next((row.verdict for row in run.bias if row.group == "all"), run.verdict.status)
    return {
        "command": run.command,
        "model": model.get("name"),
        "pairs": pairs.get("path"),
        "sha256": pairs.get("sha256"),
        "verdict": verdict,
        "decision": run.decision.method if run.decision else None,
        "gap": to_json(run.estimate("gap")),
        "alpha": run.config.get("alpha"),
        "sides": run.inputs.get("sides"),
    }
