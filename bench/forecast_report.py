"""Tables of `forecast.py` from its stored rows; the numbers of docs/validity-appendix.md come from here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from forecast_cells import BASE, IMITATE, Cell, cells_of, number
from forecast_decision import BUDGET, decisions, elsewhere, methods, worth
from forecast_limits import limits
from forecast_own import own_runs
from forecast_seeds import seeds
from forecast_stats import (
    FEWEST,
    Outcome,
    Row,
    auc,
    bootstrap,
    by_cell,
    early_auc,
    left_out,
    mean_over_sets,
    outcome,
    share,
    spearman,
)
from forecast_without import removals

LEARNED = 0.6  # held-out reward accuracy that counts as learned: the gate's own limit on its forecast
SATURATED = 0.95


def tables(rows: Sequence[Row], planned: Sequence[object]) -> str:
    """All tables as Markdown."""
    cells = cells_of(rows)
    with_dpo = [cell for cell in cells if BASE in cell.runs]
    parts = [
        _coverage(rows, planned),
        "### What each set led to", _sets(cells),
        "### Runs that were meant to fail", _failing(rows),
        "### Will DPO rank held-out pairs?", *_accuracy(with_dpo),
        "### Will the chosen responses fall?", *_displacement(with_dpo),
        "### Will it saturate?", _saturation(with_dpo),
        "### Does the early loss rank the pairs that end mis-ranked?", _early(rows),
        "### Do easy negatives teach anything elsewhere?", *elsewhere(cells),
        "### Which method did best?", methods(cells),
        "### Was the decision right?", *decisions(cells),
        "### Did training pay?", *worth(cells),
        "### What would a probe's removal cost?", *removals(cells),
        "### How far do seeds differ?", seeds(rows),
        "### Which limits do the runs support?", limits(cells),
        *own_runs(rows),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def write(rows: Sequence[Row], planned: Sequence[object], page: Path) -> None:
    """Put the tables between the markers of the page."""
    page.write_text(with_tables(page.read_text(encoding="utf-8"), rows, planned), encoding="utf-8")


def with_tables(text: str, rows: Sequence[Row], planned: Sequence[object]) -> str:
    """The page with its block of tables made anew."""
    begin, end = "<!-- forecast:begin -->", "<!-- forecast:end -->"
    block = f"{begin}\n\n{tables(rows, planned)}\n{end}"
    return re.sub(f"{begin}.*{end}", lambda _: block, text, flags=re.DOTALL)


# --- what there is --------------------------------------------------------------------------------------


def _coverage(rows: Sequence[Row], planned: Sequence[object]) -> str:
    """How much of the grid has been run."""
    grid = [row for row in rows if row["variant"] != "own"]
    trained = [row for row in grid if row["method"] != "probes"]
    counted = Counter(f"{row['model']}: {row['method']}, {row['variant']}" for row in trained)
    lines = [f"| {name} | {count} |" for name, count in sorted(counted.items())]
    before = Counter(row["model"] for row in grid if row["method"] == "probes")
    probed = " and ".join(f"{n} sets on {model}" for model, n in before.items()) or "nothing"
    state = "complete" if len(grid) >= len(planned) else "**incomplete**"
    head = (
        f"The grid is {state}: {len(grid)} of {len(planned)} rows are stored; probes of {probed}, "
        f"training runs: {len(trained)}."
    )
    return "\n".join([head, "", "| model: method, variant | runs |", "|---|--:|", *lines])


HEAD = (
    "| set (model) | base | signal | trial | decision | DPO: reward acc. | DPO: acc. after "
    "| DPO: margin, nats | DPO: chosen | SFT: acc. after | SFT: chosen | n |"
)


def _sets(cells: Sequence[Cell]) -> str:
    """A line per cell: accuracies by log-probs per token, changes of the chosen side in nats/token."""
    lines = [HEAD, "|---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for cell in cells:
        dpo, sft = cell.runs.get(BASE), cell.runs.get(IMITATE)
        some = dpo or sft
        columns = [_known(cell, some), _preferred(dpo), _imitated(sft)]
        lines.append(
            f"| {cell.set} ({cell.model.split('-')[0]}) | {' | '.join(columns)} "
            f"| {len(some.won_before) if some else '–'} |"
        )
    return "\n".join(lines)


def _known(cell: Cell, some: Outcome | None) -> str:
    before = (cell.known(name) for name in ("signal_accuracy", "trial_accuracy"))
    base = some and some.won_before.mean()
    return " | ".join([number(base), *map(number, before), cell.decision.method])


def _preferred(dpo: Outcome | None) -> str:
    if dpo is None:
        return "– | – | – | –"
    accuracies = f"{dpo.reward_accuracy:.2f} | {dpo.won_after.mean():.2f}"
    return f"{accuracies} | {dpo.margin:+.2f} | {dpo.chosen_change:+.3f}"


def _imitated(sft: Outcome | None) -> str:
    return f"{sft.won_after.mean():.2f} | {sft.chosen_change:+.3f}" if sft else "– | –"


def _failing(rows: Sequence[Row]) -> str:
    """High learning rate, long training, float16: what became of them."""
    lines = [
        "| run | steps, best | reward acc. | acc. before → after | chosen, nats/token | neutral perplexity "
        "| repeated 3-grams | guard |",
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    for row in rows:
        if row["variant"] not in ("hot", "long", "float16"):
            continue
        name = f"{row['set']}, {row['method']}, {row['variant']}"
        if "refused" in row:
            lines.append(f"| {name} | refused: {row['refused']} | – | – | – | – | – | – |")
            continue
        got, last = outcome(row), row["stages"][-1]
        said = ", ".join(sorted({event for _, event in row["guard"]})) or "nothing"
        accuracies = f"{got.won_before.mean():.2f} → {got.won_after.mean():.2f}"
        lines.append(
            f"| {name} | {last['steps']}, {last['best_step']} | {got.reward_accuracy:.2f} | {accuracies} "
            f"| {got.chosen_change:+.2f} | × {got.perplexity_ratio:.2f} | {got.repetition_rise:+.2f} "
            f"| {said} |"
        )
    text = (
        "Accuracy and the change of the chosen side are those of the weights that the guard kept; perplexity "
        "and repetition those at the end of the run, over those at its start."
    )
    return "\n".join([text, "", *lines]) if len(lines) > 2 else "None has been run."


# --- how well it was forecast ---------------------------------------------------------------------------

PROBES = ("signal_accuracy", "trial_accuracy", "trial_half_accuracy", "surface_accuracy", "states_accuracy")
BASELINES = ("win_rate", "gap", "length gap", "similarity", "number of pairs")
SINKING = ("trial_chosen_change", "gradient_cosine", "entanglement", "ches_ln")
Target = Callable[[Outcome], float]


def _accuracy(cells: Sequence[Cell]) -> Iterator[str]:
    def target(got: Outcome) -> float:
        return got.reward_accuracy

    yield _forecasts(
        cells, target, lambda y: y >= LEARNED, f"reward accuracy ≥ {LEARNED:g}", PROBES, BASELINES
    )
    within, known, errors = 0, 0, []
    for cell in cells:
        estimate = cell.probes["estimates"].get("forecast_accuracy")
        if estimate and None not in estimate:
            known += 1
            within += estimate[1] <= cell.runs[BASE].reward_accuracy <= estimate[2]
            errors.append(abs(estimate[0] - cell.runs[BASE].reward_accuracy))
    if known:
        yield (
            "The trial's printed interval (`forecast_accuracy`) held the outcome in "
            f"{share(within, known)} runs; mean absolute error {np.mean(errors):.3f}. "
            "The outcome's own sampling error at 40 held-out pairs is up to .08."
        )


def _displacement(cells: Sequence[Cell]) -> Iterator[str]:
    changes = [cell.runs[BASE].chosen_change for cell in cells]
    beyond = sum(change < -BUDGET for change in changes)
    fell = sum(change < 0 for change in changes)
    yield (
        f"Beyond the budget of {BUDGET:g} nats/token, at the shipped rate: {share(beyond, len(changes))}. "
        f"Below the start at all: {share(fell, len(changes))}."
    )
    yield _forecasts(
        cells, lambda got: -got.chosen_change, lambda y: y > 0, "chosen below its start", SINKING,
        ("similarity", "length gap", "gap", "number of pairs"),
    )  # fmt: skip


def _saturation(cells: Sequence[Cell]) -> str:
    return _forecasts(
        cells, lambda got: got.reward_accuracy, lambda y: y >= SATURATED, f"reward accuracy ≥ {SATURATED:g}",
        ("surface_accuracy", "states_accuracy", "signal_accuracy", "trial_half_accuracy"),
        ("win_rate", "gap", "similarity", "number of pairs"),
    )  # fmt: skip


def _forecasts(
    cells: Sequence[Cell], target: Target, event: Callable[[np.ndarray], np.ndarray], said: str,
    probes: Sequence[str], baselines: Sequence[str],
) -> str:  # fmt: skip
    """A line per predictor; the interval redraws sets, the errors leave each set out in turn."""
    if len(cells) < FEWEST:
        return f"Not said yet: {len(cells)} of the {FEWEST} DPO runs that are the least for it."
    happened = int(sum(bool(event(np.array(target(cell.runs[BASE])))) for cell in cells))
    lines = [
        f"Event: {said}, in {happened} of {len(cells)} runs.",
        "",
        "| known before | n | rank correlation | AUC of the event | error, set left out | of their mean "
        "| less error than the best baseline |",
        "|---|--:|---|---|--:|--:|---|",
    ]
    for name in (*probes, *baselines):
        having = [cell for cell in cells if cell.known(name) is not None]
        x, y, sets = _columns(having, target, name)
        errors = left_out(x, y, sets)
        means = (None, None) if errors is None else errors.mean(axis=0)
        columns = [
            str(len(having)),
            _interval(bootstrap(x, y, sets, spearman)),
            _interval(bootstrap(x, event(np.array(y)).tolist() if y else [], sets, auc)),
            *(number(error, ".3f") for error in means),
            _gain(having, target, errors, baselines) if name in probes else "",
        ]
        label = name.replace("_", " ")
        lines.append(f"| {label if name in probes else f'*{label}*'} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def _columns(cells: Sequence[Cell], target: Target, name: str) -> tuple[list[float], list[float], list[str]]:
    """What was known, what came of it, and the sets."""
    x = [float(cell.known(name) or 0.0) for cell in cells]
    return x, [target(cell.runs[BASE]) for cell in cells], [cell.set for cell in cells]


def _gain(cells: Sequence[Cell], target: Target, errors: np.ndarray | None, baselines: Sequence[str]) -> str:
    """How far a probe's left-out error is below that of the best baseline, or of the mean, on its cells."""
    if errors is None:
        return "–"
    of = [left_out(*_columns(cells, target, name)) for name in baselines]
    others = [errors[:, 1], *(found[:, 0] for found in of if found is not None)]
    best = min(others, key=lambda column: float(column.mean()))
    return _interval(mean_over_sets(best - errors[:, 0], [cell.set for cell in cells]), "+.3f")


def _interval(found: Sequence[float | None], form: str = ".2f") -> str:
    value, low, high = found
    if value is None:
        return "–"
    return f"{value:{form}}" + ("" if low is None or high is None else f" [{low:{form}}, {high:{form}}]")


def _early(rows: Sequence[Row]) -> str:
    lines = []
    for (model, name), found in by_cell(rows).items():
        if "dpo/early/0" in found and BASE in found:
            lines.append(
                f"| {name} ({model.split('-')[0]}) | {number(early_auc(found['dpo/early/0'], found[BASE]))} |"
            )
    if not lines:
        return "Not measured yet: it needs the `early` runs of the grid."
    return "\n".join(["| set | AUC on held-out pairs |", "|---|--:|", *lines])
