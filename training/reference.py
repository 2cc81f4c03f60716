"""Reference log-probs for other trainers: the rows of a pair file with two more columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..errors import ProbeError
from ..pairs.prompts import plain_text
from ..pairs.record import Pair
from ..progress import progress
from ..scoring.encode import Encoder
from ..scoring.session import Session
from ..scoring.templates import Chat, messages
from .data import total


def with_reference(session: Session) -> Iterator[dict[str, Any]]:
    """Each scored pair as a row with `ref_chosen_logps` and `ref_rejected_logps`, in the file's order.

    A row has the form that it was scored in: messages under the chat template, else the texts before and
    after the boundary, so that TRL makes the same ids of it. The columns are Σ log p of the response with
    its end token, and what a chat template writes behind that, under its prompt, in nats: what TRL's DPO
    loss subtracts. Pairs that cannot be scored are left out; `session.scorer.met.excluded` names them.

    Raises `ProbeError` where rows take both forms, since a trainer reads all as it reads the first.
    """
    encoder = replace(session.encoder, whole=True)
    rows: dict[int, dict[str, Any]] = {}
    for pair in session.source.pairs():
        rows[pair.line] = _as_scored(pair, encoder)
        _check_form(pair, rows[pair.line], next(iter(rows.values())))
    scorer = session.scorer.under(encoder, session.scorer.met)
    with progress("reference", session.survey.n) as advance:
        for score in scorer.scores(session.source.pairs(), advance):
            yield rows[score.line] | {
                "ref_chosen_logps": total(score.chosen), "ref_rejected_logps": total(score.rejected)
            }  # fmt: skip


def _as_scored(pair: Pair, encoder: Encoder) -> dict[str, Any]:
    given = encoder.texts(pair)
    if isinstance(given, Chat):
        told = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
        row = {name: plain_text(tuple(messages(getattr(pair, name), role))) for name, role in told.items()}
    else:
        chosen, rejected = (side.text.removeprefix(side.before) for side in given)
        row = {"prompt": given[0].before, "chosen": chosen, "rejected": rejected}
    # A column of these names may be beside those that were mapped; it is none that was scored.
    return {**row, **{n: value for n, value in pair.meta.items() if value is not None and n not in row}}


def _check_form(pair: Pair, row: dict[str, Any], first: dict[str, Any]) -> None:
    forms = ["text" if isinstance(one["chosen"], str) else "chat messages" for one in (row, first)]
    if forms[0] != forms[1]:
        raise ProbeError(
            f"line {pair.line}: this row is scored as {forms[0]}, those before it as {forms[1]}, and a "
            "trainer reads all rows as the first. Write all of them in one form, or use --template raw."
        )
