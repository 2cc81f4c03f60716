"""Further ways in which tools write a log: names, separators, colours, long tables, several runs in one file."""  # noqa: E501

import json
import math
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log

N = 30
LOSS = [round(1.2 + 0.8 * math.exp(-i / 8), 4) for i in range(1, N + 1)]
MARGIN = [round(1.2 * (1 - math.exp(-i / 12)), 4) for i in range(N)]
DPO = [round(math.log1p(math.exp(-m)), 4) for m in MARGIN]
RIGHT = [round(0.5 + 0.25 * m, 3) for m in MARGIN]
STEPS = range(1, N + 1)


def lines(template: str, separator: str = "\n") -> str:
    return separator.join(
        template.format(i=i, n=N, loss=LOSS[i - 1], dpo=DPO[i - 1], acc=RIGHT[i - 1], margin=MARGIN[i - 1],
                        percent=100 * RIGHT[i - 1], comma=str(LOSS[i - 1]).replace(".", ","))
        for i in STEPS
    )  # fmt: skip


READABLE = {
    "torchtune's bar": ("a.log", lines("1|{i}|Loss: {loss}:  3%|█ | {i}/30 [00:10<00:20,  1.2it/s]", "\r"), "SFT"),  # noqa: E501
    "colours": ("a.log", lines("\x1b[32mINFO\x1b[0m \x1b[1mstep {i}\x1b[0m loss: \x1b[33m{loss}\x1b[0m"), "SFT"),  # noqa: E501
    "pasted table": ("a.txt", lines("{i}     {loss}").join(["Step  Training Loss\n", ""]), "SFT"),
    "decimal comma": ("a.csv", "step;loss\n" + lines("{i};{comma}"), "SFT"),
    "MLflow": ("a.csv", "run_id,key,value,step\n" + lines("ab,train_loss,{loss},{i}"), "SFT"),
    "events": ("a.jsonl", lines('{{"type": "metric", "name": "train/loss", "value": {loss}, "step": {i}}}'), "SFT"),  # noqa: E501
    "nested": ("a.jsonl", lines('{{"step": {i}, "metrics": {{"train": {{"loss": {loss}}}, "lr": 1e-5}}}}'), "SFT"),  # noqa: E501
    "percent in a bar": ("a.log", lines("Training steps: 3%|█| {i}/30 [00:10<00:20, train_loss={loss}]", "\r"), "SFT"),  # noqa: E501
    "losses/dpo": (
        "a.jsonl", lines('{{"step": {i}, "losses/dpo": {dpo}, "rewards_train/chosen": {margin}, "rewards_train/rejected": 0}}'), "DPO",  # noqa: E501
    ),
    "reward model of DeepSpeed-Chat": (
        "a.log", lines("Step {i}: loss = {dpo}, chosen_last_scores (higher is better) : {margin}, acc (higher is better) : {acc}"), "DPO",  # noqa: E501
    ),
    "mlx-lm-lora": ("a.txt", lines("Iter {i}: loss {dpo}, chosen_r {margin}, acc {acc}, margin {margin}, lr 1.000e-06, it/s 0.5"), "DPO"),  # noqa: E501
    "accuracy in percent": ("a.log", lines("step {i} loss {dpo} reward_accuracy {percent:.1f}% margin {margin}"), "DPO"),  # noqa: E501
    "TensorBoard's JSON": ("run-x-tag-train_loss.json", "[" + lines("[1.7e9, {i}, {loss}]", ",") + "]", "SFT"),  # noqa: E501
    "DeepSpeed's ranks": ("a.log", lines("Epoch: 0, Step: {i}, Rank: 0, loss = {loss}\nEpoch: 0, Step: {i}, Rank: 1, loss = 9.9"), "SFT"),  # noqa: E501
    "bar after its entry": ("a.out", lines("{{'loss': {loss}, 'epoch': 0.1}}   \r 3%|█ | {i}/30 [00:10<00:20,  1.2it/s]", ""), "SFT"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_a_variant_is_read_whole(tmp_path: Path, name: str) -> None:
    file, text, method = READABLE[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    log = read_log(tmp_path / file)
    expected = DPO if method == "DPO" else LOSS
    assert [row["loss"] for row in log.train] == expected
    assert (log.unit, [row["step"] for row in log.train]) == ("step", list(STEPS))
    found = diagnose(log)
    assert (found.main, found.method.name) == ("healthy", method)
    assert max((row.get("rewards/accuracies", 0) for row in log.train)) <= 1  # noqa: UP034


UNREADABLE = {
    "a summary alone": ("all_results.json", json.dumps({"eval_loss": 0.61, "train_loss": 0.5, "train_runtime": 9.0})),  # noqa: E501
    "W&B's summary": ("wandb-summary.json", json.dumps({"train/loss": 0.5, "_step": 10})),
    "a classifier's accuracy": ("a.csv", "epoch,accuracy,f1\n1,0.5,0.4\n2,0.5,0.4\n3,0.5,0.4\n4,0.5,0.4\n"),
    "prose": ("a.md", "# Training\nWe trained with loss 0.5 and lr 1e-5.\nThe loss: 0.7 at step 3 was great.\n"),  # noqa: E501
    "a configuration": ("a.yaml", "learning_rate: 5.0e-6\nloss_type: sigmoid\nmax_grad_norm: 1.0\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_holds_no_curve_gets_no_verdict(tmp_path: Path, name: str) -> None:
    file, text = UNREADABLE[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(ProbeError, match="no training metrics|no curve"):  # noqa: RUF043
        read_log(tmp_path / file)


def broken(i: int) -> str:
    return "NaN" if i > 5 else str(LOSS[i - 1])


def test_of_several_runs_the_gravest_is_judged_and_the_others_are_told(tmp_path: Path) -> None:
    heading = '"Step","a - train/loss","a - train/loss__MIN","b - train/loss","c - train/loss"\n'
    rows = "\n".join(f'"{i}","{LOSS[i - 1]}","0","{broken(i)}","{LOSS[i - 1]}"' for i in STEPS)
    (tmp_path / "panel.csv").write_text(heading + rows)
    log = read_log(tmp_path / "panel.csv")
    told = diagnosis_json(diagnose(log))
    assert (told["main"], told["since"]) == ("numerics", "step 6")
    assert told["notes"][0] == "run b, the most serious of 3 runs"
    assert [note[:14] for note in told["notes"][1:3]] == ["run a: healthy", "run c: healthy"]


def test_two_runs_one_after_the_other_in_a_console(tmp_path: Path) -> None:
    first = lines("{{'loss': nan, 'grad_norm': nan, 'epoch': {i}}}")
    summed = "{'train_runtime': 3.0, 'train_loss': 1.3, 'epoch': 30.0}"
    second = lines("{{'loss': {loss}, 'grad_norm': 1.0, 'epoch': {i}}}")
    (tmp_path / "two.log").write_text("\n".join([first, summed, second, summed]))
    told = diagnosis_json(diagnose(read_log(tmp_path / "two.log")))
    assert told["main"] == "numerics"
    assert told["notes"][0] == "run 1, the most serious of 2 runs"


def test_a_resumed_run_is_one_run(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": LOSS[i - 1]} for i in range(1, 21)]
    rows += [{"step": 20, "train_runtime": 3.0, "train_loss": 1.3}]  # type: ignore[dict-item]
    rows += [{"step": i, "loss": LOSS[i - 1]} for i in range(16, N + 1)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = read_log(tmp_path / "log.jsonl")
    assert [row["step"] for row in log.train] == list(STEPS)
    assert any("resumed at step 16" in note for note in log.notes)


def test_a_model_card_is_read_from_the_directory_of_its_run(tmp_path):
    card = "# model\n\n| Training Loss | Epoch | Step | Validation Loss |\n|:--|:--|:--|:--|\n"
    rows = [f"| {0.69 - 0.05 * k:.4f} | {k}.0 | {100 * k} | {0.68 - 0.03 * k:.4f} |" for k in range(1, 6)]
    (tmp_path / "README.md").write_text(card + "\n".join(rows) + "\n")
    log = read_log(tmp_path)
    assert log.form == "a Markdown table"
    assert [row["loss"] for row in log.evals[""]] == [0.65, 0.62, 0.59, 0.56, 0.53]


@pytest.mark.parametrize("times", [2, 3, 4, 8])
@pytest.mark.parametrize("prefix", ["[rank{k}]: ", "(RayWorker pid=10{k}) ", "2026-01-01 10:00:0{k} INFO "])
def test_an_entry_that_several_writers_print_counts_once(times, prefix, tmp_path):
    shown = [
        prefix.format(k=k) + f"{{'loss': {0.7 - 0.01 * i:.4f}, 'epoch': {i / 10}}}"
        for i in range(12)
        for k in range(times)
    ]
    (tmp_path / "a.log").write_text("\n".join(shown) + "\n")
    log = read_log(tmp_path / "a.log")
    assert [row["loss"] for row in log.train] == [round(0.7 - 0.01 * i, 4) for i in range(12)]
    assert f"{12 * (times - 1)} echoes are left out" in " ".join(log.notes)


def test_a_stuck_run_that_repeats_itself_is_no_echo(tmp_path):
    (tmp_path / "a.log").write_text("{'loss': 0.6931, 'learning_rate': 0.0}\n" * 20)
    assert len(read_log(tmp_path / "a.log").train) == 20
