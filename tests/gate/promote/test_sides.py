"""The two sides of a comparison, what is put into the record of it, and what is refused without the numbers."""

import json
from types import SimpleNamespace

import pytest

from probe.errors import ProbeError
from probe.gate.promote import effects
from probe.gate.promote import run as compared
from probe.gate.promote.effects import FEWEST_ANSWERS, Spoken
from probe.gate.promote.sides import ComparedModel, SideMeasurement, saved, weights_of
from probe.pairs.grades import Grades
from probe.records import Run
from probe.runs import save_run

CREATED = "2026-11-27T12:00:00Z"


def run_of(**model):
    return Run("bias", CREATED, inputs={"model": model} if model else {})


@pytest.mark.parametrize(
    ("recorded", "known"),
    [({"name": "base"}, "base"), ({"name": "base", "adapter": "lora"}, "lora"), ({}, None)],
)
def test_the_weights_of_a_saved_run_are_its_adapter_or_its_model(recorded, known, tmp_path):
    there = {key: str(tmp_path / name) for key, name in recorded.items()}
    for place in there.values():
        (tmp_path / place).mkdir()
    side = ComparedModel("run", saved=tmp_path / "run.json")
    if known is None:
        with pytest.raises(ProbeError, match="no directory with weights"):
            weights_of(side, run_of(**there))
    else:
        assert weights_of(side, run_of(**there)) == tmp_path / known


def test_a_side_that_was_named_is_not_looked_up_in_a_run(tmp_path):
    run = run_of(name=str(tmp_path))
    with pytest.raises(ProbeError, match="Name the tuned model"):
        weights_of(ComparedModel("embedded"), run)
    assert weights_of(ComparedModel("x", model="elsewhere", adapter=str(tmp_path)), run) == tmp_path


def test_a_run_without_its_scores_is_compared_by_its_gaps(tmp_path):
    rows = [{"id": "a", "gap": 0.5}, {"id": "b", "gap": -0.5}]
    run = Run("bias", CREATED, details={"pairs": rows})
    save_run(run, tmp_path)
    assert saved(tmp_path / "run.json").rows == {row["id"]: row for row in rows} == saved(tmp_path).rows
    (tmp_path / "scores.jsonl").write_text(json.dumps({"id": "c", "gap": 1.0}) + "\n")
    assert list(saved(tmp_path).rows) == ["c"]
    (tmp_path / "scores.jsonl").unlink()
    save_run(Run("bias", CREATED), tmp_path)
    with pytest.raises(ProbeError, match="no scores by pair"):
        saved(tmp_path)


def test_the_record_of_a_comparison_names_both_models_the_pairs_and_the_grades():
    sides = ComparedModel("base"), ComparedModel("tuned")
    runs = [Run("bias", CREATED, inputs={"model": {"name": n}, "pairs": {"n": k}}) for n, k in (("b", 1), ("t", 2))]
    both = tuple(SideMeasurement(run, {}) for run in runs)
    known = compared._inputs(sides, both, None)
    assert known == {
        "pairs": {"n": 2}, "base": {"name": "b"}, "model": {"name": "t"}, "compared": ["base", "tuned"],
    }  # fmt: skip
    blank = tuple(SideMeasurement(Run("bias", CREATED), {}) for _ in sides)
    grades = Grades((), False, 3, {"path": "g.jsonl"})
    assert compared._inputs(sides, blank, grades) == {
        "pairs": {}, "base": {}, "model": {}, "compared": ["base", "tuned"],
        "grades": {"path": "g.jsonl", "n": 0, "left_out": 3},
    }  # fmt: skip
    assert compared._inputs(sides, None, None)["base"] == {}


SPOKEN = Spoken([f"q{i}" for i in range(16)], ["It is so."] * 16)


@pytest.mark.parametrize("missing", [0, 1])
def test_traits_need_the_answers_of_both_models(missing):
    spoken = [SPOKEN, SPOKEN]
    spoken[missing] = None
    both = tuple(SideMeasurement(Run("bias", CREATED), {}, spoken=one) for one in spoken)
    asked = SimpleNamespace(traits=True, seed=0)
    with pytest.raises(ProbeError, match="--traits: needs the answers of two models"):
        compared._effects(ComparedModel("base"), both, asked, 0.05)
    assert compared._effects(ComparedModel("base"), both, SimpleNamespace(traits=False, seed=0), 0.05) == []


@pytest.mark.parametrize(("n", "measured"), [(FEWEST_ANSWERS - 1, False), (FEWEST_ANSWERS, True)])
def test_eight_answers_that_differ_are_the_fewest_whose_traits_are_measured(n, measured, monkeypatch):
    """Sixteen prompts, whose answers differ in `n`, are equal or empty in the others."""
    tuned = ["It is not."] * n + [" ", *SPOKEN.answers][: 16 - n]
    asked = []
    found = SimpleNamespace(estimates=(), details={"effects": []})
    monkeypatch.setattr("probe.probes.effects.run.traits_in", lambda s, o: asked.append(o) or found)
    monkeypatch.setattr(effects, "replace", lambda session, source: session)
    effects.traits_moved(None, SPOKEN, Spoken(SPOKEN.prompts, tuned))
    assert [one.most for one in asked] == ([n] if measured else [])
