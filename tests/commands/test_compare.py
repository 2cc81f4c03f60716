"""`probe compare`: what cannot be applied to the sides is refused, before anything is spent."""

import json
from dataclasses import replace

import pytest
from in_process import PAIRS

from probe.runs import save_run

MEASURING = [
    ["--watch", "missing.txt"], ["--traits"], ["--samples", "4"], ["--tokens", "8"], ["--template", "raw"],
    ["--max-length", "9"], ["--seed", "3"], ["--skip-bad"], ["--model", "m"], ["--fields", "prompt=q"],
    ["pairs.jsonl"],
]  # fmt: skip
UNMEASURED = ["watched=0.5", "repetition=0.2", "grade=1", "watched:causes=1"]


@pytest.fixture
def files(tmp_path, bias_run):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        save_run(replace(bias_run), tmp_path / name)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    grades = [{"id": f"q{i}", "base": 3 + i % 2, "tuned": 4} for i in range(30)]
    (tmp_path / "graded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in grades))
    return tmp_path


SIDES = {
    "saved runs": ["old/run.json", "new/run.json"],
    "names": ["v6", "v7", "--scores", "graded.jsonl"],
    "one of each": ["old/run.json", "v7", "pairs.jsonl"],
}


def refused(done, flag):
    assert done.code == 2, done.out
    assert flag in done.line and "does nothing. Leave it out" in done.line


@pytest.mark.parametrize("words", MEASURING, ids=" ".join)
@pytest.mark.parametrize("sides", ["saved runs", "names"])
def test_what_says_how_to_measure_is_refused_where_nothing_is(probe, files, sides, words):
    if (sides, words) == ("names", ["pairs.jsonl"]):
        return  # with pairs the names are models
    refused(probe("compare", *SIDES[sides], *words), "PAIRS" if "pairs" in words[0] else words[0])


@pytest.mark.parametrize("words", MEASURING[:4], ids=" ".join)
def test_what_two_models_need_is_refused_beside_a_saved_run(probe, files, words):
    refused(probe("compare", *SIDES["one of each"], *words), words[0])


def test_a_bound_of_gaps_is_refused_where_grades_alone_are_compared(probe, files):
    refused(probe("compare", *SIDES["names"], "--bound", "0.3"), "--bound")


@pytest.mark.parametrize(
    ("sides", "typed"),
    [*(("saved runs", one) for one in UNMEASURED), ("names", "gap=0.1"), ("names", "watched=1"),
     *(("one of each", one) for one in UNMEASURED)],
)  # fmt: skip
def test_an_allowance_for_what_is_not_measured_is_refused(probe, files, sides, typed):
    done = probe("compare", *SIDES[sides], "--allowance", typed)
    assert done.code == 2, done.out
    assert f"--allowance {typed.partition('=')[0].partition(':')[0]}: nothing of that kind" in done.line


@pytest.mark.parametrize(
    ("sides", "typed"), [("saved runs", "gap=0.1"), ("saved runs", "accuracy=0.5"), ("names", "grade=0.5")]
)
def test_what_is_measured_may_have_an_allowance(probe, files, sides, typed):
    assert probe("compare", *SIDES[sides], "--allowance", typed).code in (0, 1)


@pytest.mark.parametrize("sides", [["old/run.json", "v7"], ["v6", "new/run.json"]], ids=" ".join)
def test_grades_beside_one_saved_run_say_that_its_scores_are_not_compared(probe, files, sides):
    graded = ["--scores", "graded.jsonl", "--allowance", "grade=0.2"]
    done = probe("compare", *sides, *graded)
    run = next(side for side in sides if "run.json" in side)
    assert f"{run}: its scores are not compared" in done.err and done.code in (0, 1)
    assert "not compared" not in probe("compare", "v6", "v7", *graded).err
