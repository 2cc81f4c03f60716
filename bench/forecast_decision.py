"""The decisions of the gate beside fixed rules, by what their methods led to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from forecast_cells import BASE, IMITATE, NONE, Cell
from forecast_stats import mcnemar, share


def _by_win_rate(cell: Cell) -> str:
    return BASE if (cell.known("win_rate") or 0.0) >= 0.5 else IMITATE


RULES: dict[str, Callable[[Cell], str]] = {
    "**decision table**": lambda cell: cell.choice,
    "always DPO": lambda cell: BASE,
    "always SFT": lambda cell: IMITATE,
    "never train": lambda cell: NONE,
    "SFT where the base prefers rejected, else DPO": _by_win_rate,
}


def decisions(cells: Sequence[Cell]) -> Iterator[str]:
    """Every rule on the cells where DPO, SFT and the decided method have all been run."""
    judged = [cell for cell in cells if {BASE, IMITATE} <= cell.runs.keys()]
    having = [cell for cell in judged if cell.choice == NONE or cell.choice in cell.runs]
    if not having:
        yield "No cell has both core runs and the decided one yet."
        return
    made = Counter(cell.decision.method for cell in having)
    yield (
        f"{len(having)} cells ({len(judged) - len(having)} more lack a run of the decided method). Decided: "
        + ", ".join(f"{method} {count}" for method, count in made.most_common()) + "."
    )  # fmt: skip
    lines = ["| rule | within noise of the best method | mean shortfall in accuracy |", "|---|---|--:|"]
    for name, rule in RULES.items():
        marks = [_against_best(cell, rule(cell)) for cell in having]
        hits = sum(close for close, _ in marks)
        lines.append(f"| {name} | {share(hits, len(marks))} | {np.mean([s for _, s in marks]):.3f} |")
    yield "\n".join(lines)
    powerless = sum(_against_best(cell, NONE)[0] for cell in having)
    yield (
        "Best: the highest accuracy by log-probs per token on held-out pairs, among the runs of the cell and "
        f"the untrained model. Within noise: McNemar's exact p above .05. In {powerless} of {len(having)} "
        "cells even the untrained model is within noise of the best, so these tell no rule from another."
    )


def _against_best(cell: Cell, run: str) -> tuple[bool, float]:
    """Whether a choice is within noise of the best one, and by how much accuracy it falls short."""
    won = {name: got.won_after for name, got in cell.runs.items() if name.endswith("/short/0")}
    won[NONE] = next(iter(cell.runs.values())).won_before
    best = max(won.values(), key=lambda w: float(w.mean()))
    own = won[run]
    return mcnemar(best, own) > 0.05, float(best.mean() - own.mean())
