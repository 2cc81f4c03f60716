"""The decisions of the gate beside fixed rules, by what their methods led to.

Two measures. *Accuracy* by log-probs per token says whether the model now ranks the pairs; a short run
hardly moves it. *Paid* asks the smaller thing that such a run can show, and charges a rule for training
where nothing is learned. It was written down when twelve cells of the first model were known. Its first
form counted summed margins alone; the thirteenth cell, length_gap, showed that those count length (SFT:
1.00 of the margins up, .06 per token), so now both must rise. The decision table was changed on the cells
of the first model too (docs/log.md), before any outcome of the second was known: the second model's cells
test both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from forecast_cells import BASE, IMITATE, NONE, Cell
from forecast_stats import Outcome, mcnemar, share
from scipy import stats

from probe.training.guard_records import GuardLimits

BUDGET = GuardLimits().chosen_budget
LEVEL = 0.05
SEEN = "SmolLM2-135M-Instruct"


def _by_win_rate(cell: Cell) -> str:
    return BASE if (cell.known("win_rate") or 0.0) >= 0.5 else IMITATE


def _decided(cell: Cell) -> str:
    return cell.choice


RULES: dict[str, Callable[[Cell], str]] = {
    "**decision table**": _decided,
    "always DPO": lambda cell: BASE,
    "always SFT": lambda cell: IMITATE,
    "never train": lambda cell: NONE,
    "SFT where the base prefers rejected, else DPO": _by_win_rate,
}


def decisions(cells: Sequence[Cell]) -> Iterator[str]:
    """Every rule on the cells where DPO, SFT and the decided method have all been run."""
    judged = [cell for cell in cells if {BASE, IMITATE} <= cell.runs.keys()]
    having = judgeable(cells)
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


def judgeable(cells: Sequence[Cell]) -> list[Cell]:
    """The cells where DPO, SFT and the decided method, if any, have been run."""
    return [cell for cell in cells if {BASE, IMITATE, cell.choice} - {NONE} <= cell.runs.keys()]


def worth(cells: Sequence[Cell]) -> Iterator[str]:
    """Did training pay just where a rule trained? Cells on which the table was changed, and others, apart."""
    having = judgeable(cells)
    known = [cell for cell in having if cell.model == SEEN]
    since = [cell for cell in having if cell.model != SEEN]
    if not having:
        return
    yield (
        "A run *paid* where more held-out margins rose than fell (two-sided sign test, p < .05), summed and "
        "per token, and the "
        f"chosen side did not fall by more than {BUDGET:g} nats/token. A rule is right on a cell where its "
        "run paid and is within noise of the one with most margins above 0 (McNemar's exact p above .05), or "
        "where it trains nothing and neither DPO nor SFT nor the decided method paid."
    )
    lines = [
        "| rule | right, first model (the table was changed on it) | right, second model (unseen) "
        "| only the table right, only the rule right |",
        "|---|---|---|---|",
    ]
    own = np.array([right(cell, cell.choice) for cell in having])
    for name, rule in RULES.items():
        theirs = np.array([right(cell, rule(cell)) for cell in having])
        columns = (share(sum(right(cell, rule(cell)) for cell in part), len(part)) for part in (known, since))
        between = f"{(own & ~theirs).sum()}, {(theirs & ~own).sum()} (p {mcnemar(own, theirs):.3f})"
        lines.append(f"| {name} | {' | '.join(columns)} | {'' if rule is _decided else between} |")
    yield "\n".join(lines)
    wrong = [cell for cell in having if not right(cell, cell.choice)]
    if wrong:
        yield "Wrong (share of margins up, summed / per token): " + "; ".join(map(_fault, wrong)) + "."


def right(cell: Cell, run: str) -> bool:
    """Whether a choice was right, by what paid."""
    runs = _considered(cell)
    if run == NONE:
        return not any(map(paid, runs.values()))
    up = {name: (got.margins > 0) & (got.token_margins > 0) for name, got in runs.items()}
    best = max(up.values(), key=lambda pairs: int(pairs.sum()))
    return paid(runs[run]) and mcnemar(best, up[run]) > LEVEL


def paid(got: Outcome) -> bool:
    """More margins rose than fell, beyond chance, summed and per token, and the chosen side held."""
    return rose(got.margins) and rose(got.token_margins) and got.chosen_change >= -BUDGET


def rose(margins: np.ndarray) -> bool:
    """More are above 0 than below, beyond chance."""
    up, down = int((margins > 0).sum()), int((margins < 0).sum())
    return up > down and bool(stats.binomtest(up, up + down).pvalue < LEVEL)


def _considered(cell: Cell) -> Mapping[str, Outcome]:
    return {name: cell.runs[name] for name in (BASE, IMITATE, cell.choice) if name != NONE}


def _fault(cell: Cell) -> str:
    runs = ", ".join(f"{name.split('/')[0]} {_both(got)}" for name, got in _considered(cell).items())
    return f"{cell.set} ({cell.model.split('-')[0]}) {cell.decision.method}, where {runs}"


def _both(got: Outcome) -> str:
    return f"{got.reward_accuracy:.2f} / {got.token_accuracy:.2f}"


def methods(cells: Sequence[Cell]) -> str:
    """A line per method, over the cells where it and DPO were run with the shipped recipe."""
    compared = [cell for cell in cells if BASE in cell.runs]
    found = Counter(name for cell in compared for name in cell.runs if name.endswith("/short/0"))
    lines = [
        "| method | cells | paid | paid where DPO did not | did not where DPO did "
        "| chosen, nats/token, median | accuracy, change, mean |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, count in found.most_common():
        having = [cell for cell in compared if name in cell.runs]
        runs = [cell.runs[name] for cell in having]
        own, base = ([paid(cell.runs[key]) for cell in having] for key in (name, BASE))
        more = sum(a and not b for a, b in zip(own, base, strict=True))
        less = sum(b and not a for a, b in zip(own, base, strict=True))
        change = np.mean([got.won_after.mean() - got.won_before.mean() for got in runs])
        lines.append(
            f"| {name.split('/')[0]} | {count} | {sum(own)} | {more} | {less} "
            f"| {np.median([got.chosen_change for got in runs]):+.3f} | {change:+.3f} |"
        )
    return "\n".join(lines)


def elsewhere(cells: Sequence[Cell]) -> Iterator[str]:
    """What training on easy negatives did to hard ones of the same prompts."""
    having = [cell for cell in cells if cell.elsewhere]
    if not having:
        yield "Not measured yet."
        return
    lines = [
        "| trained on | run | its own kind | harder pairs, same prompts | n | paid there |",
        "|---|---|--:|--:|--:|---|",
    ]
    lines += [_there(cell, name) for cell in having for name in cell.elsewhere]
    yield "Share of held-out margins above 0, summed / per token."
    yield "\n".join(lines)


def _there(cell: Cell, name: str) -> str:
    here, there = cell.runs[name], cell.elsewhere[name]
    return (
        f"| {cell.set} ({cell.model.split('-')[0]}) | {name.removesuffix('/short/0')} "
        f"| {_both(here)} | {_both(there)} | {len(there.margins)} "
        f"| {'yes' if paid(there) else 'no'} |"
    )


def _against_best(cell: Cell, run: str) -> tuple[bool, float]:
    """Whether a choice is within noise of the best one, and by how much accuracy it falls short."""
    won = {name: got.won_after for name, got in cell.runs.items() if name.endswith("/short/0")}
    won[NONE] = next(iter(cell.runs.values())).won_before
    best = max(won.values(), key=lambda w: float(w.mean()))
    own = won[run]
    return mcnemar(best, own) > 0.05, float(best.mean() - own.mean())
