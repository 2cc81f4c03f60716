"""Reference log-probs for other trainers: the rows of a pair file with two more columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..pairs.prompts import plain_text
from ..pairs.record import Pair
from ..progress import progress
from ..scoring.scores import PairScore
from ..scoring.session import Session
from .data import total


def with_reference(session: Session) -> Iterator[dict[str, Any]]:
    """Each scored pair as a row with `ref_chosen_logps` and `ref_rejected_logps`, in the file's order.

    They are Σ log p of the response with its end token, and what a chat template writes behind that, under
    its prompt, in nats: what TRL's DPO loss subtracts. Pairs that cannot be scored are left out;
    `session.scorer.met.excluded` names them.
    """
    pairs = {pair.line: pair for pair in session.source.pairs()}
    scorer = session.scorer.under(replace(session.encoder, whole=True), session.scorer.met)
    with progress("reference", session.survey.n) as advance:
        for score in scorer.scores(session.source.pairs(), advance):
            yield _row(pairs[score.line], score)


def _row(pair: Pair, score: PairScore) -> dict[str, Any]:
    row = {
        "prompt": plain_text(pair.prompt), "chosen": plain_text(pair.chosen),
        "rejected": plain_text(pair.rejected),
        **pair.meta, "ref_chosen_logps": total(score.chosen), "ref_rejected_logps": total(score.rejected),
    }  # fmt: skip
    return {key: value for key, value in row.items() if value is not None}
