"""The pace of a machine with a model: measured as a gate and its trial compute, and nothing thrown away."""

import json

import numpy as np
import pytest

from probe.probes import pace as paces
from probe.probes.gated import sharing
from probe.scoring.session import ModelOptions, Session, Source
from probe.training.behaviour import LONGEST, PROMPT_BATCH, SHORTEST


@pytest.fixture
def opened(tmp_path, tiny_model_dir):
    def open_(n, words=4):
        rows = [
            {"prompt": f"Say {i}:", "chosen": " yes" * words + f" {i}", "rejected": " no" * words + f" {i}"}
            for i in range(n)
        ]
        path = tmp_path / f"{n}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        how = ModelOptions(str(tiny_model_dir), dtype="float32", device="cpu", no_cache=True)
        return sharing(Session.open(Source.of(path, None, None, False), how))

    return open_


@pytest.mark.parametrize(("n", "rows"), [(5, 5), (30, 30), (100, PROMPT_BATCH)])
def test_as_many_answers_are_written_as_a_trial_writes_at_once(opened, monkeypatch, n, rows):
    session, written = opened(n), []
    monkeypatch.setattr(
        "probe.scoring.sampling.draw_samples",
        lambda loaded, draws, *, tokens, batch: written.append((len(draws), batch, tokens)) or [],
    )
    paces.pace(session)
    assert written == [(rows, rows, 1), (rows, rows, 1 + paces.TRIAL_TOKENS)]


def test_a_pace_without_writing(opened):
    assert paces.pace(opened(5), writes=False).writing == 0.0


@pytest.mark.parametrize(("words", "tokens"), [(1, SHORTEST), (200, LONGEST)])
def test_a_sample_is_as_long_as_a_trial_takes_it(opened, words, tokens):
    session = opened(6, words)
    assert paces.sample_length(session.encoder.many(session.survey.sample)) == tokens


def test_the_scores_that_were_timed_are_kept(opened):
    session = opened(12)
    found = paces.pace(session, writes=False)
    assert found.forward == found.scoring > 0 and session.scorer.new == 24
    kept = list(session.scores())
    assert session.scorer.new == 24 and session.scorer.cached == 24
    exact = opened(12)
    for ours, theirs in zip(kept, exact.scores(), strict=True):
        np.testing.assert_allclose(ours.chosen.token_logps, theirs.chosen.token_logps, atol=5e-5)


def test_what_is_not_finite_is_not_kept(opened, monkeypatch):
    session = opened(12)
    from probe.scoring import engine

    usual = engine.token_logps
    monkeypatch.setattr(engine, "token_logps", lambda *a, **k: [x * float("nan") for x in usual(*a, **k)])
    sides = paces.scored_sides(session.encoder.many(session.survey.sample))
    paces.forward_pace(session, sides, 8)
    assert session.scorer.new == 0


def test_no_side_to_score_takes_no_time(opened):
    assert paces.forward_pace(opened(5), [], 8) == 0.0
