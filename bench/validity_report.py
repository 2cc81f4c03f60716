"""The tables and the figure of docs/validity.md and its appendix, from rows that `validity.py` stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stored_rows import Row

METHODS = ("dpo", "sft", "sft+dpo")
RULES = ("gate", *(f"always {method}" for method in METHODS), "never")
PICTURE = (
    "![Forecast of the share of held-out margins that DPO raises, and the outcome](images/forecast.svg)",
    "",
    "Line and dot: the gate's `forecast_accuracy`, from the training pairs alone. Ring: the share of "
    "held-out margins up after the full DPO run.",
)
FORECASTS = ("trial_accuracy", "trial_pass_accuracy", "trial_token_accuracy", "signal_accuracy", "win_rate")
Cell = tuple[Row, dict[str, Row]]


def gain(row: Row) -> tuple[float, float]:
    """Prompts up less prompts down, over all prompts, with its standard error; without a judge the change of
    ranking per token."""
    found = row["behaviour"]
    if found.get("judged"):
        up, down, n = found["up"], found["down"], found["prompts"]
        net = (up - down) / n
        return net, max(((up + down) / n - net**2) / n, 1e-9) ** 0.5
    value, low, high = row["ranking"]
    return value, max(value - low, high - value) / 1.96


def paid(row: Row) -> bool:
    """Whether the run is shown to have done something good: its gain lies beyond two standard errors."""
    value, error = gain(row)
    return value > 1.96 * error


def harmed(row: Row) -> bool:
    """Whether the run is shown to have done the opposite."""
    value, error = gain(row)
    return value < -1.96 * error


def cells(rows: Iterable[Row]) -> Iterator[tuple[Row, dict[str, Row]]]:
    """Each gate with the outcomes of its cell, where all methods were trained; the latest row of a key."""
    latest = {row["key"]: row for row in rows}
    for row in latest.values():
        if row["method"] == "gate":
            stem = row["key"].replace("/gate/", "/{}/")
            known = {m: latest[stem.format(m)] for m in METHODS if stem.format(m) in latest}
            if len(known) == len(METHODS):
                yield row, known


@dataclass(frozen=True, slots=True)
class JudgedCell:
    """A cell as the tables read it: which rules were within noise of the best, and what the gate forecast."""

    gate: Row
    known: dict[str, Row]

    @property
    def picked(self) -> str:
        """The gate's method, by the name of its family; "never" for none."""
        stages = "+".join(self.gate["stages"]).replace("dpo_norm", "dpo")
        return stages or "never"

    def right(self, rule: str) -> bool | None:
        """Whether a rule's method is within noise of the best; None for one that was not trained."""
        gains = {**{m: gain(row) for m, row in self.known.items()}, "never": (0.0, 0.0)}
        method = self.picked if rule == "gate" else rule.removeprefix("always ")
        return _best(method, gains) if method in gains else None

    @property
    def good(self) -> bool:
        """Whether some method paid."""
        return any(paid(row) for row in self.known.values())

    @property
    def forecast(self) -> tuple[float, float, float] | None:
        """Value, low and high of the share of margins up after DPO."""
        value, low, high, *_ = self.gate["estimates"].get("forecast_accuracy") or [None] * 3
        return None if value is None or low is None or high is None else (value, low, high)

    @property
    def outcome(self) -> float:
        """That share after the full run."""
        return float(self.known["dpo"]["margins_up"])


def report(rows: list[Row]) -> str:
    """The rules against each other, and how forecasts and passes came true."""
    complete = [JudgedCell(*cell) for cell in cells(rows)]
    if not complete:
        return "**No cell is complete.**"
    told = {**by_model(complete), "all models": complete}
    sums = [line for name, some in told.items() for line in ("", f"{name}:", "", *_sums(some))]
    return "\n".join([*_rules(complete), *sums, "", *_verdicts(complete), "", *PICTURE])


def outcomes(rows: list[Row]) -> str:
    """The outcomes by cell, then what belongs to no complete cell."""
    complete = [JudgedCell(*cell) for cell in cells(rows)]
    inside = {id(row) for cell in complete for row in (cell.gate, *cell.known.values())}
    rest = [row for row in rows if id(row) not in inside]
    left = ["", "Not in a complete cell yet:", "", _single(rest)] if rest else []
    return "\n".join([*_outcomes(complete), *left])


def by_model(complete: Sequence[JudgedCell]) -> dict[str, list[JudgedCell]]:
    """The cells of each model, in the order in which the models were begun."""
    found: dict[str, list[JudgedCell]] = {}
    for cell in complete:
        found.setdefault(cell.gate["model"], []).append(cell)
    return found


