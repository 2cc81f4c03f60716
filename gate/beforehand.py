"""What is settled before a gate measures: whether it fits its time, and the training its memory.

Both come from one model and one warm-up. No torch at import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ProbeError
from ..probes.cost import clocked
from ..probes.gated import GateRequest
from ..records import Finding
from ..scoring.options import is_endpoint
from .bill import bill, expected, memory_of, too_large
from .budget import Spent, seconds_of, within
from .plan import not_run

if TYPE_CHECKING:
    from ..scoring.session import Session


@dataclass(frozen=True, slots=True)
class Prepared:
    """The request that is measured, the session and the seconds per probe that are known by now, findings."""

    request: GateRequest
    session: Session | None = None
    seconds: Mapping[str, float] | None = None
    findings: tuple[Finding, ...] = ()


def check_asked(budget: str | None, device_memory: str | None, model: str | None = None) -> None:
    """Raises `ProbeError` where `--budget` is no time or `--device-memory` no size, or a server's."""
    if budget is not None:
        seconds_of(budget)
    if device_memory is not None:
        memory_of(device_memory)
        if is_endpoint(model):
            raise ProbeError(
                "--device-memory: what training takes is measured on the weights, and an endpoint gives "
                "log-probs. Leave it out, or name the weights."
            )


def prepared(
    request: GateRequest, budget: str | None, device_memory: str | None, at_hand: Session | None = None
) -> Prepared:
    """The request cut to the time allowed, and a finding where the training would not fit the memory.

    `at_hand` is a session that is open already. Nothing is loaded where neither is asked for. Raises
    `ProbeError` for a time that no gate can keep, and for quantised weights.
    """
    if budget is None and device_memory is None:
        return Prepared(request, at_hand)
    session, loading = clocked(lambda: at_hand or _opened(request))
    (spent, fitting), measuring = clocked(lambda: expected(session))
    findings = []
    if budget is not None:
        at_most = partial(spent, most=True)
        request, short = _within(seconds_of(budget) - loading - measuring, request, at_most, session.survey.n)
        findings += [short] if short else []
    if device_memory is not None:
        large = too_large(fitting(memory_of(device_memory)), request.full)
        findings += [large] if large else []
    return Prepared(request, session, spent(request), tuple(findings))


def planned(
    request: GateRequest, budget: str | None, device_memory: str | None
) -> tuple[GateRequest, list[str], tuple[Finding, ...]]:
    """The request cut to the time allowed, the lines of its bill, and what is found as `prepared` finds it.

    Raises `ProbeError` as `prepared`.
    """
    session, loading = clocked(lambda: _opened(request))
    known, measuring = clocked(lambda: expected(session))
    short = None
    if budget is not None:
        left = seconds_of(budget) - loading - measuring
        request, short = _within(left, request, partial(known[0], most=True), session.survey.n)
    told, large = bill(session, request, device_memory, known)
    return request, told, tuple(found for found in (short, large) if found)


def _opened(request: GateRequest) -> Session:
    from ..scoring.session import Session

    return Session.open(request.source, request.how, request.seed, served=True)


def _within(allowed: float, request: GateRequest, spent: Spent, n: int) -> tuple[GateRequest, Finding | None]:
    """The request cut to a time, without counting what its model cannot run."""
    unable = not_run(request).keys() - request.off
    cut, short = within(allowed, replace(request, off=request.off | unable), spent, n)
    return replace(cut, off=cut.off - unable), short
