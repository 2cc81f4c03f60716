"""The checks of the pair file as a part of the gate, with what `probe label` was told of the file."""

from __future__ import annotations

from ...records import Measured, together
from ...shared_limits import AGREEMENT
from ..gated import Cost, Effort, GateRequest, Work, part_of


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """No pair goes through the model."""
    return Cost("data", 0, 0, "one reading of the file")


def measure(work: Work) -> Measured:
    """The file's own checks, with those that count tokens where a model is loaded, and what people said."""
    from .run import DataRequest as DataRequest
    from .run import check_data as measure_data

    asked = work.request
    encoder = work.session.encoder if work.loaded else None
    run = measure_data(DataRequest(asked.source.path, asked.fields, template=asked.how.template), encoder)
    work.inputs |= run.inputs
    return together([part_of(run), _labelled(asked)])


def _labelled(asked: GateRequest) -> Measured:
    """The answers of `probe label` to this file, where a whole sample has them; they cost no model."""
    from ..label.file import measure_labelled

    limit = asked.limits.get("agreement", AGREEMENT)
    if limit is False:
        return Measured()
    source = asked.source
    return measure_labelled(source.path, source.pairs, limit=limit, alpha=asked.alpha, seed=asked.seed)