def _rules(complete: Sequence[JudgedCell]) -> Iterator[str]:
    models = by_model(complete)
    heads = " | ".join(f"within noise of the best, {name}" for name in models)
    yield f"| rule | {heads} | cells where only this rule is right | only the gate | p |"
    yield f"|---|{'--:|' * len(models)}--:|--:|--:|"
    for rule in RULES:
        right = [(cell.right(rule), cell.right("gate")) for cell in complete]
        alone = sum(mine is True and gate is not True for mine, gate in right)
        other = sum(gate is True and mine is not True for mine, gate in right)
        beside = ("–", "–", "–") if rule == "gate" else (alone, other, f"{against(complete, rule):.2f}")
        best = [
            f"{sum(cell.right(rule) is True for cell in some)} of {len(some)}" for some in models.values()
        ]
        yield f"| {rule} | {' | '.join((*best, *map(str, beside)))} |"


def _verdicts(complete: Sequence[JudgedCell]) -> Iterator[str]:
    """What training came to behind each verdict: a method paid or did harm, beyond two standard errors."""
    kinds: dict[str, list[JudgedCell]] = {}
    for cell in complete:
        named = {True: ", a method named", False: ", none named"}[bool(cell.gate["stages"])]
        status = cell.gate["status"]
        kinds.setdefault(status + named if status == "fail" else status, []).append(cell)
    yield f"| verdict | cells | something paid | {' | '.join(f'{m} paid, did harm' for m in METHODS)} |"
    yield f"|---|--:|--:|{'--:|' * len(METHODS)}"
    for kind, some in sorted(kinds.items(), key=lambda item: -sum(c.good for c in item[1]) / len(item[1])):
        told = (f"{sum(map(paid, runs))}, {sum(map(harmed, runs))}" for runs in _by_method(some))
        yield f"| {kind} | {len(some)} | {sum(cell.good for cell in some)} | {' | '.join(told)} |"


def _by_method(some: Sequence[JudgedCell]) -> Iterator[list[Row]]:
    for method in METHODS:
        yield [cell.known[method] for cell in some]


def against(complete: Sequence[JudgedCell], rule: str) -> float:
    """Two-sided p of the gate being right as often as that rule: all signs of whole sets, since the cells of
    a set hang together; times the number of rules that it is held against."""
    from probe.stats.resampling import sign_flip

    ahead = [float(cell.right("gate") is True) - float(cell.right(rule) is True) for cell in complete]
    return min(1.0, (len(RULES) - 1) * sign_flip(ahead, [cell.gate["set"] for cell in complete]).p)


def _sums(complete: Sequence[JudgedCell]) -> Iterator[str]:
    told = [(f, cell.outcome) for cell in complete if (f := cell.forecast)]
    held = [low <= outcome <= high for (_, low, high), outcome in told]
    squares = [(value - outcome) ** 2 for (value, *_), outcome in told]
    yield (
        f"Forecast intervals that held the outcome: {sum(held)} of {len(held)}; root mean square of what "
        f"`forecast_accuracy` missed it by: {math.sqrt(sum(squares) / max(len(squares), 1)):.3f}."
    )
    missed = [f"{name} {found:.3f}" for name in FORECASTS if (found := _missed(complete, name)) is not None]
    yield f"Mean miss of the share of margins up after DPO: {', '.join(missed)}." if missed else ""
    passes = {
        good: [c.gate["status"] == "pass" for c in complete if c.good is good] for good in (True, False)
    }
    yield (
        f"Passed where something paid: {sum(passes[True])} of {len(passes[True])}; "
        f"where nothing did: {sum(passes[False])} of {len(passes[False])}."
    )


def _missed(complete: Sequence[JudgedCell], name: str) -> float | None:
    """Mean absolute difference between an estimate of the gates and the outcome; None where none has it."""
    told = [(cell.gate["estimates"].get(name) or [None])[0] for cell in complete]
    misses = [
        abs(value - cell.outcome) for value, cell in zip(told, complete, strict=True) if value is not None
    ]
    return sum(misses) / len(misses) if misses else None


def _outcomes(complete: Sequence[JudgedCell]) -> Iterator[str]:
    heads = ("model", "set (seed)", "pairs trained, held out", "gate", "decision", *METHODS, "within noise")
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|--:|---|---|---|---|---|---|"
    for cell in complete:
        sizes = cell.known["dpo"]["split"]
        told = " | ".join(_told(cell.known[m]) for m in METHODS)
        right = {True: "yes", False: "no", None: "not trained"}[cell.right("gate")]
        yield (
            f"| {cell.gate['model']} | {cell.gate['set']} ({cell.gate['seed']}) "
            f"| {sizes['train']}, {sizes['held_out']} | {cell.gate['status']} "
            f"| {cell.gate['decision']} | {told} | {right} |"
        )


