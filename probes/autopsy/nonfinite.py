"""Numerical failure in a log: which step became non-finite, by the arithmetic of the logged loss."""

from __future__ import annotations

import math
import re
from itertools import islice
from statistics import median

from ...number_format import place_text
from ...training.rules import least_loss
from .case import Case, Sign
from .curve import LogRow
from .nan_filter import failing_step

NEXT_NAN = (
    "Load the weights in float32 or bfloat16 (a float16 model under plain AdamW divides 0 by 0: eps "
    "1e-8 is 0 there; float16 belongs in mixed precision only), look for pairs whose response is cut "
    "away entirely, and run `probe data` and a few steps with logging_steps=1 and "
    "logging_nan_inf_filter=False."
)
NEXT_LATER = (
    "The run was sound before: go back to the last checkpoint before that place and look at its batch (empty "
    "or cut responses, very long ones) and at the gradient norms before it. float16 overflows at 65504: use "
    "bfloat16, clip gradients at 1 or lower the learning rate. Log with logging_steps=1 and "
    "logging_nan_inf_filter=False."
)
NEXT_EXPLODED = (
    "The loss was out of its range before that place already, so no checkpoint near it is sound: see since "
    "when, and repeat from before it with the learning rate divided by 3 to 10, gradients clipped at 1, and "
    "bfloat16 or float32 in place of float16. If the first loss is so high, look at the weights, the "
    "vocabulary and the labels."
)
NEXT_FIRST_STEP = (
    "No optimizer step came before, so AdamW is not the cause: the forward or backward pass is broken. Try "
    'another attention kernel (attn_implementation="eager"), bfloat16 or float32 instead of float16, and '
    "DeepSpeed or FSDP without overlapping communication (overlap_comm: false); then one batch by itself."
)
NEXT_UNKNOWN = (
    " If the very first step is not finite already, AdamW is not the cause: then another attention kernel "
    '(attn_implementation="eager"), dtype, and DeepSpeed or FSDP without overlapping communication.'
)
NEXT_TRANSIENT = (
    "Find the batches at these steps (empty or cut responses, very long ones) and drop them; the weights "
    "stayed finite, so the run need not be repeated for this."
)
NEXT_SCALER = (
    "Nothing to correct for one step. Under float16 mixed precision a few such steps are the gradient "
    "scaler's "
    "search and are skipped; in bfloat16 or float32 look at the batches of these steps."
)
NEXT_TURNED = (
    "Loss and margin contradict each other. See whether the margin is logged as rejected less chosen, or the "
    "columns are exchanged; else some steps were not finite."
)
NEXT_IMPOSSIBLE = (
    "Do not read this loss: some steps were not finite and the trainer replaced them by a running "
    "mean or by 0. Repeat a few steps with logging_steps=1, logging_nan_inf_filter=False and float32 "
    "weights."
)
OF_NO_TEXT = 100.0  # nats per token: also a sum over a few micro-batches lies below it
FAR_ABOVE = 3.0  # times the median loss before
# Mean margins within ± this count as "about 0", where every loss function of DPO's kind is near its start.
AT_REST = 0.25


def numerics_sign(case: Case) -> Sign | None:
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
    text = f"{len(bad)} of {total} entries not finite, first at {case.at(since)} ({_listed(columns)})"
    evidence = "; ".join([text, *_details(case, since)])
    return Sign("numerics", "PB850", since, evidence, _next(case, columns), "certain")


def _broken(case: Case, row: LogRow) -> tuple[str, ...]:
    """The columns of a row that are non-finite and should not be. `logits/*` alone does not count."""
    hidden = row.get("loss") == 0.0 and case.method.family != "online"  # NaN, filtered away
    names = tuple(
        k
        for k, v in row.items()
        if not math.isfinite(v) and (_counts(case, k) or (hidden and k.startswith("rewards/")))
    )
    if empty_side(case, row) or skipped(case, row):
        return ()
    return names


