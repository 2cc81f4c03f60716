"""How far runs of `forecast.py` differ that differ in nothing but the seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from forecast_stats import Outcome, Row, by_cell, outcome


def seeds(rows: Sequence[Row]) -> str:
    """A line per set, model and method of which several seeds are stored, and the spread over all of them."""
    lines = [
        "| set (model) | method | margins up, summed / per token, by seed | chosen, nats/token, by seed |"
    ]
    lines.append("|---|---|---|---|")
    found: list[list[Outcome]] = []
    for (model, name), runs in by_cell(rows).items():
        for method in sorted({row["method"] for row in runs.values()}):
            keys = sorted(key for key in runs if key.startswith(f"{method}/short/"))
            if len(keys) < 2 or method == "probes":
                continue
            got = [outcome(runs[key]) for key in keys]
            found.append(got)
            shares = ", ".join(f"{one.reward_accuracy:.2f} / {one.token_accuracy:.2f}" for one in got)
            changes = ", ".join(f"{one.chosen_change:+.3f}" for one in got)
            lines.append(f"| {name} ({model.split('-')[0]}) | {method} | {shares} | {changes} |")
    if not found:
        return "One seed only so far."
    spread = [_within([[getattr(one, name) for one in got] for got in found]) for name in NAMES]
    return "\n".join(lines) + (
        f"\n\nStandard deviation between seeds: {spread[0]:.3f} of the summed share, {spread[1]:.3f} of the "
        f"share per token, {spread[2]:.3f} nats/token of the chosen side."
    )


NAMES = ("reward_accuracy", "token_accuracy", "chosen_change")


def _within(groups: Sequence[Sequence[float]]) -> float:
    """The pooled standard deviation inside groups."""
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return float(np.sqrt(squares / sum(len(group) - 1 for group in groups)))
