"""Rows that a column marks as held out are no training, and what is not known of them is said."""

import json
import math
import random

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.read import read_log

HELD_OUT = (1.3, 1.2, 1.6, 2.4)


def rows(training, held_out, held=HELD_OUT):
    """An SFT run, evaluated at every hundredth step; `training` and `held_out` are what marks a row."""
    rng = random.Random(1)
    found = []
    for i in range(1, 41):
        loss = 0.3 + 1.5 * math.exp(-i / 10) + 0.02 * rng.gauss(0, 1)
        found.append({**training, "step": 10 * i, "loss": round(loss, 4)})
        if i % 10 == 0:
            found.append({**held_out, "step": 10 * i, "loss": held[i // 10 - 1]})
    return found


def column(name, training, held_out):
    return {name: training}, {name: held_out}


MARKS = {
    f"{name}={held_out}": column(name, training, held_out)
    for name, training, held_out in (
        ("split", "train", "val"), ("split", "train", "holdout"), ("split", "train", "heldout"),
        ("split", "train", "held-out"),
        ("split", "train", "eval_0"),
        ("split", "train", "validation_matched"),
        ("mode", "train", "eval"), ("stage", "train", "val"), ("stage", "train", "validate"),
        ("stage", "fit", "test"), ("event", "train_step", "eval"), ("event", "trainStep", "evalStep"),
        ("kind", "train", "eval"), ("partition", "train", "test"), ("prefix", "train/", "eval/"),
        ("tag", "train", "dev"), ("name", "training", "evaluation"), ("is_eval", False, True),
        ("isEval", "false", "true"), ("training", True, False), ("is_training", "True", "False"),
    )
} | {"split of held-out rows alone": ({}, {"split": "val"})}  # fmt: skip


@pytest.mark.parametrize("mark", MARKS)
def test_rows_that_are_marked_as_held_out_are_evaluations(mark):
    log = make_log("x", rows(*MARKS[mark]))
    found = diagnose(log)
    assert (len(log.train), [row["loss"] for row in log.evaluation]) == (40, list(HELD_OUT))
    assert (found.main, found.sign.since_step, log.earlier) == ("overfit", 200, ())
    assert not found.notes


OTHER = {
    "a name of the run": column("name", "dpo-test-1", "dpo-test-1"),
    "a setting": column("do_eval", True, True),
    "a flag of two": column("eval_and_save", False, True),
    "a stage": column("stage", "dpo", "dpo"),
    "text": column(
        "sample", "the train was late on that day, and nobody knew why", "a test of what was known"
    ),
    "words of both": column("note", "train and eval", "train or eval"),
}


@pytest.mark.parametrize("other", OTHER)
def test_other_columns_mark_nothing(other):
    training, marked = OTHER[other]
    listed = [
        {**(marked if i % 5 == 0 else training), "step": 10 * i, "loss": 1.8 - i / 40} for i in range(1, 41)
    ]
    log = make_log("x", listed)
    assert len(log.train) == 40 and not log.evals and not log.earlier


def test_several_held_out_sets_keep_their_names():
    listed = rows({"split": "train"}, {"split": "val"})
    listed += [row | {"split": "test", "loss": 3.0} for row in listed if row["split"] == "val"]
    log = make_log("x", listed)
    assert {name: [r["loss"] for r in part] for name, part in log.evals.items()} == {
        "test": [3.0] * 4, "val": list(HELD_OUT)
    }  # fmt: skip


@pytest.mark.parametrize("mark", [("mode", "train", "inference"), ("where", "a", "b"), ("split", "0", "1")])
def test_entries_of_one_step_that_contradict_each_other_are_said(tmp_path, mark):
    """Held out or not: no such log is called healthy, and the later value does not replace the earlier."""
    path = tmp_path / "log.jsonl"
    listed = rows(*column(*mark), held=(1.7, 1.6, 1.5, 1.4))
    path.write_text("\n".join(json.dumps(row) for row in listed))
    log = read_log(path)
    found = diagnose(log)
    assert [row["loss"] for row in log.train] == [row["loss"] for row in listed if row[mark[0]] == mark[1]]
    assert (found.main, found.sign.confidence) == ("healthy", "cannot tell")
    assert "entries of one step contradict each other, in 4 steps" in log.unread


@pytest.mark.parametrize(
    "second",
    [
        {"loss": 1.001},
        {"grad_norm": 2.0},
        {"loss": 1.5, "grad_norm": 2.0},
        {"loss": 1.5, "learning_rate": 0.1},
    ],
    ids=["rounded", "another metric", "an update", "a rate"],
)
def test_two_entries_of_training_are_no_contradiction(second):
    first = {"step": 10, "loss": 1.0} | dict.fromkeys(second, 1.0)
    log = make_log(
        "x", [first, {"step": 10, **second}, *({"step": 10 * i, "loss": 0.9} for i in range(2, 9))]
    )
    assert not log.unread and len(log.train) == 8


@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_of_entries_of_several_ranks_the_first_is_read(ranks):
    listed = [
        {"rank": n, "step": 10 * i, "loss": 1.0 - i / 50 + 0.2 * n}
        for i in range(1, 21)
        for n in range(ranks)
    ]
    log = make_log("x", listed)
    assert [row["loss"] for row in log.train] == [row["loss"] for row in listed if row["rank"] == 0]
    assert not log.unread and f"as {ranks} ranks write them" in log.notes[0]
