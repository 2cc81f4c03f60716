"""What a gate would run, and what that costs, before anything is spent.

The unit is a pair's way through the model, both sides: forward alone, or forward and backward. Counts follow
from the number of pairs; seconds follow from the machine, and each probe says them as it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..training.shipped import recipe

NUMERICS_PAIRS = 4
TEMPLATE_PAIRS, TEMPLATES = 256, 3  # scored again: two other templates and an empty prompt
STATES_PAIRS = 300
GRADIENT_PAIRS = 32
TRIAL_STEPS, NOISE_PAIRS = 24, 16
RACE = (
    5  # steps on both sides of a batch that three candidates make at most, over both halves, per step of one
)


@dataclass(frozen=True, slots=True)
class Cost:
    """One probe's share: pairs forward only, pairs forward and backward, and the same in words."""

    probe: str
    forward: int
    backward: int
    what: str


def costs(n: int, trial_pairs: int = 128) -> tuple[Cost, ...]:
    """The cost of every probe on a file of `n` pairs, in the order in which they run."""
    scored, read, asked = min(n, TEMPLATE_PAIRS), min(n, STATES_PAIRS), min(n, trial_pairs)
    batch = int(recipe("dpo", parameters=None, n=asked // 2)["batch"])  # the recipe at a half's size
    return (
        Cost("data", 0, 0, "one reading of the file"),
        Cost(
            "numerics",
            min(n, NUMERICS_PAIRS),
            min(n, NUMERICS_PAIRS),
            "one training step: forward, backward, update, forward",
        ),
        Cost("bias", n + TEMPLATES * scored, 0, f"every pair scored; {scored} in {TEMPLATES} more templates"),
        Cost("negatives", 2 * read, 0, f"text alone; {read} pairs' states with and without the prompt"),
        Cost("displacement", 0, min(n, GRADIENT_PAIRS), "the gradient of each side"),
        Cost(
            "trial",
            asked,
            RACE * TRIAL_STEPS * min(batch, asked) + min(asked, NOISE_PAIRS),
            f"three methods raced on halves of {asked} pairs, up to {TRIAL_STEPS} steps each, and samples",
        ),
    )


def lines(planned: tuple[Cost, ...], off: frozenset[str]) -> Iterator[str]:
    """The plan as a table, a line a probe, and its sum."""
    on = [cost for cost in planned if cost.probe not in off]
    total = Cost(
        "all", sum(c.forward for c in on), sum(c.backward for c in on), "what is stored costs nothing"
    )
    yield f"{'probe':<12}  {'forward':>7}  {'backward':>8}"
    for cost in (*planned, total):
        numbers = ("–", "–") if cost.probe in off else (f"{cost.forward:,}", f"{cost.backward:,}")
        what = "off; its conditions stay open" if cost.probe in off else cost.what
        yield f"{cost.probe:<12}  {numbers[0]:>7}  {numbers[1]:>8}  {what}"
