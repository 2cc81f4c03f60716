"""When a gate scores in bfloat16, and what it then says."""

import json
from dataclasses import replace

import numpy as np
import pytest

from probe.gate.measure import run_probes
from probe.probes import half
from probe.probes.gated import GateRequest, sharing
from probe.reports.view import subject
from probe.scoring import rounding
from probe.scoring.session import ModelOptions, Session, Source
from probe.scoring.source import BUNDLED

OTHERS = frozenset({"data", "numerics", "trial"})


@pytest.fixture
def source(tmp_path):
    rows = [
        {"prompt": f"Say {i}:", "chosen": f" yes {i * 3 % 11}", "rejected": f" no {i * 7 % 10}"}
        for i in range(30)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Source.of(path, None, None, False)


@pytest.fixture
def opened(source, tiny_model_dir, monkeypatch):
    """A session on a processor with bfloat16 units; a random model's gaps hardly spread."""
    monkeypatch.setattr(rounding, "has_bfloat16_units", lambda: True)
    monkeypatch.setattr(rounding, "WIDENED", 10.0)
    monkeypatch.setattr("probe.probes.negatives.run._surface", lambda work: None)

    def open_(dtype=None):
        how = ModelOptions(str(tiny_model_dir), dtype=dtype, device="cpu", no_cache=True)
        return sharing(Session.open(source, how))

    return open_


def gated(source, session):
    run, _ = run_probes(GateRequest(source, ModelOptions(no_cache=True), off=OTHERS), session)
    return run, [f for f in run.findings if f.code == "PB613"]


def test_a_gate_in_bfloat16_says_so_once_and_turns_no_pair(source, opened):
    run, notes = gated(source, opened())
    exact, none = gated(source, opened("float32"))
    facts = run.inputs["arithmetic"]
    assert facts["products"] == "bfloat16" and facts["pairs"] == 24 and facts["noise"] > 0
    assert len(notes) == 1 and f"{facts['noise']:.2g} nats/token" in notes[0].message
    assert not none and "arithmetic" not in exact.inputs
    assert run.inputs["model"]["dtype"] == exact.inputs["model"]["dtype"] == "float32"
    ours, theirs = ({row["line"]: row["gap"] for row in r.details["pairs"]} for r in (run, exact))
    assert [np.sign(ours[k]) for k in ours] == [np.sign(theirs[k]) for k in ours]
    apart = np.array([ours[k] - theirs[k] for k in ours])
    assert 0 < np.abs(apart).max() < 0.1
    assert run.estimate("win_rate").value == exact.estimate("win_rate").value


def test_float32_is_kept_where_rounding_would_widen_the_interval(source, opened, monkeypatch):
    monkeypatch.setattr(rounding, "WIDENED", -1.0)
    session = opened()
    assert half.scoring_session(session) is session
    run, notes = gated(source, session)
    assert not notes and run.inputs["arithmetic"]["products"] == "float32"
    exact, _ = gated(source, opened("float32"))
    assert run.estimate("gap").value == exact.estimate("gap").value


def test_it_is_tried_once_and_let_go(opened):
    session = opened()
    copy = half.scoring_session(session)
    assert copy is not session and half.scoring_session(session) is copy
    assert copy.scorer.near == half.NEAR * session.half.rounding.noise
    counted = session.inputs()["scores"]["new"]
    assert counted == session.scorer.new + copy.scorer.new > session.scorer.new
    session.let_half_go()
    assert half.scoring_session(session) is session
    assert session.inputs()["scores"]["new"] == counted
    assert session.inputs()["arithmetic"]["products"] == "bfloat16"  # what was measured stays so


def test_too_few_pairs_to_compare(source, opened, monkeypatch):
    monkeypatch.setattr(half, "LEAST_COMPARED", 25)
    session = opened()
    assert half.scoring_session(session) is session and session.half.rounding is None
    assert half.half_finding(session) == ()


def test_the_bill_is_made_at_the_pace_of_the_copy(opened, monkeypatch):
    session = opened()
    paces = iter([4e-3, 1e-3])
    monkeypatch.setattr("probe.probes.pace.forward_pace", lambda *_: next(paces))
    monkeypatch.setattr(half, "forward_pace", lambda *_: next(paces))
    found = half.gate_pace(session)
    assert (found.forward, found.scoring) == (4e-3, 1e-3)
    monkeypatch.setattr("probe.probes.pace.forward_pace", lambda *_: 4e-3)
    assert half.gate_pace(session, scores=False).scoring == 4e-3


def test_what_the_pace_computes_is_not_computed_again(opened):
    session = opened()
    half.gate_pace(session)
    before = session.scorer.new
    session.scores_of(session.survey.sample[: half.PACE_PAIRS], "scoring")
    assert session.scorer.new == before > 0


def test_the_sets_that_come_with_probe_stay_float32(opened, tiny_model_dir):
    path = next(iter(sorted(BUNDLED.glob("*.jsonl"))))
    source = Source.of(path, None, None, False)
    how = ModelOptions(str(tiny_model_dir), device="cpu", no_cache=True)
    assert source.bundled and not Source.of(path.with_name("others") / path.name, None, None, False).bundled
    assert Session.open(source, how).exact and not opened().exact


def test_the_head_of_the_report_says_so(source, opened):
    assert "scored in bfloat16" in " ".join(subject(gated(source, opened())[0]))
    assert "bfloat16" not in " ".join(subject(gated(source, opened("float32"))[0]))


def test_no_copy_where_memory_has_no_room_for_it(source, opened, monkeypatch):
    """Of the gate and of its trial: both keep two bytes a parameter beside the model."""
    size = opened().loaded.facts["parameters"]
    for free, exact in ((2 * size, True), (2 * size + 1, False), (None, False)):
        monkeypatch.setattr(rounding, "free_bytes", lambda device, free=free: free)
        session = opened()
        assert session.exact is exact and rounding.allowed(session) is not exact
        assert (half.scoring_session(session) is session) is exact


def test_pairs_that_rounding_turns_are_none_that_the_report_turns(source, opened):
    """They lie near a tie and are scored in float32, so the note does not count them."""
    session = opened()
    half.scoring_session(session)
    found = replace(session.half.rounding, turned=2)
    session.half.rounding = found
    assert "ranked otherwise" in found.told() and "ranked" not in half.half_finding(session)[0].message
