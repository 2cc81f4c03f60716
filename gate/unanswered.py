"""Which conditions of a gate stand in the way of training by the method it decided on."""

from __future__ import annotations

from ..records import Condition, Run

# What a method answers: failing these conditions is why it was chosen, so they do not forbid it.
ANSWERED_BY_METHOD: dict[str, tuple[str, ...]] = {
    "sft": ("PB12", "PB2", "PB5"),
    "sft+dpo": ("PB12",),
    "orpo": ("PB12",),
    "dpop": ("PB503",),
    "dpo+nll": ("PB503",),
}


def unanswered(run: Run) -> list[Condition]:
    """The conditions that keep the gate from passing and that the decided method does not answer."""
    if run.verdict.exit_code == 0:
        return []
    answers = ANSWERED_BY_METHOD.get(run.decision.method if run.decision else "", ())
    open_ = [c for c in run.verdict.conditions if c.gates and c.result in ("fail", "inconclusive")]
    return [c for c in open_ if not (c.code.startswith(answers) and (c.result == "fail" or c.measured))]