def empty_side(case: Case, row: LogRow) -> bool:
    """Whether a row is NaN only because its batch has no chosen, or no rejected, examples: KTO.

    The mean over none is NaN. The gradient is a number all the same, and one side alone is missing.
    """
    sides = {
        k[-8:] for k, v in row.items() if math.isnan(v) and re.match(r"(rewards|logps)/(chosen|rejected)", k)
    }
    if math.isnan(row.get("kl", 0.0)):  # of all examples
        return False
    # Where the log has no gradient, one side alone must be missing, beside a loss that is a number.
    alone = len(sides) == 1 and math.isfinite(row.get("loss", math.nan))
    if case.method.name != "KTO" or not (
        alone if "grad_norm" not in row else math.isfinite(row["grad_norm"])
    ):
        return False
    return bool(sides) or (math.isnan(row.get("loss", 0.0)) and case.log.has("kl"))


def skipped(case: Case, row: LogRow) -> bool:
    """Whether a row is one of few whose gradient alone is not finite, its loss and all later ones sound.

    A gradient scaler, and every trainer that clips, skips such a step: the weights never saw it.
    """
    own = math.isfinite(row.get("grad_norm", 0.0)) or row.get("loss") == 0.0
    if own or not all(math.isfinite(v) for k, v in row.items() if k == "loss" or "logps" in k):
        return False  # what one row says comes before what all of them say: logs are long
    last = next((r for r in reversed(case.log.train) if "grad_norm" in r), row)
    if len(case.log.train) <= 2 or not math.isfinite(last.get("grad_norm", 0.0)):
        return False
    broken = (r for r in case.log.train if not math.isfinite(r.get("grad_norm", 0.0)))
    most = int(max(1, 0.05 * len(case.log.train)))
    met = list(islice(broken, most + 1))
    return len(met) <= most and any(r is row for r in case.log.train)


def _counts(case: Case, name: str) -> bool:
    # Of an online run there are losses of the policy, the critic and the KL term, each with a gradient.
    part = case.method.family == "online" and re.search(r"(^|[/_])(loss|grad_norm)$", name)
    return name in ("loss", "grad_norm") or "logps" in name or bool(part)


def _listed(columns: list[str]) -> str:
    return ", ".join(columns[:4]) + (f" and {len(columns) - 4} more" if len(columns) > 4 else "")


def _next(case: Case, columns: list[str]) -> str:
    if not lasting(case):
        return NEXT_SCALER if columns == ["grad_norm"] else NEXT_TRANSIENT
    if before_any_update(case):
        return NEXT_FIRST_STEP
    sound = case.log.train and not _broken(case, case.log.train[0])
    if sound:
        return NEXT_EXPLODED if _exploded(case) else NEXT_LATER
    known = case.log.unit == "step" or (case.log.train and failing_step(case, 0))
    return NEXT_NAN if known else NEXT_NAN + NEXT_UNKNOWN


def _exploded(case: Case) -> bool:
    """Whether the losses before the failure had left their range: far above the usual, or any text's."""
    if case.method.family == "online":
        return False
    first = next(i for i, row in enumerate(case.log.train) if _broken(case, row))
    losses = [v for row in case.log.train[:first] if math.isfinite(v := row.get("loss", math.nan))]
    tall = case.method.family == "supervised" and bool(losses) and losses[-1] > OF_NO_TEXT
    return tall or (len(losses) > 5 and median(losses[-3:]) > FAR_ABOVE * median(losses))


def before_any_update(case: Case) -> bool:
    """Whether the first broken entry comes before an optimizer step could have broken the weights.

    So at a learning rate of 0, and at step 1, whose forward and backward run on the weights as loaded.
    """
    row = next((row for row in case.log.train if _broken(case, row)), None)
    if row is None or row is not case.log.train[0]:
        return False
    # The filter leaves 0 only where the very first step was not finite already.
    first = case.log.unit == "step" and row["step"] <= 1
    return first or case.unmoved(row) or row.get("loss") == 0.0


