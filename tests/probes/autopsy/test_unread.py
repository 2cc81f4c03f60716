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


@pytest.mark.parametrize("last", [50.0, 1e9])
def test_an_explosion_in_the_last_entry_is_one(tmp_path, last):
    rows = entries(loss=lambda i, row: last if i == 39 else row["loss"])
    found = judged(tmp_path, state(rows))
    assert (found["main"], found["code"], found["since_step"]) == ("diverged", "PB852", 400)
    assert "nothing shows a recovery" in found["evidence"]


def test_a_spike_that_came_back_is_none(tmp_path):
    rows = entries(loss=lambda i, row: 50.0 if i == 30 else row["loss"])
    assert judged(tmp_path, state(rows))["main"] == "healthy"


@pytest.mark.parametrize("prefix", ["", "dpo/", "train/dpo/", "run7/"])
def test_columns_of_the_sides_are_known_behind_a_loggers_own_word(tmp_path, prefix):
    rows = [
        {k if k in ("step", "loss") else prefix + k: v for k, v in row.items()}
        for row in entries(
            **{"logps/chosen": lambda i, _: -100.0 - 5 * i, "rewards/chosen": lambda i, _: -0.1 * i}
        )
    ]
    assert judged(tmp_path, state(rows))["main"] == "displaced"


def test_a_loss_under_ln_2_beside_a_negative_margin_is_impossible(tmp_path):
    """The margins of rejected less chosen, say: every loss that falls with the margin costs more there."""
    found = judged(tmp_path, state(entries(**{"rewards/margins": lambda i, row: -row["rewards/margins"]})))
    assert found["code"] == "PB851" and "rejected less chosen" in found["next"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trainer_state.json", state(entries())[:-900], "no whole JSON, cut or damaged: "),
        ("log.jsonl", "\n".join([*LINES[:20], '{"step"', *LINES[20:]]), "1 of 41 lines are no JSON"),
        ("log.json", state(entries(loss=lambda i, _: "0.69 nats")), "the loss is no number in any entry"),
        ("log.json", state(entries(loss=lambda i, _: None)), "the loss is no number in any entry"),
    ],
    ids=["cut", "broken lines", "unit", "null"],
)  # fmt: skip
def test_what_could_not_be_read_is_said_and_not_called_healthy(tmp_path, name, text, said):
    found = judged(tmp_path, text, name)
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert said in found["evidence"] and any(said in note for note in found["notes"])


def test_a_run_that_stopped_early_says_so(tmp_path):
    found = judged(tmp_path, state(entries(), max_steps=4000))
    assert "the log ends at step 400 of 4,000 that were planned" in found["notes"]


@pytest.mark.parametrize("order", ["newest first", "shuffled", "resumed"])
def test_entries_are_read_by_their_steps(tmp_path, order):
    """A resumed run goes back once: what it replaced is left out, as ever."""
    rows = entries()
    changed = {
        "newest first": rows[::-1],
        "shuffled": [rows[i * 17 % 40] for i in range(40)],
        "resumed": rows[:30] + rows[20:],
    }[order]
    found, plain = judged(tmp_path, state(changed)), judged(tmp_path, state(rows))
    assert (found["main"], found["evidence"]) == (plain["main"], plain["evidence"])
    assert any("read by their steps" in note for note in found["notes"]) is (order != "resumed")
