"""What a log does not show, or what of it could not be read, is never called healthy in silence."""

import json
import math

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log


def entries(n=40, **columns):
    """A sound DPO run: the loss falls from ln 2 as the margin rises."""
    rows = []
    for i in range(n):
        margin = i / n
        row = {
            "step": 10 * (i + 1),
            "loss": math.log1p(math.exp(-margin)) + 0.01,
            "rewards/margins": margin,
            "rewards/accuracies": 0.5 + 0.4 * i / n,
            "rewards/chosen": margin / 2,
            "rewards/rejected": -margin / 2,
        }
        rows.append(row | {name: of(i, row) for name, of in columns.items()})
    return rows


NAMES = ("rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected")
GONE = dict.fromkeys(NAMES, lambda i, _: None)


def number(i, _):
    return float(i)


def half_lost(of):
    """From the 21st entry on, the loss is what `of` says."""
    return entries(loss=lambda i, row: of(i) if i > 19 else row["loss"])


LINES = [json.dumps(row) for row in entries()]


def state(rows, **more):
    return json.dumps({"log_history": rows, **more})


def judged(tmp_path, text, name="trainer_state.json"):
    path = tmp_path / name
    path.write_text(text)
    return diagnosis_json(diagnose(read_log(path)))


def test_a_sound_run_is_healthy(tmp_path):
    found = judged(tmp_path, state(entries(), max_steps=400))
    assert (found["main"], found["confidence"], found["notes"]) == ("healthy", "likely", [])


@pytest.mark.parametrize("last", [7.0, 50.0, 1e9])
def test_an_explosion_in_the_last_entry_is_one(tmp_path, last):
    rows = entries(loss=lambda i, row: last if i == 39 else row["loss"])
    found = judged(tmp_path, state(rows))
    assert (found["main"], found["code"], found["since_step"]) == ("diverged", "PB852", 400)
    assert "nothing shows a recovery" in found["evidence"]


def test_a_spike_that_came_back_is_none(tmp_path):
    rows = entries(loss=lambda i, row: 50.0 if i == 30 else row["loss"])
    assert judged(tmp_path, state(rows))["main"] == "healthy"


@pytest.mark.parametrize("prefix", ["", "dpo/", "train/dpo/", "run7/", "dpo_", "dpo.", "my_"])
def test_columns_of_the_sides_are_known_behind_a_loggers_own_word(tmp_path, prefix):
    rows = [
        {k if k in ("step", "loss") else prefix + k: v for k, v in row.items()}
        for row in entries(
            **{"logps/chosen": lambda i, _: -100.0 - 5 * i, "rewards/chosen": lambda i, _: -0.1 * i}
        )
    ]
    assert judged(tmp_path, state(rows))["main"] == "displaced"


@pytest.mark.parametrize(
    "name", ["ref/logps/chosen", "reference.logps.chosen", "base_logps_chosen", "ema/logps/chosen"]
)
def test_another_models_log_probs_are_not_the_policys(tmp_path, name):
    rows = entries(**{name: lambda i, _: -100.0 - 5 * i, "rewards/chosen": lambda i, _: None})
    found = judged(tmp_path, state(rows))
    assert (found["main"], found["confidence"]) == ("healthy", "likely")


