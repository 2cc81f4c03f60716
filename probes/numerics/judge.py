"""Would this run survive its first step? What the plan alone shows, and what one step on a few pairs showed.

Deterministic: every finding is a number that is not finite, weights that did not move, or a setting that
cannot train. `first_step` makes the `FirstStep`; judging it needs no torch. Codes PB00x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from ...errors import ProbeError
from ...records import Estimate, Finding, Measured
from ...training.methods import METHODS, method_of
from .taken import FirstStep

DType = Literal["float32", "bfloat16", "float16", "float64"]

ROUNDS_TO_ZERO = {"float16": 2.0**-25}  # what rounds to 0: half the least subnormal
STEP_PAIRS = 4  # that the step is tried on
FAR_RATE = 10.0  # times beyond the range of learning rates that recipes ship with
MOVED = 0.01  # share of the weights with a gradient that must change
LN2_TOLERANCE = {"float32": 1e-3, "float64": 1e-6, "bfloat16": 0.05, "float16": 0.05}


@dataclass(frozen=True, slots=True)
class Plan:
    """The run to be made: `dtype` of the weights, `lora_rank` (None: all weights are trained), AdamW's `eps`.

    `fused`: the optimizer computes in float32 whatever the weights are. Of a `method` not in `METHODS`
    (a reward model's, say) neither rate nor beta are judged.
    """

    method: str = "dpo"
    learning_rate: float = 5e-6
    beta: float = 0.1
    dtype: DType = "float32"
    lora_rank: int | None = 16
    eps: float = 1e-8
    fused: bool = False

    @classmethod
    def of(
        cls, method: str, learning_rate: float, beta: float, dtype: str, full: bool, fused: bool = False
    ) -> Plan:
        """A plan from options as they were typed. Raises `ProbeError` for an unknown method or dtype."""
        method_of(method)
        if dtype not in LN2_TOLERANCE:
            raise ProbeError(f"--train-dtype {dtype}: unknown. Use {', '.join(LN2_TOLERANCE)}.")
        return cls(method, learning_rate, beta, cast(DType, dtype), None if full else 16, fused=fused)

    @property
    def trained_dtype(self) -> str:
        """The dtype of the trained weights: peft keeps adapters of half-precision models in float32."""
        return self.dtype if self.lora_rank is None or self.dtype == "float64" else "float32"


def judge_plan(plan: Plan) -> tuple[Finding, ...]:
    """What the configuration alone shows; no model, no data."""
    checks = (check_rate(plan), check_beta(plan), check_range(plan), check_eps(plan, None))
    return tuple(finding for finding in checks if finding)


def judge_numerics(plan: Plan, step: FirstStep) -> Measured:
    """Estimates and findings of a plan and its first step; the plan's own findings are among them."""
    causes = [
        check_masked(step),
        check_overflow(plan, step),
        check_eps(plan, step),
        check_rate(plan),
        check_beta(plan),
        check_range(plan),
        check_start(plan, step),
        check_rounding(plan, step),
    ]
    found = [finding for finding in causes if finding]
    if not any(f.severity == "error" for f in found) and (unknown := check_finite(step)):
        found.append(unknown)
    estimates = (
        Estimate("initial_loss", step.loss, None, None, step.tried, None, "one forward", "nats"),
        Estimate(
            "weights_moved", step.moved, None, None, step.tried, None, "one optimizer step, exact", "share"
        ),
    )
    return Measured(estimates, tuple(found))


def check_eps(plan: Plan, step: FirstStep | None) -> Finding | None:
    """PB001 eps is zero: AdamW on float16 weights divides zero by zero.

    Means: the optimizer's eps rounds to 0 in the dtype of the trained weights. For a weight whose gradient is
    0 (a vocabulary row that the batch does not have), or so small that its square is 0, the first update is
    0/0.
    Why: one such weight is enough: from the second step on every log-prob is NaN. Trainers may hide it, since
    transformers logs a running mean in place of a NaN loss.
    Do: train float32 weights (LoRA, or float16 only as mixed precision), use bfloat16, or use a fused
    optimizer, which computes in float32.
    Source: AdamW's update m/(√v + eps) in float16, where 1e-8 is below half the least subnormal (3e-8); a
    published DPO failure had this cause; reproduced in tests/probes/numerics/test_first_step.py.
    """
    if plan.fused or plan.eps > ROUNDS_TO_ZERO.get(plan.trained_dtype, 0.0):
        return None
    if step is not None and step.weights_finite is not False:
        return None
    seen = ""
    if step is not None:
        seen = f"; {step.zero_gradients:,} of {step.weights:,} weights have gradient 0 and became NaN"
    return Finding(
        "PB001",
        "error",
        f"AdamW's eps {plan.eps:g} is rounded to 0 in {plan.trained_dtype}, so that a zero gradient gives "
        f"0/0{seen}",
        "Train float32 weights (LoRA or mixed precision), bfloat16, or use fused AdamW.",
    )


def check_overflow(plan: Plan, step: FirstStep) -> Finding | None:
    """PB002 overflow: a number leaves the range of float16.

    Means: the forward pass, or the gradient, is not finite in the planned dtype; the forward pass in float32
    is. float16 ends at 65,504.
    Why: attention scores, norms of wide models and logits reach that; every later number is then infinite or
    NaN.
    Do: use bfloat16, which has the range of float32, or float32; under mixed precision, use a loss scaler for
    the gradients.
    Source: IEEE 754 half precision; trl#878, #1473, #3236.
    """
    if step.bad_module and step.fine_in_float32:
        where = f"first in {step.bad_module}"
    elif step.gradients_finite is False and plan.trained_dtype == "float16":
        where = "in the gradient"
    else:
        return None
    text = f"not finite in {plan.dtype}, {where}; finite in float32"
    return Finding("PB002", "error", text, "Use bfloat16 or float32.")


def check_rounding(plan: Plan, step: FirstStep) -> Finding | None:
    """PB003 updates round away: the weights are the same after the step as before.

    Means: of the weights that have a gradient, fewer than {MOVED:.0%} changed in one optimizer step at the
    full learning rate; or no weight has a gradient at all, though the sides of the pairs differ.
    Why: AdamW changes a weight by about the learning rate. In bfloat16 a weight of 0.02 needs a step of
    more than 6e-5 to change at all; smaller steps are lost every time, and the run trains nothing without an
    error.
    Do: train float32 weights: LoRA (peft keeps adapters in float32), or float32 with bfloat16 autocast.
    Source: bfloat16 has 8 bits of significand; half a unit in the last place is 2^-9 to 2^-8 of the weight.
    """
    if plan.learning_rate == 0 or plan.beta == 0:
        return None
    kind = plan.trained_dtype
    if step.without_gradient:
        exact = plan.dtype in ("float32", "float64")
        remedy = "Train weights that the log-probs depend on." if exact else "Train in float32."
        return Finding(
            "PB003", "error", f"no weight has a gradient in {plan.dtype}: nothing is trained", remedy
        )
    if step.moved is None or step.moved >= MOVED:
        return None
    text = f"{step.moved:.2%} of the weights moved in a step of {plan.learning_rate:g} in {kind}"
    return Finding("PB003", "error", text, "Train float32 weights: LoRA, or float32 with bfloat16 autocast.")


def check_masked(step: FirstStep) -> Finding | None:
    """PB004 nothing to score: a side has no token left after masking, or no pair has two different sides.

    Means: after truncation a response has no scored token, so its mean log-prob is 0/0; or both sides of
    every pair that was looked at are the same tokens, so that no step can be tried.
    Why: in a loss that averages over tokens one such row makes the batch NaN; in a sum it trains nothing.
    Do: raise the maximal length, cut prompts from the left, or drop the pairs.
    Source: trl#5662 (NaN: everything truncated).
    """
    if step.alike and len(step.empty) + step.alike == step.n:
        text = f"both sides of {step.alike} of {step.n} pairs are the same tokens, so no step can be tried"
        return Finding("PB004", "error", text, "Give pairs whose sides differ.")
    if not step.empty:
        return None
    shown = ", ".join(step.empty[:5])
    return Finding(
        "PB004",
        "error",
        f"{len(step.empty)} of {step.n} pairs have a side without a scored token: {shown}",
        "Raise the maximal length or drop these pairs.",
        worst_pairs=step.empty,
    )


def check_rate(plan: Plan) -> Finding | None:
    """PB005 no learning rate: the learning rate is 0, negative or not a number.

    Means: the configured peak learning rate cannot move a weight, or moves it uphill.
    Why: the run takes its full time and leaves the model unchanged, while its log looks normal.
    Do: set a learning rate; `probe gate` recommends one for the method.
    Source: deterministic. A published log had learning rate 0 from its first entry on.
    """
    if math.isfinite(plan.learning_rate) and plan.learning_rate > 0:
        return None
    return Finding(
        "PB005", "error", f"the learning rate is {plan.learning_rate:g}", "Set a learning rate above 0."
    )


def check_beta(plan: Plan) -> Finding | None:
    """PB006 no beta: β is 0, negative or not a number.

    Means: β scales the margin inside the loss. At 0 the loss is ln 2 whatever the model does, and its
    gradient is 0; below 0 it teaches the rejected side.
    Why: the loss stays at 0.6931 and nothing is learnt.
    Do: use 0.1 for DPO on LoRA and 0.5 for the smallest models; `probe gate` recommends a value.
    Source: Rafailov et al. 2023, eq. 7; trl#1311, #1627 (stuck at 0.6931).
    """
    method = METHODS.get(plan.method)
    if not method or "beta" not in method.constants or (math.isfinite(plan.beta) and plan.beta > 0):
        return None
    return Finding("PB006", "error", f"beta is {plan.beta:g}", "Set a beta above 0, e.g. 0.1.")


def check_range(plan: Plan) -> Finding | None:
    """PB007 learning rate far out: the rate is far outside the range that recipes use for this method.

    Means: the learning rate is over {FAR_RATE:g} times the highest, or below the lowest divided by
    {FAR_RATE:g}, that public recipes use for this method and these weights (all, or LoRA).
    Why: at too high a rate the model falls into repetition within tens of steps; at too low a rate nothing is
    learned.
    Do: choose a rate inside the range that the message gives.
    Source: recipes of alignment-handbook, open-instruct, SimPO, ORPO, LlamaFactory, Axolotl, torchtune, TRL.
    """
    if (method := METHODS.get(plan.method)) is None:
        return None
    low, high = method.rates[0] if plan.lora_rank is None else method.rates[1]
    if not plan.learning_rate > 0 or low / FAR_RATE <= plan.learning_rate <= high * FAR_RATE:
        return None
    kind = "all weights" if plan.lora_rank is None else "LoRA"
    return Finding(
        "PB007",
        "warning",
        f"learning rate {plan.learning_rate:g} is far outside {low:g} to {high:g}, the range of published "
        f"recipes for {plan.method} on {kind}",
        "Start inside that range.",
    )


def check_start(plan: Plan, step: FirstStep) -> Finding | None:
    """PB008 wrong start: DPO's loss at step 0 is not ln 2.

    Means: before the first update the policy is the reference, so each pair's loss is −log σ(0) = ln 2. It is
    not.
    Why: policy and reference are then not the same function: dropout is on, an adapter is not at its start,
    or the two are computed in different precision. Margins are measured against the wrong zero.
    Do: switch dropout off, start the adapter from zero, compute both sides alike.
    Source: Rafailov et al. 2023, eq. 7.
    """
    if not method_of(plan.method).starts_at_ln2 or step.loss is None or plan.beta == 0:
        return None
    off = abs(step.loss - math.log(2))
    if not math.isfinite(step.loss) or off <= LN2_TOLERANCE[plan.dtype]:
        return None
    text = f"the loss at step 0 is {step.loss:.4f}, not ln 2 = 0.6931"
    return Finding("PB008", "error", text, "Start training with a policy that equals the reference.")


def check_finite(step: FirstStep) -> Finding | None:
    """PB009 not finite: a number of the first step is not finite, for none of the known causes.

    Means: log-probs, loss, gradient or weights are NaN or infinite, in float32 too.
    Why: no number that is computed after it can be used.
    Do: look at the weights of the module that the message names; load the model again from its source.
    Source: deterministic.
    """
    if step.bad_module:
        place = f"the forward pass, first in {step.bad_module}"
    elif step.gradients_finite is False:
        place = "the gradient"
    elif step.weights_finite is False:
        place = "the weights after the step"
    elif step.after_finite is False:
        place = "the forward pass after the step"
    else:
        return None
    return Finding(
        "PB009",
        "error",
        f"there are numbers that are not finite in {place}",
        "Load the weights again; try float32.",
    )