def nonfinite_share(case: Case) -> float:
    """The share of entries, training and evaluation, with a non-finite number that counts."""
    rows = [row for _, part in case.places() for row in part]
    return sum(bool(_broken(case, row)) for row in rows) / len(rows)


def lasting(case: Case) -> bool:
    """Whether a column of training (or of an eval-only log) is not finite in the last entry that holds it.

    The very last entry need not hold it: a logger may write the loss on one line and accuracies on the next.
    """
    broken = [(row, names) for row in case.log.rows if (names := _broken(case, row))]
    last = {name: row for row in case.log.rows for name in row}
    return any(row is last[name] for row, names in broken for name in names)


def _details(case: Case, since: float) -> list[str]:
    rows = case.log.train
    first = next((i for i, row in enumerate(rows) if _broken(case, row)), None)
    told = [_earlier(case, since)]
    if before_any_update(case) and first is not None and case.unmoved(rows[first]):
        told.append("learning_rate 0 there, so that no update came before")
    if first is not None and all(_broken(case, row) for row in rows[first:]):
        told.append(failing_step(case, first))
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
    return (
        f"rewards already at step {place_text(min(steps))}"
        if steps and case.method.family != "online"
        else ""
    )


def impossible_sign(case: Case) -> Sign | None:
    """The sign of a loss that its own margin rules out, or None.

    PB851 impossible loss: a logged DPO loss is lower than its own mean margin allows.

    Means: −log σ is convex, so by Jensen the mean loss is at least −log σ(mean margin): at a margin of 0 it
    cannot be under ln 2, at a negative one still less. An entry that breaks this was not computed from finite
    numbers, or its margin is that of rejected less chosen.
    Why: a loss of 0.0 beside a margin of 0.0 was published as "collapse because the pairs were too easy";
    it was NaN, averaged away.
    Do: treat it as a numerical failure: float32 or bfloat16 weights, logging_nan_inf_filter off, first
    steps again.
    Source: Jensen's inequality; Rafailov et al. 2023, eq. 7, for the loss.
    """
    if not case.method.sigmoid:
        return None
    if sign := _wrong_pairs(case):
        return sign
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
        f"{prefix}loss {loss:.4g} at {case.at(since)} with a mean margin of {margin:.3g}: by Jensen it "
        f"cannot be under {least_loss(margin):.4g} (derived; {len(broken)} of {len(pairs)} entries)"
    )
    return Sign("numerics", "PB851", since, text, NEXT_IMPOSSIBLE if margin >= 0 else NEXT_TURNED, "certain")


def _wrong_pairs(case: Case) -> Sign | None:
    """A loss that its accuracy rules out: every pair that is ranked wrong costs ln 2 or more."""
    rows = [row for row in case.log.train if {"loss", "rewards/accuracies"} <= row.keys()]
    bad = [row for row in rows if row["loss"] < 0.1 and row["rewards/accuracies"] <= 0.5]
    if len(bad) < max(2.0, 0.05 * len(rows)) or case.log.has("rewards/margins"):
        return None
    loss, accuracy = bad[0]["loss"], bad[0]["rewards/accuracies"]
    least = (1.0 - accuracy) * math.log(2.0)
    text = (
        f"loss {loss:.4g} at {case.at(bad[0]['step'])} with an accuracy of {accuracy:.3g}: every pair that "
        f"is ranked wrong costs ln 2 or more, so it cannot be under {least:.4g} (derived; {len(bad)} of "
        f"{len(rows)} entries)"
    )
    return Sign("numerics", "PB851", bad[0]["step"], text, NEXT_IMPOSSIBLE, "certain")


def _below_bound(loss: float, margin: float) -> bool:
    # Not far above 0: there, robust and length-normalised losses honestly differ from the bound. Far below 0
    # the bound's size may differ too, but every loss that falls with the margin costs more than at 0.
    least = least_loss(AT_REST) if margin >= -AT_REST else math.log(2.0)
    return margin <= AT_REST and loss < least - 0.05
