"""What a gate behind a server takes: requests timed by a few, and the classifiers of the texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ..probes.bias.gated import TEMPLATE_PAIRS, TEMPLATES
from ..probes.bias.sizes import sizes
from ..probes.cost import clocked
from ..probes.gated import GateRequest

if TYPE_CHECKING:
    from ..scoring.session import Session

TIMED_PAIRS = 8  # pairs asked for, after one that settles how to ask


class SpentOf(Protocol):
    """Seconds of each probe for a request; `most` where the first looks settle nothing."""

    def __call__(self, request: GateRequest, most: bool = False) -> Mapping[str, float]:
        """Seconds by the probe's name."""


def served_seconds(session: Session, text: float) -> SpentOf:
    """The seconds of each probe behind a server, `text` being those of the classifiers.

    Some pairs are asked for past the store, whose scores are kept; what needs weights takes no time.
    """
    n = session.survey.n
    _, reading = clocked(lambda: sum(1 for _ in session.source.pairs()))
    pair = _pair_seconds(session)

    def spent(request: GateRequest, most: bool = False) -> Mapping[str, float]:
        looked = sizes(n, request.effort.looks)[-1 if most else 0]
        again = TEMPLATES * min(n, TEMPLATE_PAIRS)
        return {"data": 6 * reading, "negatives": text, "bias": (looked + again) * pair}

    return spent


def _pair_seconds(session: Session) -> float:
    """Seconds of a pair's two requests, as a gate makes them."""
    from dataclasses import replace

    from ..probes.pace import scored_sides

    some = session.survey.sample[: TIMED_PAIRS + 1]
    sides = scored_sides(session.encoder.many(some))
    if len(sides) < 4:
        return 0.0
    scorer = replace(session.scorer, store=None)
    first, others = sides[:2], sides[2:]
    made = [*scorer.side_logps(first)]
    found, taken = clocked(lambda: scorer.side_logps(others))
    if session.scorer.store:
        session.scorer.store.put(sides, [*made, *found])
    return 2 * taken / len(others)
