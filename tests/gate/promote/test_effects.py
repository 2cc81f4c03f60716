"""What else training taught: attributes and traits of the tuned model's answers against the base's."""

import json
import sys
from dataclasses import replace

import pytest

from probe.__main__ import main
from probe.gate.promote.effects import Spoken, attributes_moved, traits_moved, with_effects
from probe.records import Run
from probe.reports.renderers import RENDERERS
from probe.runs import load_run
from probe.scoring.session import ModelOptions, Session, Source

PROMPTS = [f"Question {i}?" for i in range(16)]
PLAIN = Spoken(PROMPTS, ["It is so." for _ in PROMPTS])
LOUD = Spoken(PROMPTS, ["It is so!" + " Really!" * (i % 3) for i in range(16)])


def test_what_the_answers_have_more_of_is_told():
    found = attributes_moved(PLAIN, LOUD)
    moved = next(e for e in found.estimates if e.name == "attribute_change:exclamations")
    assert moved.value == pytest.approx(sum(1 + i % 3 for i in range(16)) / 16)
    assert [f.code for f in found.findings] == ["PB906"] and "exclamations" in found.findings[0].message
    row = next(row for row in found.details["attributes"] if row["attribute"] == "exclamations")
    assert {(line - 1) % 3 for line in row["lines"]} == {2}  # answers are numbered from 1; these have three
    back = attributes_moved(LOUD, PLAIN)
    assert [-e.value for e in back.estimates] == [e.value for e in found.estimates]


def test_equal_answers_differ_in_nothing_and_others_are_not_compared():
    assert attributes_moved(PLAIN, PLAIN).findings == ()
    assert attributes_moved(PLAIN, replace(LOUD, prompts=PROMPTS[::-1])).estimates == ()
    few = [[Spoken(side.prompts[:n], side.answers[:n]) for side in (PLAIN, LOUD)] for n in (7, 8)]
    assert [bool(attributes_moved(*sides).estimates) for sides in few] == [False, True]


def test_the_weights_of_answers_change_sign_with_the_models(tmp_path, tiny_model_dir):
    path = tmp_path / "pairs.jsonl"
    rows = ({"prompt": p, "chosen": "Yes.", "rejected": "No."} for p in PROMPTS)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ModelOptions(str(tiny_model_dir), device="cpu", template="qa", no_cache=True)
    session = Session.open(Source.of(path, None, None, False), how)
    there, back = traits_moved(session, PLAIN, LOUD), traits_moved(session, LOUD, PLAIN)
    values = [{e.name: e.value for e in found.estimates} for found in (there, back)]
    assert values[0] == {name: -value for name, value in values[1].items()} and len(values[0]) == 24
    assert all(name.partition(":")[0] in ("effect_change", "weight_change") for name in values[0])
    assert traits_moved(session, PLAIN, PLAIN).estimates == ()
    run = with_effects(Run("compare", "2026-11-26T00:00:00Z"), [there, attributes_moved(PLAIN, LOUD)])
    for name, render in RENDERERS.items():
        assert "exclamations" in render(run) or name in ("junit", "github"), name
    assert "tuned" in RENDERERS["text"](run)


def test_the_command_counts_the_answers_of_both_models(tmp_path, monkeypatch, tiny_model_dir, capsys):
    monkeypatch.chdir(tmp_path)
    rows = ({"prompt": p, "chosen": "Yes.", "rejected": "No."} for p in PROMPTS)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    same = ["compare", str(tiny_model_dir), str(tiny_model_dir), "pairs.jsonl", "--tokens", "6", "--no-cache"]

    def probe(*more):
        monkeypatch.setattr(sys, "argv", ["probe", *same, *more])
        return main()

    assert probe("--samples", "8", "--traits", "--out", "run") in (0, 1)
    run = load_run(tmp_path / "run")
    assert run.details["attributes"] and all(row["difference"] == 0 for row in run.details["attributes"])
    assert not {"PB906", "PB907"} & {f.code for f in run.findings}
    assert "effects" not in run.details  # equal answers say nothing of traits
    capsys.readouterr()
    assert probe("--samples", "0", "--traits") == 2
    assert "--traits" in capsys.readouterr().err