@pytest.mark.parametrize("sizes", [1.0, 4.0])
def test_a_loss_under_ln_2_beside_a_negative_margin_is_impossible(tmp_path, sizes):
    """The margins of rejected less chosen, say: every loss that falls with the margin costs more there."""
    rows = entries(**{"rewards/margins": lambda i, row: -sizes * row["rewards/margins"]})
    found = judged(tmp_path, state(rows))
    assert found["code"] == "PB851" and "rejected less chosen" in found["next"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trainer_state.json", state(entries())[:-900], "no whole JSON, cut or damaged: "),
        ("log.jsonl", "\n".join([*LINES[:20], '{"step"', *LINES[20:]]), "1 of 41 lines begin like JSON"),
        ("log.json", state(entries(loss=lambda i, _: "0.69 nats")), "no number in 40 of 40 entries"),
        ("log.json", state(entries(loss=lambda i, _: None)), "no number in 40 of 40 entries"),
        ("log.json", state(half_lost(lambda i: None)), "no number in 20 of 40 entries"),
        ("log.json", state(half_lost(lambda i: "?" if i % 2 else 0.5)), "no number in 10 of 40 entries"),
        ("log.json", state(entries(**{"q.reward_gap_chosen": number, **GONE})), "q.reward_gap_chosen"),
    ],
    ids=["cut", "broken lines", "unit", "null", "null at the end", "text between", "columns"],
)  # fmt: skip
def test_what_could_not_be_read_is_said_and_not_called_healthy(tmp_path, name, text, said):
    found = judged(tmp_path, text, name)
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert said in found["evidence"] and any(said in note for note in found["notes"])


def test_a_gradient_out_of_all_proportion_at_the_end_is_said(tmp_path):
    found = judged(tmp_path, state(entries(grad_norm=lambda i, _: 900.0 if i == 39 else 1.0)))
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert "the last gradient norm is 900 times the median" in found["evidence"]


@pytest.mark.parametrize("text", ["\n".join(["Loading the model", *LINES]), "\n".join([*LINES, "Done. {}"])])
def test_lines_of_a_console_are_no_broken_entries(tmp_path, text):
    assert judged(tmp_path, text, "log.jsonl")["confidence"] == "likely"


@pytest.mark.parametrize("name", ["num_train_epochs", "max_steps"])
def test_a_run_that_stopped_early_says_so(tmp_path, name):
    planned = {"max_steps": 4000, "num_train_epochs": 3}[name]
    found = judged(tmp_path, state(entries(epoch=lambda i, _: (i + 1) / 40), **{name: planned}))
    said = {"max_steps": "step 400 of 4,000", "num_train_epochs": "epoch 1 of 3"}[name]
    share = {"max_steps": "10%", "num_train_epochs": "33%"}[name]
    assert f"the log ends at {said} that were planned ({share})" in found["notes"]
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert f"planned ({share})" in found["evidence"] and "when it is over" in found["next"]


@pytest.mark.parametrize(("planned", "sure"), [(400, "likely"), (800, "likely"), (801, "cannot tell")])
def test_half_of_the_planned_steps_say_what_the_run_comes_to(tmp_path, planned, sure):
    assert judged(tmp_path, state(entries(), max_steps=planned))["confidence"] == sure


def test_a_failure_is_one_however_early_the_log_ends(tmp_path):
    found = judged(tmp_path, state(entries(loss=lambda i, _: math.nan), max_steps=4000))
    assert (found["main"], found["confidence"]) == ("numerics", "certain")


@pytest.mark.parametrize("order", ["newest first", "shuffled", "swapped", "resumed"])
def test_entries_are_read_by_their_steps(tmp_path, order):
    """A resumed run goes back once: what it replaced is left out, as ever."""
    rows = entries()
    changed = {
        "newest first": rows[::-1],
        "shuffled": [rows[i * 17 % 40] for i in range(40)],
        "swapped": [*rows[:20], rows[21], rows[20], *rows[22:]],
        "resumed": rows[:30] + rows[20:],
    }[order]
    found, plain = judged(tmp_path, state(changed)), judged(tmp_path, state(rows))
    assert (found["main"], found["evidence"]) == (plain["main"], plain["evidence"])
    assert any("read by their steps" in note for note in found["notes"]) is (order != "resumed")


def half(row, value, **more):
    return {"step": row["step"], "loss": row["loss"] if row["step"] <= 200 else value, **more}


