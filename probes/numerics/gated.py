"""The first training step as a part of the gate."""

from __future__ import annotations

from ...pairs.record import Pair
from ...records import Measured
from ...scoring.source import Survey
from ..gated import Cost, Effort, Work
from .judge import STEP_PAIRS

SAMPLED_PAIRS = 16  # pairs looked at; the step itself takes the first ones that can be scored


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """One step on a few pairs."""
    some = min(n, STEP_PAIRS)
    return Cost("numerics", some, some, "one training step: forward, backward, update, forward")


def measure(work: Work) -> Measured:
    """One step of DPO as the recipe for this model would take it, in the dtype that is asked for."""
    from ...training.shipped import shipped_values
    from .first_step import first_step
    from .judge import Plan, judge_numerics

    request, session = work.request, work.session
    values = shipped_values(
        "dpo",
        parameters=session.loaded.facts.get("parameters"),
        n=session.survey.n,
        tuning="full" if request.full else "lora",
    )
    planned = Plan(
        learning_rate=values["learning_rate"],
        beta=request.beta,
        dtype=session.loaded.facts["dtype"],
        lora_rank=None if request.full else values["lora_rank"],
    )
    encoded = [session.encoder(pair) for pair in _some(session.survey)]
    return judge_numerics(planned, first_step(session.loaded.model, encoded, planned))


def _some(survey: Survey) -> list[Pair]:
    """The first pairs of the file whose sides differ, where those that were read have any."""
    seen = {pair.line: pair for pair in (*survey.first, *survey.sample)}
    unlike = [pair for pair in seen.values() if pair.chosen != pair.rejected]
    return (unlike or list(survey.first))[:SAMPLED_PAIRS]
