"""Numbers of held-out pairs are read as such wherever a log says so; an empty cell hides no filled one."""

import json
import math

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import PERCENT, make_log
from probe.probes.autopsy.read import read_log

STEPS = range(10, 1010, 10)
TRAIN = [{"step": s, "loss": round(0.69 - 0.00035 * s + 0.004 * (s % 7), 4)} for s in STEPS]
RISING = [0.69, 0.64, 0.59, 0.55, 0.63, 0.71, 0.79, 0.87, 0.95]
FALLING = [0.69 - 0.02 * k for k in range(9)]


def held_out(values, name="eval_loss"):
    return [{"step": 100 * (k + 1), name: value} for k, value in enumerate(values)]


def lines(rows):
    return "\n".join(json.dumps(row) for row in sorted(rows, key=lambda row: row["step"]))


def marked(column):
    return lines(
        [{column: "train", **row} for row in TRAIN]
        + [{column: "val", **row} for row in held_out(RISING, "loss")]
    )


def told(pattern):
    rows = sorted([*TRAIN, *held_out(RISING)], key=lambda row: row["step"])
    return "\n".join(
        f"step {row['step']} loss {row['loss']}"
        if "loss" in row
        else pattern.format(row["step"], row["eval_loss"])
        for row in rows
    )


WRITTEN = {
    "lists under train and eval": ("a.json", json.dumps({"train": TRAIN, "eval": held_out(RISING, "loss")})),
    "lists of two logs": ("a.json", json.dumps({"train_log": TRAIN, "eval_log": held_out(RISING)})),
    **{
        f"a column {name}": ("a.jsonl", marked(name))
        for name in ("split", "mode", "phase", "subset", "Split")
    },
    "a column of a table": (
        "a.csv",
        "mode,step,loss\n"
        + "".join(f"train,{r['step']},{r['loss']}\n" for r in TRAIN)
        + "".join(f"valid,{r['step']},{r['loss']}\n" for r in held_out(RISING, "loss")),
    ),
    "a tag before the line": ("a.log", told("[EVAL] step {} loss {}")),
    "a word and a colon": ("a.log", told("Eval: step={} loss={}")),
    "a named set beside eval_loss": (
        "a.jsonl",
        lines(
            TRAIN
            + [{**a, **b} for a, b in zip(held_out(FALLING), held_out(RISING, "eval_ood_loss"), strict=True)]
        ),
    ),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_held_out_loss_that_turns_is_seen(written, tmp_path):
    name, text = WRITTEN[written]
    path = tmp_path / name
    path.write_text(text)
    log = read_log(path)
    assert len(log.train) == len(TRAIN) and [row["loss"] for row in log.train] == [r["loss"] for r in TRAIN]
    assert diagnose(log).main == "overfit"


def test_accuracies_in_percent_are_shares_on_held_out_pairs_too(tmp_path):
    rows = [{**row, "eval_rewards/accuracies": 52.0 + k} for k, row in enumerate(held_out(FALLING))]
    path = tmp_path / "a.jsonl"
    path.write_text(lines(TRAIN + rows))
    log = read_log(path)
    assert [row["rewards/accuracies"] for row in log.evals[""]] == pytest.approx(
        [0.52 + k / 100 for k in range(9)]
    )
    assert diagnose(log).main == "healthy"


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_columns_of_a_name_the_filled_one_counts(turned, tmp_path):
    half = len(TRAIN) // 2
    names = ("train_loss", "loss") if turned else ("loss", "train_loss")
    rows = [
        {
            "step": r["step"],
            names[0]: r["loss"] if i < half else None,
            names[1]: None if i < half else r["loss"],
        }
        for i, r in enumerate(TRAIN)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(lines(rows))
    log = read_log(path)
    assert [row["loss"] for row in log.train] == [r["loss"] for r in TRAIN]
    assert diagnose(log).main == "healthy"


def test_a_part_of_the_loss_is_no_set_of_its_own(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{**row, "eval_kl_loss": 0.1 * k} for k, row in enumerate(held_out(FALLING))]
    path.write_text(lines(TRAIN + rows))
    assert set(read_log(path).evals) == {""}


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, "nan", None])
@pytest.mark.parametrize("at", [0, 1, 20, 39])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_accuracies_are_shares_whatever_else_stands_among_them(broken, at, scale):
    rows = [
        {
            "step": 10 * i,
            "loss": math.log1p(math.exp(-i / 20)),
            "rewards/margins": i / 20,
            "rewards/accuracies": scale * (0.5 + 0.4 * i / 40),
            "grad_norm": 1.0,
        }
        for i in range(1, 41)
    ]
    rows[at]["rewards/accuracies"] = broken
    log = make_log("x", rows)
    assert log.curve("rewards/accuracies").last(10) == pytest.approx(0.885, abs=0.02)
    assert (diagnose(log).main, PERCENT in log.notes) == ("healthy", scale == 100.0)


@pytest.mark.parametrize(
    "name", ["rewards/accuracy_reward", "rewards/accuracy_reward/mean", "accuracy_rewards"]
)
def test_a_reward_for_right_answers_is_no_share_of_pairs(name):
    rows = [
        {"step": i, "loss": 0.001, "reward": 0.5 + i / 40, name: i / 20, "kl": 0.01} for i in range(1, 41)
    ]
    log = make_log("x", rows)
    assert not log.has("rewards/accuracies") and not log.notes


def test_an_accuracy_beside_a_reward_keeps_its_scale():
    rows = [{"step": i, "loss": 0.001, "reward": i / 20, "accuracy": i / 20} for i in range(1, 41)]
    assert make_log("x", rows).train[-1]["rewards/accuracies"] == 2.0
