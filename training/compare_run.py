"""One model measured for `probe compare`: the pairs as `probe bias` scores them, watched texts, answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..gate.compare_run import Request
from ..gate.sides import Measurement, Side, by_id
from ..pairs.record import text_of
from ..progress import progress
from ..scoring.bias_run import BiasOptions, measure_in
from ..scoring.sampling import Answer, Draw, sample
from ..scoring.session import Session, score_row
from .stages import encoded_texts
from .texts import read_texts


def measure_model(side: Side, request: Request) -> Measurement:
    """Score the pairs and the watched texts, and sample answers. Raises as `probe bias` does."""
    how = replace(request.how, model=side.model, adapter=side.adapter)
    session = Session.open(request.source, how, request.seed)
    plain = BiasOptions(templates="none", corrected=False, seed=request.seed)
    found = measure_in(session, plain)
    texts = encoded_texts(read_texts(request.watch), session.encoder) if request.watch else []
    watched = [logps.astype(np.float64) for logps in session.scorer.side_logps(texts)]
    rows = by_id(map(score_row, found.scores))
    return Measurement(found.run, rows, watched, _answers(session, request))


def _answers(session: Session, request: Request) -> list[tuple[int, ...]]:
    """One answer at temperature 1 to each of the first prompts, each drawn from the same numbers for both."""
    prompts = {text_of(pair.prompt): pair for pair in session.survey.first if pair.prompt}
    some = list(prompts.values())[: request.samples]
    codes = [encoded.chosen for encoded in session.encoder.many(some)]
    draws = [Draw(code.ids[: code.start], 1.0, request.seed + i) for i, code in enumerate(codes)]
    found: dict[int, Answer] = {}
    with progress("sampling", len(draws), "answers") as advance:
        for part in sample(session.loaded, draws, tokens=request.tokens):
            found |= part
            advance(len(part))
    return [found[i].ids for i in range(len(draws))]
