"""Numerical failure in a log: which step became non-finite, by the arithmetic of the logged loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...training.rules import least_loss
from .case import Case, Sign
from .curve import Row
from .method import LN2

NEXT_NAN = (
    "Load the weights in float32 or bfloat16 (a float16 model under plain AdamW divides 0 by 0: eps "
    "1e-8 is 0 there; float16 belongs in mixed precision only), look for pairs whose response is cut "
    "away entirely, and run `probe data` and a few steps with logging_steps=1 and "
    "logging_nan_inf_filter=False."
)
NEXT_TRANSIENT = (
    "Find the batches at these steps (empty or cut responses, very long ones) and drop them; the "
    "weights survived, so the run need not be repeated for this."
)
NEXT_SCALER = (
    "Under float16 mixed precision a few such steps are the gradient scaler's search and are skipped; "
    "in bfloat16 or float32 look at the batches of these steps."
)
NEXT_IMPOSSIBLE = (
    "Do not read this loss: some steps were not finite and the trainer replaced them by a running "
    "mean or by 0. Repeat a few steps with logging_steps=1, logging_nan_inf_filter=False and float32 "
    "weights."
)
# Mean margins within ± this count as "about 0", where every loss function of DPO's kind is near its start.
AT_REST = 0.25


def numerics(case: Case) -> Sign | None:
    """The sign of a numerical failure, or None.

    PB850 numerical failure: the log holds a loss, gradient norm or log-probability that is not a number.

    Means: a step computed NaN or infinity. Trainers hide it: transformers replaces a NaN loss by the
    running mean since the last entry, so that the first entry after a failure at step m + 1 of k reads
    L·m(k+1)/((m+1)k) for a mean loss L before it, and every later one 0.0. One finite step of DPO gives ln
    2·(k+1)/(2k): 0.3812 for k = 10.
    Why: once the weights are NaN every later step is wasted, and a loss of 0.0 looks like success.
    Do: load weights in float32 or bfloat16, not float16; look for empty or fully truncated responses; log
    every step of the first ten.
    Source: transformers `Trainer`, `logging_nan_inf_filter`; the arithmetic is checked in
    tests/probes/autopsy/test_rules.py.
    """
    bad = [
        (row["step"], prefix, names)
        for prefix, rows in case.places()
        for row in rows
        if (names := _broken(case, row))
    ]
    if not bad:
        return None
    bad.sort(key=lambda item: item[0])
    since = bad[0][0]
    columns = sorted({prefix + name for _, prefix, names in bad for name in names})
    total = sum(len(rows) for _, rows in case.places())
    text = f"{len(bad)} of {total} entries not finite, first at step {since:g} ({_listed(columns)})"
    return Sign(
        "numerics", "PB850", since, "; ".join([text, *_details(case, since)]), _next(case, columns, bad)
    )


def _broken(case: Case, row: Row) -> tuple[str, ...]:
    """The columns of a row that are non-finite and should not be. `logits/*` alone does not count."""
    hidden = row.get("loss") == 0.0 and case.method.family != "online"  # NaN, filtered away
    names = tuple(
        k
        for k, v in row.items()
        if not math.isfinite(v) and (_counts(k) or (hidden and k.startswith("rewards/")))
    )
    # A KTO batch without chosen examples has no chosen logps, which old trainers log as NaN.
    absent = case.method.name == "KTO" and math.isfinite(row.get("grad_norm", math.nan))
    return () if absent and all(n.startswith("logps/") for n in names) else names


def _counts(name: str) -> bool:
    return name in ("loss", "grad_norm") or "logps" in name


def _listed(columns: list[str]) -> str:
    return ", ".join(columns[:4]) + (f" and {len(columns) - 4} more" if len(columns) > 4 else "")


def _next(case: Case, columns: list[str], bad: list[tuple[float, str, tuple[str, ...]]]) -> str:
    if not lasting(case):
        return NEXT_SCALER if columns == ["grad_norm"] else NEXT_TRANSIENT
    return NEXT_NAN


def share(case: Case) -> float:
    """The share of entries, training and evaluation, with a non-finite number that counts."""
    rows = [row for _, part in case.places() for row in part]
    return sum(bool(_broken(case, row)) for row in rows) / len(rows)


def lasting(case: Case) -> bool:
    """Whether the last entry of training (or of an eval-only log) is still not finite."""
    return bool(_broken(case, case.log.rows[-1]))


def _details(case: Case, since: float) -> list[str]:
    rows = case.log.train
    first = next((i for i, row in enumerate(rows) if _broken(case, row)), None)
    told = [_earlier(case, since)]
    if first is not None and all(_broken(case, row) for row in rows[first:]):
        told.append(_arithmetic(case, first))
    return [text for text in told if text]


def _earlier(case: Case, since: float) -> str:
    """Non-finite rewards before the first entry that counts."""
    steps = [
        row["step"]
        for _, rows in case.places()
        for row in rows
        if row["step"] < since
        and any(k.startswith("rewards/") and not math.isfinite(v) for k, v in row.items())
    ]
    return f"rewards already at step {min(steps):g}" if steps and case.method.family != "online" else ""


def _arithmetic(case: Case, first: int) -> str:
    """Which step of the first broken entry failed, derived from the loss that the filter left there."""
    row = case.log.train[first]
    before: Mapping[str, float] = case.log.train[first - 1] if first else {"step": 0.0}
    k = round(row["step"] - before["step"])
    usual = before.get("loss", case.method.idle or math.nan)
    logged = row.get("loss", math.nan)
    if k < 1 or not math.isfinite(logged):
        return ""
    if logged == 0.0:
        steps = f"{before['step'] + 1:g} to {row['step']:g}"
        return f"loss 0.0 there is no success: none of steps {steps} was finite"
    if not (math.isfinite(usual) and usual > 0.0):
        return ""
    return _finite_steps(logged, usual, k, before["step"], named="ln 2" if not first and usual == LN2 else "")


def _finite_steps(logged: float, usual: float, k: int, offset: float, named: str) -> str:
    m = finite_steps(logged, usual, k)
    if m is None:
        return ""
    predicted = filtered_mean(usual, m, k)
    what = named or f"{usual:.4g}"
    exact = bool(named) and abs(predicted - logged) < 6e-5  # logs are rounded to four decimals
    formula = f"{what} × {m}·{k + 1} / ({m + 1}·{k}) = {predicted:.4f}"
    steps = f"{m} finite {'step' if m == 1 else 'steps'} in {k}"
    return (
        f"loss {logged:.4g} is {'exactly' if exact else 'about'} what the NaN filter leaves of {steps} "
        f"({formula}): {'' if exact else 'about '}step {offset + m + 1:g} was the first to fail"
    )


def filtered_mean(loss: float, m: int, k: int) -> float:
    """The loss that transformers logs for `k` steps of which the first `m` had mean `loss` and the rest NaN.

    At step t the sum S becomes S + S/t, so S grows by (t + 1)/t a step: m·L·(k + 1)/(m + 1) after k steps.
    """
    return loss * m * (k + 1) / ((m + 1) * k)


def finite_steps(logged: float, loss: float, k: int) -> int | None:
    """The inverse of `filtered_mean`: how many of `k` steps were finite, or None where no count fits."""
    ratio = logged * k / (loss * (k + 1))
    if not 0.0 < ratio < 1.0:
        return None
    m = round(ratio / (1.0 - ratio))
    return m if 1 <= m < k else None


def impossible(case: Case) -> Sign | None:
    """The sign of a loss that its own margin rules out, or None.

    PB851 impossible loss: a logged DPO loss is lower than its own mean margin allows.

    Means: −log σ is convex, so by Jensen the mean loss is at least −log σ(mean margin): at a margin of 0 it
    cannot be under ln 2. An entry that breaks this was not computed from finite numbers.
    Why: a loss of 0.0 beside a margin of 0.0 was published as "collapse because the pairs were too easy";
    it was NaN, averaged away.
    Do: treat it as a numerical failure: float32 or bfloat16 weights, logging_nan_inf_filter off, first
    steps again.
    Source: Jensen's inequality; Rafailov et al. 2023, eq. 7, for the loss.
    """
    if not case.method.sigmoid:
        return None
    pairs = [
        (row["step"], row["loss"], row["rewards/margins"], prefix)
        for prefix, rows in case.places()
        for row in rows
        if {"loss", "rewards/margins"} <= row.keys()
    ]
    broken = sorted(item for item in pairs if _below_bound(item[1], item[2]))
    if len(broken) < 0.05 * len(pairs) or not broken:
        return None
    since, loss, margin, prefix = broken[0]
    text = (
        f"{prefix}loss {loss:.4g} at step {since:g} with a mean margin of {margin:.3g}: by Jensen it cannot "
        f"be under {least_loss(margin):.4g} ({len(broken)} of {len(pairs)} entries)"
    )
    return Sign("numerics", "PB851", since, text, NEXT_IMPOSSIBLE)


def _below_bound(loss: float, margin: float) -> bool:
    # Only near margin 0: farther out, robust and length-normalised losses honestly differ from the bound.
    return abs(margin) <= AT_REST and loss < least_loss(AT_REST) - 0.05
