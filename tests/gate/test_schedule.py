"""The seconds of a gate are told before it begins and with each probe, without what is kept already."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from paces import PACE

from probe.gate import schedule as schedules
from probe.gate.bill import probe_seconds
from probe.gate.registry import PROBES
from probe.gate.schedule import Schedule
from probe.probes.gated import GateRequest
from probe.scoring.session import ModelOptions, Source


def test_the_whole_stands_before_the_parts_and_each_part_says_how_far_it_is():
    timed = Schedule({"negatives": 40.0, "bias": 25.0})
    assert re.fullmatch(r"about 65 s .*: negatives 40 s, bias 25 s\n", timed.opening())
    assert timed.at("negatives") == "; about 40 s (0 s of about 65 s gone)"
    late = Schedule(timed.expected, started=time.monotonic() - 70)  # what was expected to take 40
    assert late.at("bias") == "; about 25 s (70 s of about 95 s gone)"
    assert timed.at("data") == "" and Schedule().opening() == ""


BY_NAME = {probe.name: probe for probe in PROBES}


@pytest.fixture
def work(monkeypatch):
    """Work on 40 pairs whose warm-up gives `PACE` and 7 s of classifying; nothing is kept."""
    source = Source.of(Path("p.jsonl"), None, None, False)
    made = SimpleNamespace(request=GateRequest(source, ModelOptions()), pairs=40, session=None)
    monkeypatch.setattr("probe.probes.half.gate_pace", lambda session, writes, scores: PACE)
    monkeypatch.setattr(schedules, "text_seconds", lambda session, n: 7.0)
    monkeypatch.setattr(schedules, "part_name", lambda probe, work: probe.name if probe.keeps else "")
    monkeypatch.setattr(schedules.cache, "read", lambda name: None)
    return made


def test_a_step_is_worth_three_forwards_and_texts_are_classified_with_the_negatives(work, monkeypatch):
    expected = schedules.schedule_probes(work, PROBES).expected
    assert expected == {
        name: value
        for name, value in probe_seconds(work.request, 40, PACE, 3e-3, 7.0).items()
        if name != "data" and value > 0
    }
    monkeypatch.setattr(schedules, "text_seconds", lambda session, n: 1 / 0)  # nothing else reads texts
    alone = schedules.schedule_probes(work, [BY_NAME["trial"]]).expected
    assert alone == {"trial": expected["trial"]}


def test_a_part_that_is_kept_is_not_expected_and_all_kept_need_no_warm_up(work, monkeypatch):
    monkeypatch.setattr(
        schedules.cache, "read", lambda name: ("part", "yesterday") if name == "trial" else None
    )
    assert "trial" not in schedules.schedule_probes(work, PROBES).expected
    monkeypatch.setattr("probe.probes.half.gate_pace", None)
    assert schedules.schedule_probes(work, [BY_NAME["trial"], BY_NAME["data"]]).expected == {}


def test_a_bill_made_already_is_taken_and_a_warm_up_that_fails_expects_nothing(work, monkeypatch):
    known = {"trial": 60.0, "bias": 3.0, "effects": 0.0}
    assert schedules.schedule_probes(work, PROBES, known).expected == {"bias": 3.0, "trial": 60.0}
    monkeypatch.setattr("probe.probes.half.gate_pace", lambda session, writes, scores: 1 / 0)
    assert schedules.schedule_probes(work, PROBES).expected == {}


def test_the_name_of_a_part_depends_on_the_request_and_is_none_without_a_cache(monkeypatch):
    monkeypatch.setattr(schedules.cache, "entry_name", lambda name, depends: f"{name}-{depends}")
    source = Source.of(Path("p.jsonl"), None, None, False)

    def named(probe, **how):
        request = GateRequest(source, ModelOptions(**how))
        return schedules.part_name(BY_NAME[probe], SimpleNamespace(request=request, depends=lambda: "d"))

    assert named("trial") == "trial-d"
    assert named("trial", no_cache=True) == "" == named("bias")
