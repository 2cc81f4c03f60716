"""What is settled before a gate measures: the time that is left of the time allowed, and what is told."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from probe.errors import ProbeError
from probe.gate import beforehand
from probe.gate.beforehand import Prepared, check_asked, prepared
from probe.probes.gated import GateRequest
from probe.records import Finding
from probe.scoring import session
from probe.scoring.session import ModelOptions, Source

REQUEST = GateRequest(Source.of(Path("p.jsonl"), None, None, False), ModelOptions())
CUT = replace(REQUEST, trial_pairs=8)
SHORT, LARGE = (Finding(code, "info", code, "do") for code in ("PB611", "PB010"))


@pytest.fixture
def asked(monkeypatch):
    """Loading takes 7 s and the warm-up 5 s; what `within` and `fitting` are given is kept."""
    seen = SimpleNamespace(allowed=None, memory=None, short=SHORT, large=LARGE)
    took = iter((7.0, 5.0))

    def within(allowed, request, spent):
        seen.allowed = allowed
        return CUT, seen.short

    def fitting(memory):
        seen.memory = memory
        return "fits"

    monkeypatch.setattr(session.Session, "open", lambda *_: "session")
    monkeypatch.setattr(beforehand, "clocked", lambda work: (work(), next(took)))
    monkeypatch.setattr(beforehand, "expected", lambda _: (lambda request: {"of": request}, fitting))
    monkeypatch.setattr(beforehand, "within", within)
    monkeypatch.setattr(beforehand, "too_large", lambda fits, full: seen.large)
    return seen


def test_nothing_is_loaded_where_nothing_is_asked(asked):
    assert prepared(REQUEST, None, None) == Prepared(REQUEST)


@pytest.mark.parametrize(
    ("budget", "memory", "request_", "codes"),
    [
        ("1m", None, CUT, [SHORT]),
        (None, "2GiB", REQUEST, [LARGE]),
        ("1m", "2GiB", CUT, [SHORT, LARGE]),
    ],
)
def test_what_is_asked_is_answered_with_what_is_left_of_the_time(asked, budget, memory, request_, codes):
    found = prepared(REQUEST, budget, memory)
    assert found == Prepared(request_, "session", {"of": request_}, tuple(codes))
    assert asked.allowed == (60 - 7 - 5 if budget else None)
    assert asked.memory == (2 * 2**30 if memory else None)


def test_what_fits_is_no_finding(asked):
    asked.short = asked.large = None
    assert prepared(REQUEST, "1m", "2GiB").findings == ()


@pytest.mark.parametrize(
    ("budget", "memory", "told"), [("soon", None, "is not a time"), (None, "big", "is not a size")]
)
def test_what_is_no_time_or_size_is_told_before_anything_is_loaded(budget, memory, told):
    check_asked("5m", "24GiB")
    with pytest.raises(ProbeError, match=told):
        check_asked(budget, memory)
