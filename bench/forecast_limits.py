"""Which limits of the decision table the stored runs support: those that an outcome speaks to.

A limit cuts an estimate in two; an error is a cell whose outcome lies on the wrong side. The best cut is
read off the same cells and flatters itself, so the errors with each set left out in turn stand beside it,
and those of always giving the more frequent answer. Where a limit does not beat that answer, it is not
supported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from forecast_cells import BASE, Cell
from forecast_decision import paid, rose
from forecast_stats import FEWEST, Outcome

from probe.gate.conditions import RULES
from probe.probes.negatives.displacement import SINKING
from probe.probes.trial import findings as trial_findings

SATURATED = 0.95
# Limits of single findings that are no condition of the gate.
OF_FINDINGS = {"trial_half_accuracy": trial_findings.FAST_ACCURACY, "entanglement": SINKING}


@dataclass(frozen=True)
class Question:
    """An estimate, and what is expected to happen under DPO where it lies above its limit."""

    estimate: str
    event: str
    happened: Callable[[Outcome], bool]

    @property
    def now(self) -> float:
        """The limit as it ships."""
        if self.estimate in OF_FINDINGS:
            return OF_FINDINGS[self.estimate]
        limit = RULES[self.estimate].limit
        assert limit is not None
        return limit


def _saturated(got: Outcome) -> bool:
    return got.reward_accuracy >= SATURATED


QUESTIONS = (
    Question("signal_accuracy", "DPO paid", paid),
    Question("trial_accuracy", "DPO paid", paid),
    Question("surface_accuracy", f"reward accuracy ≥ {SATURATED}", _saturated),
    Question("states_accuracy", f"reward accuracy ≥ {SATURATED}", _saturated),
    Question("trial_half_accuracy", f"reward accuracy ≥ {SATURATED}", _saturated),
    Question(
        "length_accuracy",
        "summed margins rose, those per token did not",
        lambda got: rose(got.margins) and not rose(got.token_margins),
    ),
    Question("flip_budget_share", "DPO did not pay", lambda got: not paid(got)),
    Question("entanglement", "chosen fell", lambda got: got.chosen_change < 0),
)


def limits(cells: Sequence[Cell]) -> str:
    """A line per limit."""
    lines = [
        "| limit | now | expected above it | happened above it | below it | errors now | best cut "
        "| errors there | set left out | more frequent answer |",
        "|---|--:|---|---|---|--:|---|--:|--:|--:|",
    ]
    for asked in QUESTIONS:
        known = [c for c in cells if BASE in c.runs and c.known(asked.estimate) is not None]
        if len(known) >= FEWEST:
            lines.append(_line(asked, known))
    return "\n".join(lines) if len(lines) > 2 else f"Not said below {FEWEST} DPO runs."


def _line(asked: Question, cells: Sequence[Cell]) -> str:
    x = np.array([cell.known(asked.estimate) for cell in cells], float)
    y = np.array([asked.happened(cell.runs[BASE]) for cell in cells], bool)
    sets = np.array([cell.set for cell in cells])
    low, high = best_cut(x, y)
    columns = (
        f"{asked.now:g}", asked.event, _share(y[x > asked.now]), _share(y[x <= asked.now]),
        errors(x, y, asked.now),
        f"{low:.2f} to {high:.2f}",
        errors(x, y, (low + high) / 2), left_out(x, y, sets), min(y.sum(), (~y).sum()),
    )  # fmt: skip
    return f"| `{asked.estimate}` | " + " | ".join(map(str, columns)) + " |"


def _share(happened: np.ndarray) -> str:
    return f"{happened.sum()} of {len(happened)}"


def errors(x: np.ndarray, y: np.ndarray, cut: float) -> int:
    """Cells whose event did not go with being above the cut."""
    return int(((x > cut) != y).sum())


def best_cut(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Between which neighbouring values a cut makes the fewest errors; of several such gaps the widest."""
    values = np.unique(x)
    gaps = [(low, high) for low, high in pairwise(values)] or [(values[0], values[0])]
    low, high = min(gaps, key=lambda gap: (errors(x, y, gap[0]), gap[0] - gap[1]))
    return float(low), float(high)


def left_out(x: np.ndarray, y: np.ndarray, sets: np.ndarray) -> int:
    """Errors when each set is judged by the best cut of the others."""
    wrong = 0
    for name in np.unique(sets):
        out = sets == name
        wrong += errors(x[out], y[out], sum(best_cut(x[~out], y[~out])) / 2)
    return wrong