def _single(rows: Sequence[Row]) -> str:
    """A line per row."""
    return "\n".join(f"- {row['model']}, {row['set']}, {row['method']}: {_said(row)}" for row in rows)


def _said(row: Row) -> str:
    if row["method"] != "gate":
        return f"margins up {row['margins_up']:.2f} of {row['n']}; {_told(row)}"
    value = row["estimates"].get("trial_accuracy") or [None]
    number = "no trial" if value[0] is None else f"trial accuracy {value[0]:.2f} on {value[3]} pairs"
    return f"{row['status']}, decision {row['decision']}, {number}"


def figure(rows: list[Row]) -> str:
    """An SVG: per complete cell the forecast with its interval, and what the full DPO run gave (ring)."""
    complete = [JudgedCell(*cell) for cell in cells(rows)]
    first = next(iter(by_model(complete)), "")
    shown = [(_label(cell.gate, first), f, cell.outcome) for cell in complete if (f := cell.forecast)]
    height, left, width = 22 * len(shown) + 40, 210, 330
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {height}" role="img">'
        "<title>Forecast of the share of held-out margins up after DPO, and the outcome</title>"
        "<style>text{font:12px sans-serif;fill:#555}line{stroke:#777}circle{stroke:#b5452c;fill:none}"
        ".dot{fill:#777;stroke:none}</style>"
    ]
    for share in (0.0, 0.5, 1.0):
        x = left + width * share
        parts.append(f'<line x1="{x}" x2="{x}" y1="4" y2="{height - 22}" stroke-dasharray="2 3"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{share:.0%}</text>')
    for row, (name, (value, low, high), outcome) in enumerate(shown):
        y = 18 + 22 * row
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(
            f'<line x1="{left + width * low:.1f}" x2="{left + width * high:.1f}" y1="{y}" y2="{y}"/>'
        )
        parts.append(f'<circle class="dot" cx="{left + width * value:.1f}" cy="{y}" r="3"/>')
        parts.append(f'<circle cx="{left + width * outcome:.1f}" cy="{y}" r="5"/>')
    return "\n".join([*parts, "</svg>", ""])


def _label(gate: Row, first: str) -> str:
    """The set, and a model that is not the first by the first part of its name."""
    return str(gate["set"]) + ("" if gate["model"] == first else f" ({gate['model'].partition('-')[0]})")


def _best(method: str, gains: dict[str, tuple[float, float]]) -> bool:
    """Whether no other method is ahead of this one by two standard errors of the difference."""
    value, error = gains[method]
    return not any(v - value > 1.96 * (e**2 + error**2) ** 0.5 for m, (v, e) in gains.items() if m != method)


def _told(row: Row) -> str:
    found = row["behaviour"]
    ranked = f"{row['ranking'][0]:+.2f}"
    moved = f"{found['up']} : {found['down']} of {found['prompts']}" if found.get("judged") else "not judged"
    return f"{moved}; ranking {ranked}" + (" *" if paid(row) else "")


def beside(old: Iterable[Row], new: Iterable[Row]) -> str:
    """Every gate that both stores have, by other code: verdict, decision, forecast and seconds."""
    before, after = ({row["key"]: row for row in rows if row["method"] == "gate"} for rows in (old, new))
    both = sorted(before.keys() & after.keys())
    keys = [key for key in both if before[key]["code"] != after[key]["code"]]
    changed = sum(_decided(before[key]) != _decided(after[key]) for key in keys)
    lines = [
        f"{len(keys)} gates, {changed} of them decided otherwise.", "",
        "| cell | before | after | forecast before, after | seconds, after / before |",
        "|---|---|---|--:|--:|",
    ]  # fmt: skip
    for key in keys:
        one, other = before[key], after[key]
        told = ", ".join(_forecast(row) for row in (one, other))
        ratio = other["seconds"] / one["seconds"]
        lines.append(f"| {key} | {_decided(one)} | {_decided(other)} | {told} | {ratio:.2f} |")
    return "\n".join(lines)


def _decided(row: Row) -> str:
    return f"{row['status']}, {row['decision']}"


def _forecast(row: Row) -> str:
    value = (row["estimates"].get("forecast_accuracy") or [None])[0]
    return "none" if value is None else f"{value:.2f}"
