"""A data set is no training log, whatever its columns are called; in a directory it hides no log."""

import csv
import io
import json

import pytest

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.read import read_log

PAIR = {"prompt": "Where?", "chosen": "Here, sir.", "rejected": "no"}
SCORES = {
    "ultrafeedback": {"score_chosen": 8.5, "score_rejected": 5.0},
    "turned": {"chosen_score": 8.5, "rejected_score": 5.0},
    "rewards": {"chosen_reward": 0.7, "rejected_reward": -0.1},
    "log-probs": {"chosen_logps": -70.5, "rejected_logps": -60.0},
}
TALK = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
ROWS = {
    **{name: PAIR | scores for name, scores in SCORES.items()},
    "messages": {"chosen": TALK, "rejected": TALK, "score_chosen": 8.0, "score_rejected": 1.0},
    "rewarded": {"prompt": "Where?", "response": "Here.", "reward": 0.4},
    "completions": {"messages": TALK, "completion": "Here.", "reward": 0.4},
}


def table(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lines(rows):
    return "\n".join(map(json.dumps, rows))


FORMS = {"jsonl": lines, "json": json.dumps, "csv": table}


def varied(row, n=40):
    """The row n times, its numbers changed a little."""
    return [{k: v + 0.01 * (i % 7) if isinstance(v, float) else v for k, v in row.items()} for i in range(n)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", ROWS)
def test_a_data_set_is_refused_by_name(tmp_path, rows, form):
    path = tmp_path / f"train.{form}"
    path.write_text(FORMS[form](varied(ROWS[rows])))
    with pytest.raises(ProbeError, match="a data set and no training log") as told:
        read_log(path)
    assert (f"`probe data {path}`" in str(told.value)) is ({"chosen", "rejected"} <= ROWS[rows].keys())


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_pairs_without_numbers_is_sent_to_the_data_check(tmp_path, form):
    path = tmp_path / f"pairs.{form}"
    row = {"prompt": "What is two? " * 40, "chosen": "It is two, as you know.", "rejected": "No idea at all."}
    path.write_text(FORMS[form]([row] * 9))
    with pytest.raises(ProbeError, match=r"`probe data .*pairs"):
        read_log(path)


@pytest.mark.parametrize(
    "text", ["We have chosen a rate of 3.\nNothing else.", "rewards/chosen rewards/rejected\n"]
)
def test_what_is_neither_log_nor_pairs_is_not(tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(ProbeError, match="Give a trainer_state"):
        read_log(tmp_path / "notes.txt")


RUN = [{"step": 10 * i, "loss": 0.7 - 0.01 * i, "learning_rate": 1e-5} for i in range(1, 31)]


@pytest.mark.parametrize(
    "beside",
    [
        {"prompt": "Where?", "completion": "Here.", "reward": 0.5},  # a sample beside each entry
        {"text": "saved", "rewards/chosen": 0.5},
        {"chosen": -0.4, "rejected": -0.5},  # numbers, not texts
    ],
)
def test_a_log_with_texts_in_it_is_one(tmp_path, beside):
    path = tmp_path / "log.jsonl"
    path.write_text(lines([row | beside for row in RUN]))
    assert len(read_log(path).train) == 30


@pytest.mark.parametrize("where", ["checkpoint-300", "run1/checkpoint-300", "run1"])
def test_a_data_set_beside_the_log_hides_it_nowhere(tmp_path, where):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text(lines(varied(ROWS["ultrafeedback"])))
    (tmp_path / "a.jsonl").write_text(lines([{"reward": i, "loss": 1.0} for i in range(9)]))
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / "trainer_state.json").write_text(json.dumps({"log_history": RUN}))
    log = read_log(tmp_path)
    assert len(log.train) == 30 and diagnose(log).main == "healthy"


def test_of_the_checkpoints_below_a_directory_the_last_is_read(tmp_path):
    for step in (100, 1000, 300):
        path = tmp_path / f"run1/checkpoint-{step}/trainer_state.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"log_history": [{**row, "loss": step} for row in RUN]}))
    assert read_log(tmp_path).train[0]["loss"] == 1000


def test_a_directory_of_averages_alone_is_told_as_a_file_of_them_is(tmp_path):
    (tmp_path / "all_results.json").write_text(json.dumps({"epoch": 1.0, "train_loss": 1.2}))
    with pytest.raises(ProbeError, match=r"all_results.json: one entry, a summary and no curve"):
        read_log(tmp_path)
    (tmp_path / "z.jsonl").write_text(lines(RUN))
    assert len(read_log(tmp_path).train) == 30


@pytest.mark.parametrize("name", ["events.out.tfevents.1700000000.host.1.0", "run-abc.wandb"])
def test_a_directory_says_which_library_its_only_logs_need(tmp_path, name, monkeypatch):
    """It had said that there is no event file in it."""
    monkeypatch.setattr("probe.probes.autopsy.binary.import_module", missing)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / name).write_bytes(b"\0" * 20)
    (tmp_path / "train_results.json").write_text(json.dumps({"epoch": 1.0, "train_loss": 1.2}))
    for path in (tmp_path, tmp_path / "logs" / name):
        with pytest.raises(ProbeError, match=r"needs its library: pip install 'prefprobe\[logs\]'"):
            read_log(path)
    (tmp_path / "log.jsonl").write_text(lines(RUN))
    assert len(read_log(tmp_path).train) == 30


def missing(name):
    raise ImportError(name)
