"""What the decision on every stored set would be without one probe of the gate: what its removal costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from forecast_cells import NONE, Cell, Row
from forecast_decision import judgeable, right
from forecast_stats import share

# What each probe gives to a stored row: beginnings of its estimates' names and of its findings' codes.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bias": (("gap", "win_rate", "flip_budget", "longer_wins", "length_ratio"), ("PB1", "PB60")),
    "negatives": (
        ("surface", "states", "length_accuracy", "opening", "ending", "words", "characters", "signal",
         "template", "usable", "ranking", "prompt_free", "chosen_", "rejected_"),
        ("PB2",),
    ),
    "trial": (("trial", "behaviour", "forecast", "misranked", "gradient_noise"), ("PB5",)),
}  # fmt: skip


def without(row: Row, probe: str) -> Row:
    """The stored row of a set as it would be had `probe` not been run."""
    names, codes = PARTS[probe]
    kept = {name: value for name, value in row["estimates"].items() if not name.startswith(names)}
    findings = [found for found in row["findings"] if not found[0].startswith(codes)]
    return {**row, "estimates": kept, "findings": findings, "bias": [] if probe == "bias" else row["bias"]}


def removals(cells: Sequence[Cell]) -> Iterator[str]:
    """How many decisions change without each probe, and how many are right by what paid."""
    having = judgeable(cells)
    if not having:
        return
    whole = sum(right(cell, cell.choice) for cell in having)
    lines = ["| left out | decisions that change | right |", "|---|--:|--:|"]
    lines.append(f"| nothing | 0 of {len(having)} | {share(whole, len(having))} |")
    for probe in PARTS:
        left = [replace(cell, probes=without(cell.probes, probe)) for cell in having]
        changed = sum(a.decision.method != b.decision.method for a, b in zip(having, left, strict=True))
        judged = [right(cell, cell.choice) for cell in left if {cell.choice} - {NONE} <= cell.runs.keys()]
        lines.append(f"| {probe} | {changed} of {len(having)} | {share(sum(judged), len(judged))} |")
    yield "\n".join(lines)
    yield "Right: as above. `data` and `numerics` found nothing in these sets, and forecast nothing."
