"""The two sides of a comparison, what is recorded of them, and what is refused without the numbers."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from probe.errors import ProbeError
from probe.gate.promote import effects
from probe.gate.promote import run as compared
from probe.gate.promote.effects import Spoken
from probe.gate.promote.sides import ComparedModel, SideMeasurement, compared_models, saved, weights_of
from probe.pairs.grades import Grades
from probe.pairs.record import Pair
from probe.records import Estimate, Run
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
    runs = [
        Run("bias", CREATED, inputs={"model": {"name": n}, "pairs": {"n": k}})
        for n, k in (("b", 1), ("t", 2))
    ]
    both = tuple(SideMeasurement(run, {}) for run in runs)
    known = compared._inputs(sides, both, None)
    assert known == {
        "pairs": {"n": 2}, "base": {"name": "b"}, "model": {"name": "t"}, "compared": ["base", "tuned"],
    }  # fmt: skip
    blank = tuple(SideMeasurement(Run("bias", CREATED), {}) for _ in sides)
    grades = Grades((), False, {"": 3}, {"path": "g.jsonl"})
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


@pytest.mark.parametrize(("n", "measured"), [(7, False), (8, True)])
def test_eight_answers_that_differ_are_the_fewest_whose_traits_are_measured(n, measured, monkeypatch):
    """Sixteen prompts, whose answers differ in `n`, are equal or empty in the others."""
    tuned = ["It is not."] * n + [" ", *SPOKEN.answers][: 16 - n]
    asked = []
    told = Estimate("weight:lists", 0.1, 0.0, 0.2, n, None, "t", "nats/token")
    verdicts = [{"trait": "lists", "verdict": "taught"}, {"trait": "harm", "verdict": "not shown"}]
    found = SimpleNamespace(estimates=(told,), details={"effects": verdicts})
    monkeypatch.setattr("probe.probes.effects.run.traits_in", lambda s, o: asked.append(o) or found)
    opened = dataclasses.make_dataclass("Opened", ["source"], frozen=True)(None)
    moved = effects.traits_moved(opened, SPOKEN, Spoken(SPOKEN.prompts, tuned))
    assert [one.most for one in asked] == ([n] if measured else [])
    assert [e.name for e in moved.estimates] == ["weight_change:lists"] * measured
    assert [f.message for f in moved.findings] == ["the tuned model's answers moved towards lists"] * measured
    verdicts.pop(0)
    assert effects.traits_moved(opened, SPOKEN, Spoken(SPOKEN.prompts, tuned)).findings == ()


def test_answers_are_kept_as_text_without_special_tokens():
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens=False: f"{ids} {skip_special_tokens}")
    session = SimpleNamespace(loaded=SimpleNamespace(tokenizer=tokenizer))
    asked = [Pair("1", "Why?", "a", "b"), Pair("2", None, "a", "b")]
    assert compared._spoken(session, asked, [(1, 2), (3,)]) == Spoken(
        ["Why?", ""], ["(1, 2) True", "(3,) True"]
    )


@pytest.mark.parametrize("kind", ["there", "away", "none"])
def test_an_adapter_names_its_base_where_that_is_a_directory_here(kind, tmp_path):
    adapter, base = tmp_path / "lora", tmp_path / "base"
    adapter.mkdir(), base.mkdir()
    named = {"there": str(base), "away": "org/model", "none": ""}[kind]
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": named}))
    for first, second in (
        compared_models(str(adapter), str(adapter), None),
        compared_models("x", str(adapter), "y"),
    ):
        assert first.adapter == (str(adapter) if first.name != "x" else None)
        assert second.model == ("y" if first.name == "x" else str(base) if kind == "there" else None)


def test_an_adapter_beside_a_saved_run_or_an_adapter_has_its_own_base(tmp_path):
    """What lies under the base is not what lies under the tuned adapter."""
    run, other, adapter, base = (tmp_path / name for name in ("run", "other", "lora", "base"))
    for place in (run, other, adapter, base):
        place.mkdir()
    (run / "run.json").write_text("{}")
    (other / "adapter_config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    for first in (run, other):
        assert compared_models(str(first), str(adapter), None)[1].model == str(base)
    assert compared_models("org/model", str(adapter), None)[1].model == "org/model"


@pytest.mark.parametrize("row", [{"gap": 1.0}, [1], "id"])
def test_a_row_that_is_no_score_is_refused(row, tmp_path):
    save_run(Run("bias", CREATED), tmp_path)
    (tmp_path / "scores.jsonl").write_text(json.dumps({"id": "a"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ProbeError, match="a row is no score of a pair"):
        saved(tmp_path)


def test_an_adapter_whose_config_cannot_be_read_is_told(tmp_path):
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ProbeError, match="Save the adapter again"):
        compared_models(str(tmp_path), str(tmp_path), None)
