"""Faults of a training set-up that no pair file shows: the trainer's model, reference, labels and rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...records import Finding
from ...training.methods import METHODS
from ..numerics.judge import Plan, check_beta, check_eps, check_range, check_rate

# Mean difference in nats/token above which two models are not the same function: what another batch shape or
# kernel changes lies far below, by the dtype of the weights.
REFERENCE_TOLERANCE = {"float32": 1e-3, "float64": 1e-3}
FAR_IN_HALF = 0.02


@dataclass(frozen=True, slots=True)
class Setup:
    """What was read from a trainer before its first step.

    `trainable` of `weights` parameters are trained; most of the model is in `dtype`. `reference_gap`: mean
    absolute difference of policy and reference log-probs on `compared` pairs, in nats/token; None where there
    is no reference or it could not be read. `unlabelled` of `looked_at` rows have no token that the loss
    counts. `cut` of `rows` rows are longer than the trainer's maximal length.
    """

    plan: Plan
    trainable: int
    weights: int
    dtype: str
    reference_gap: float | None = None
    compared: int = 0
    unlabelled: int = 0
    looked_at: int = 0
    cut: int = 0
    rows: int = 0


def judge_setup(setup: Setup) -> tuple[Finding, ...]:
    """All findings of a set-up, errors first."""
    found = [finding for check in SETUP_CHECKS if (finding := check(setup))]
    return tuple(sorted(found + list(_numerics(setup)), key=lambda f: f.severity != "error"))


def check_reference(setup: Setup) -> Finding | None:
    """PB011 reference is not the start: policy and reference differ before the first step.

    Means: the trainer's reference gives the same responses other log-probs than the model that is to be
    trained. Before a step they should be the same function: the loss would be ln 2 and all rewards 0.
    Why: DPO's reward is the distance from the reference. A run that starts away from the reference is first
    rewarded for returning to it, or for what SFT changed, and not for what the pairs teach.
    Do: give the SFT model as reference. The most frequent cause is an SFT adapter on the policy with
    `ref_model=None`: then the reference is the model *without* the adapter. Merge the adapter, or load it a
    second time under the name `ref`.
    Source: Rafailov et al. 2023, eq. 7; huggingface/trl#1236.
    """
    gap = setup.reference_gap
    if gap is None or gap <= REFERENCE_TOLERANCE.get(setup.dtype, FAR_IN_HALF):
        return None
    text = (
        f"policy and reference differ by {gap:.2g} nats/token on {setup.compared} pairs before the first step"
    )
    return Finding(
        "PB011", "error", text, "Give the starting model as reference; merge an SFT adapter before DPO."
    )


def check_frozen(setup: Setup) -> Finding | None:
    """PB012 nothing is trained: no weight of the model requires a gradient.

    Means: every parameter is frozen, as an adapter is that was loaded without `is_trainable=True`.
    Why: the run takes its full time, its log looks normal, and the model does not change.
    Do: load the adapter with `PeftModel.from_pretrained(…, is_trainable=True)`, or pass a `peft_config`.
    Source: deterministic; peft's documentation of `is_trainable`.
    """
    if setup.trainable:
        return None
    return Finding(
        "PB012",
        "error",
        f"none of the model's {setup.weights:,} weights requires a gradient",
        "Load the adapter with is_trainable=True, or give the trainer a peft_config.",
    )


def check_any_label(setup: Setup) -> Finding | None:
    """PB013 no token is learnt from: rows whose labels are all masked.

    Means: in the batches of the trainer's own collator, these rows have no token that the loss counts.
    Why: such a row gives a loss of 0 or 0/0. Where all rows are masked the loss is 0 from the first step, and
    the run looks as if it had finished before it began.
    Do: check the template's assistant marker (`assistant_only_loss`, `completion_only_loss`) and
    `max_length`: the response must begin before the cut.
    Source: huggingface/transformers#27733 (loss 0.0 from the first row).
    """
    if not setup.unlabelled:
        return None
    everything = setup.unlabelled == setup.looked_at
    return Finding(
        "PB013",
        "error" if everything else "warning",
        f"{setup.unlabelled} of {setup.looked_at} rows that were read have no token that the loss counts",
        "Check the loss mask and max_length: the response must start before the cut.",
    )


def check_cut(setup: Setup) -> Finding | None:
    """PB014 the trainer cuts rows: tokenised rows are longer than the trainer's maximal length.

    Means: counted on the trainer's own tokens: prompt and the longer response exceed `max_length`.
    Why: what is cut is never learned, and the end of the answer is cut first: the model learns answers
    without an end.
    Do: raise `max_length`, or drop the longest rows.
    Source: exact count; more than 5% is the limit that `probe data` uses for truncation.
    """
    if not setup.rows or setup.cut / setup.rows <= 0.05:
        return None
    return Finding(
        "PB014",
        "warning",
        f"{setup.cut} of {setup.rows} rows are longer than the trainer's max_length",
        "Raise max_length or drop the longest rows.",
    )


def check_known(setup: Setup) -> Finding | None:
    """PB015 rate not judged: probe has no recipes for the trainer's method.

    Means: whether learning rate and beta lie in the range of shipped recipes was not measured for this
    trainer; its weights, reference, labels and lengths were.
    Why: a rate that is right for DPO says nothing about a reward model, so the rate is not compared with the
    recipes.
    Do: compare the rate with that of a published run of the same trainer.
    Source: the table of methods in docs/decision-table.md.
    """
    if setup.plan.method in METHODS:
        return None
    text = f"not measured: whether the learning rate suits {setup.plan.method.upper()}; no recipes are known"
    return Finding("PB015", "info", text, "Compare it with a published run of the same trainer.")


def _numerics(setup: Setup) -> Iterator[Finding]:
    """The checks of a plan that need no step."""
    found = (
        check_eps(setup.plan, None) if setup.trainable else None,
        check_rate(setup.plan),
        check_beta(setup.plan),
        check_range(setup.plan),
    )
    yield from (finding for finding in found if finding)


SETUP_CHECKS: tuple[Callable[[Setup], Finding | None], ...] = (
    check_reference,
    check_frozen,
    check_any_label,
    check_cut,
    check_known,
)
