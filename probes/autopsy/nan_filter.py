"""Which step became non-finite, by the arithmetic of what transformers' NaN filter leaves in the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...number_format import place_text
from ...training.methods import LN2
from .case import Case

ROUNDING = 6e-5  # logs are rounded to four decimals
MOST_STEPS_OF_A_ROW = 10_000  # no trainer logs so seldom
INTERVALS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500)


def failing_step(case: Case, first: int) -> str:
    """What the loss of entry number `first`, the first broken one, says of the step that failed; or ""."""
    row = case.log.train[first]
    logged = row.get("loss", math.nan)
    before: Mapping[str, float] = case.log.train[first - 1] if first else {"step": 0.0}
    usual = before.get("loss", case.method.idle or math.nan)
    named = "ln 2" if not first and usual == LN2 else ""
    if not math.isfinite(logged) or not _filtered_after(case, first):
        return ""
    if case.log.unit != "step":
        return _without_steps(case, logged, usual, named)
    k = round(row["step"] - before["step"])
    if k < 1:
        return ""
    if logged == 0.0:
        steps = f"{place_text(before['step'] + 1)} to {place_text(row['step'])}"
        return f"the loss 0.0 there is not a success: none of steps {steps} was finite"
    if not (math.isfinite(usual) and usual > 0.0):
        return ""
    return _finite_steps(logged, usual, k, before["step"], named, case.log.hints.accumulation or 1)


def _filtered_after(case: Case, first: int) -> bool:
    """Whether every later loss is 0.0, as the filter leaves it once the weights are NaN."""
    return all(row.get("loss", 0.0) == 0.0 for row in case.log.train[first + 1 :])


def _without_steps(case: Case, logged: float, usual: float, named: str) -> str:
    """The interval too is unknown: the shortest usual one that gives the logged loss to its last digit."""
    if logged == 0.0:
        return "the loss 0.0 there is not a success: no step of that entry was finite"
    if not named:
        return ""
    times = case.log.hints.accumulation or 1
    known = case.log.hints.interval
    for k in (known,) if known else INTERVALS:
        m = finite_steps(logged, usual, k, times)
        if m and abs(filtered_mean(usual, m, k, times) - logged) < ROUNDING:
            formula = _formula(named, m, k, times, usual)
            return (
                f"loss {logged:.4g} is exactly what the NaN filter leaves of {_steps(m, k)} ({formula}, "
                f"derived): step {m + 1} of the run was the first to fail"
            )
    return ""


def _finite_steps(logged: float, usual: float, k: int, offset: float, named: str, times: int) -> str:
    m = finite_steps(logged, usual, k, times)
    if m is None:
        return ""
    exact = bool(named) and abs(filtered_mean(usual, m, k, times) - logged) < ROUNDING
    formula = _formula(named or f"{usual:.4g}", m, k, times, usual)
    how, about = ("exactly", "") if exact else ("about", "about ")
    return (
        f"loss {logged:.4g} is {how} what the NaN filter leaves of {_steps(m, k)} ({formula}, "
        f"derived): {about}step {place_text(offset + m + 1)} was the first to fail"
    )


def _steps(m: int, k: int) -> str:
    return f"{m} finite {'step' if m == 1 else 'steps'} in {k}"


def _formula(what: str, m: int, k: int, times: int, usual: float) -> str:
    predicted = filtered_mean(usual, m, k, times)
    if times == 1:
        return f"{what} × {m}·{k + 1} / ({m + 1}·{k}) = {predicted:.4f}"
    return f"{what} × {m} × ({k + 1}/{m + 1})^{times} / {k} = {predicted:.4f}, accumulation {times}"


def filtered_mean(loss: float, m: int, k: int, accumulation: int = 1) -> float:
    """The loss that transformers logs for `k` steps of which the first `m` had mean `loss` and the rest NaN.

    At step t the sum S becomes S + S/t for each micro-batch, so S grows by ((t + 1)/t)^accumulation a step,
    in all by ((k + 1)/(m + 1))^accumulation; beyond every float it is infinite.
    Source: transformers `Trainer`, `logging_nan_inf_filter`.
    """
    try:
        return loss * m * ((k + 1) / (m + 1)) ** accumulation / k
    except OverflowError:
        return math.inf


def finite_steps(logged: float, loss: float, k: int, accumulation: int = 1) -> int | None:
    """The inverse of `filtered_mean`: how many of `k` steps were finite, or None where no count fits."""
    if not (loss > 0.0 and logged > 0.0) or not math.isfinite(loss) or k > MOST_STEPS_OF_A_ROW:
        return None  # each count is tried, so a claim of billions would take as many
    fits = [(abs(filtered_mean(loss, m, k, accumulation) / logged - 1.0), m) for m in range(1, k)]
    error, m = min(fits, default=(math.inf, 0))
    return m if error < 0.25 / (m + 1) + 0.02 else None