@pytest.mark.parametrize("word", ["", "None", "null", "N/A", "No log", " None "])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_loss_that_broke_off_did_so_in_whatever_word(tmp_path, form, word):
    """The learning rate goes on beside it, so that the entries are there and the loss was no number."""
    rows = [half(row, word, learning_rate=1e-5) for row in entries()]
    found = judged(tmp_path, written(rows, form), f"log.{form}")
    assert (found["main"], found["since_step"]) == ("numerics", 210)
    assert "20 of 40 entries not finite" in found["evidence"]


@pytest.mark.parametrize("word", ["None", "null", "N/A", None])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_nor_is_a_run_healthy_whose_last_entries_hold_nothing(tmp_path, form, word):
    found = judged(tmp_path, written([half(row, word) for row in entries()], form), f"log.{form}")
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert "no number in 20 of 40 entries" in found["evidence"]


@pytest.mark.parametrize("word", ["", "None", "null", "N/A"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_where_the_loss_goes_on_or_another_metric_is_logged_it_is_a_gap(tmp_path, form, word):
    rows = [half(row, row["loss"], eval_loss=word) for row in entries()]
    rows[10:10] = [{"step": 105, "loss": word, "eval_loss": 0.6}]
    rows[30:30] = [{"step": 285, "loss": word, "eval_loss": 0.5}]
    rows += [{"step": 400, "loss": word, "eval_loss": 0.4}]
    found = judged(tmp_path, written(rows, form), f"log.{form}")
    assert (found["main"], found["confidence"], found["notes"]) == ("healthy", "likely", [])


@pytest.mark.parametrize("word", ["None", "null", None])
@pytest.mark.parametrize("each", [1, 2, 5])
@pytest.mark.parametrize("beside", [{}, {"grad_norm": 1.0}], ids=["alone", "beside a gradient"])
def test_a_loss_of_every_second_entry_has_not_broken_off_at_the_last_one(tmp_path, word, each, beside):
    rows = [row if row["step"] // 10 % each == 1 % each else row | {"loss": word} for row in entries()]
    listed = [{k: row[k] for k in ("step", "loss")} | beside for row in rows]
    found = judged(tmp_path, written(listed, "jsonl"), "log.jsonl")
    assert found["main"] == "healthy" and "no number" not in str(found)


def written(rows, form):
    if form == "jsonl":
        return "\n".join(map(json.dumps, rows))
    return "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])


PLANS = {
    "yaml": "max_steps: 400\nnum_train_epochs: 3.0\nloss_type: sigmoid\n",
    "yaml, quoted": '"max_steps": 400\nnum_train_epochs: 3\n',
    "json": json.dumps({"max_steps": 400, "num_train_epochs": 3.0}, indent=1),
    "a printed object": "TrainingArguments(max_steps=400, num_train_epochs=3.0)",
    "a command": "python train.py --max_steps 400 --num_train_epochs=3",
    "a script of steps": "max_train_steps: 400\nnum_train_epochs: 3\n",
}


@pytest.mark.parametrize("plan", PLANS)
def test_steps_that_were_planned_go_before_epochs_however_they_are_written(tmp_path, plan):
    """A trainer that is given both stops at the steps: `the log ends at epoch 0.39 of 3` was no early end."""
    (tmp_path / "training_args.yaml").write_text(PLANS[plan])
    found = judged(tmp_path, state(entries(epoch=lambda i, _: 0.39 * (i + 1) / 40)))
    assert (found["main"], found["confidence"], found["notes"]) == ("healthy", "likely", [])


@pytest.mark.parametrize(
    "plan", ["max_steps: -1", "max_steps: null", "eval_max_steps: 400", "no-max_steps: 400"]
)
def test_no_limit_on_the_steps_leaves_the_epochs(tmp_path, plan):
    (tmp_path / "training_args.yaml").write_text(f"{plan}\nnum_train_epochs: 3\n")
    found = judged(tmp_path, state(entries(epoch=lambda i, _: 0.39 * (i + 1) / 40)))
    assert "the log ends at epoch 0.39 of 3 that were planned (13%)" in found["notes"]
