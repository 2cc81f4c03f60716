"""Logs as people paste them: broken at a width, cut off by an error, from tools' own consoles."""

import json
import math
import random

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.read import read_log
from probe.probes.autopsy.wrapped import unwrapped


def dpo(n=40, top=1.2, nan_from=None):
    """A DPO run that learns, or is lost from an entry on."""
    rng = random.Random(3)
    rows = []
    for i in range(n):
        margin = top * (1 - math.exp(-3 * i / n)) + (rng.gauss(0, 0.03) if i else 0.0)
        row = {
            "loss": round(math.log1p(math.exp(-margin)) + (0.02 if i else 0.0), 4),
            "grad_norm": rng.uniform(3, 8),
            "learning_rate": 5e-6 * (1 - i / n),
            "rewards/chosen": 0.35 * margin,
            "rewards/rejected": -0.65 * margin,
            "rewards/accuracies": 0.5 + 0.25 * margin,
            "rewards/margins": margin,
            "logps/chosen": -180 + rng.uniform(-9, 9),
            "epoch": round((i + 1) / n, 3),
        }
        if nan_from is not None and i >= nan_from:
            row |= {name: math.nan for name in row if "/" in name or name == "grad_norm"} | {"loss": 0.0}
        rows.append(row)
    return rows


def judged(tmp_path, text, name="run.log"):
    path = tmp_path / name
    path.write_text(text)
    log = read_log(path)
    return diagnosis_json(diagnose(log)), log


def at_width(text, width):
    return "\n".join(line[i : i + width] for line in text.splitlines() for i in range(0, len(line), width))


@pytest.mark.parametrize("width", range(60, 200, 17))
@pytest.mark.parametrize("write", [str, json.dumps])
def test_a_terminal_that_breaks_lines_changes_nothing(tmp_path, width, write):
    """Of a run lost at entry 13, only broken entries could be read: it was NaN "since entry 1 (certain)"."""
    text = "\n".join(map(write, dpo(nan_from=12)))
    whole, log = judged(tmp_path, text)
    broken, found = judged(tmp_path, at_width(text, width))
    assert found.train and len(found.train) == len(log.train)
    assert (broken["main"], broken["since"]) == (whole["main"], whole["since"]) == ("numerics", "entry 13")
    assert broken["evidence"] == whole["evidence"]


def verl(step, reward, *, lr="0.000", critic="0.100", policy="0.012"):
    return (
        f"step:{step} - actor/entropy_loss:0.44{step:02d} - actor/kl_loss:0.001 - actor/pg_loss:{policy} - "
        f"actor/grad_norm:0.13{step:02d} - actor/lr:{lr} - critic/vf_loss:{critic} - "
        f"critic/score/mean:{reward:.3f} - critic/rewards/mean:{reward:.3f} - "
        f"response_length/mean:1267.02{step:02d}"
    )


@pytest.mark.parametrize("width", range(50, 260, 7))
def test_broken_lines_of_names_and_values_are_joined(tmp_path, width):
    """A number that ended at the edge had been read without its last digits."""
    text = "\n".join(verl(i, -0.4 + 0.02 * i) for i in range(1, 41))
    assert judged(tmp_path, at_width(text, width))[1].train == judged(tmp_path, text)[1].train


@pytest.mark.parametrize(
    "line",
    [
        "step: {:3d} loss: 0.6931",
        "2026-03-01 10:00:00 step {:03d} loss 0.6931 lr 0.0000050000",
        "{:05d} loss 0.69",
        "step {0:03d} of training, its loss is 0.6931, 1\neval {0:03d} of training, its loss is 0.7931, 2",
    ],
)
def test_lines_of_one_width_that_begin_alike_stay_apart(line):
    text = "\n".join(line.format(i) for i in range(100))
    assert unwrapped(text) == text


def test_dictionaries_that_cannot_be_read_are_told(tmp_path):
    rows = [str(row) for row in dpo()]
    torn = [row[:90] + row + row[90:] if i % 10 == 5 else row for i, row in enumerate(rows)]  # two processes
    found, _ = judged(tmp_path, "\n".join(torn))
    assert found["confidence"] == "cannot tell" and "were left out: 4" in found["evidence"]
    found, _ = judged(tmp_path, "\n".join(rows) + "\n{'loss': 0.31, 'grad_norm': 3.2, 'learn")  # an excerpt
    assert (found["main"], found["confidence"], found["notes"]) == ("healthy", "likely", [])


@pytest.mark.parametrize("nan_from", [None, 12])
def test_a_whole_json_of_printed_lines_is_not_called_cut(tmp_path, nan_from):
    """Kaggle's logs are a list of what was printed."""
    lines = [{"stream_name": "stdout", "time": 1.0, "data": f"{row}\n"} for row in dpo(nan_from=nan_from)]
    found, _ = judged(tmp_path, json.dumps(lines), "kernel.json")
    assert found["notes"] == [] and found["main"] == ("numerics" if nan_from else "healthy")


def test_a_critic_that_is_not_finite_is_a_failure(tmp_path):
    """Its rate, written 0.000, is not one of 0: no sentence says that no update came before."""
    found, _ = judged(tmp_path, "\n".join(verl(i, 0.02 * i, critic="nan") for i in range(1, 41)))
    assert (found["main"], found["since"], found["method"]["name"]) == ("numerics", "step 1", "PPO")
    assert "critic/vf_loss" in found["evidence"] and "learning_rate" not in found["evidence"]
    found, _ = judged(
        tmp_path, "\n".join(verl(i, 0.02 * i, policy="nan" if i > 20 else "0.01") for i in range(1, 41))
    )
    assert (found["main"], found["since"]) == ("numerics", "step 21")


def kto(i, lost):
    row = {
        "loss": 0.5 - 0.002 * i,
        "grad_norm": 4.0,
        "rewards/chosen": 0.01 * i,
        "rewards/rejected": -0.01 * i,
    }
    row |= {"rewards/margins": 0.02 * i, "kl": 0.1, "logps/chosen": -32.0, "logps/rejected": -70.0}
    return {name: math.nan if name in lost else value for name, value in row.items()}


def test_no_empty_side_makes_the_kl_of_all_examples_nan(tmp_path):
    """A KTO run of which nothing is finite any more had "HEALTHY curves, but: empty_side"."""
    sides = {
        "rewards/chosen",
        "logps/chosen",
        "rewards/rejected",
        "logps/rejected",
        "rewards/margins",
        "loss",
    }
    found, _ = judged(tmp_path, "\n".join(str(kto(i, sides | {"kl"} if i > 5 else ())) for i in range(1, 41)))
    assert (found["main"], found["since"]) == ("numerics", "entry 6")
    found, _ = judged(tmp_path, "\n".join(str(kto(i, sides if i % 5 == 0 else ())) for i in range(1, 42)))
    assert (found["main"], found["tags"]) == ("healthy", ["empty_side"])


OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.30 GiB."
ENDINGS = [
    ("Traceback (most recent call last):\n  File \"train.py\", line 8, in <module>\n" + OOM, OOM),
    ("[rank0]: " + OOM, OOM),
    ("slurmstepd: error: *** JOB 12 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***", "DUE TO TIME LIMIT"),
    ("failed (exitcode: -9) local_rank: 0 (pid: 4119) of binary: python", "exitcode: -9"),
    ("Killed", "Killed"),
    ("KeyboardInterrupt", "KeyboardInterrupt"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), ENDINGS)
@pytest.mark.parametrize("planned", ["", "  Total optimization steps = 400\n"])
def test_the_error_that_a_run_ended_in_is_quoted(tmp_path, text, told, planned):
    rows = [row | {"step": 10 * i} for i, row in enumerate(dpo(40)[:12], 1)]
    found, _ = judged(tmp_path, planned + "\n".join(map(str, rows)) + f"\n{text}\n")
    assert found["confidence"] == "cannot tell" and found["next"].startswith("Mend what the error says")
    assert any(told in note and note.startswith("the log ends in an error") for note in found["notes"])


def test_of_several_errors_the_cause_is_quoted(tmp_path):
    """A launcher says last that a process failed, and nothing of why."""
    tail = f"[rank1]: {OOM}\nE1 api.py:869] failed (exitcode: 1) local_rank: 1\nx.errors.ChildFailedError: \n"
    found, _ = judged(tmp_path, "\n".join(map(str, dpo())) + f"\n{tail}")
    assert OOM in found["evidence"] and "ChildFailed" not in found["evidence"]


def test_an_error_before_the_last_entry_or_after_the_end_of_a_training_is_no_ending(tmp_path):
    rows = "\n".join(map(str, dpo()))
    for text in (
        f"{OOM}\n{rows}",
        f"{rows}\n{{'train_runtime': 12.1, 'train_samples_per_second': 3.1}}\nHTTPError: 401",
    ):
        found, _ = judged(tmp_path, text)
        assert (found["main"], found["confidence"], found["notes"]) == ("healthy", "likely", [])


def test_a_policy_that_is_its_reference_again_is_told(tmp_path):
    """Resumed without its adapter; a run whose rewards only sink to half their size goes on."""
    rows = [row | {"step": 10 * i} for i, row in enumerate([*dpo(20), *dpo(20)], 1)]
    found, _ = judged(tmp_path, json.dumps({"log_history": rows}), "trainer_state.json")
    assert found["confidence"] == "cannot tell" and "back at about 0 at step 210" in found["evidence"]
    half = [
        row | {"rewards/chosen": row["rewards/chosen"] / (2 if i > 20 else 1)} for i, row in enumerate(dpo())
    ]
    assert judged(tmp_path, json.dumps(half), "log.json")[0]["confidence"] == "likely"


def test_an_evaluation_of_openrlhf_s_bar_is_one(tmp_path):
    bar = (
        "Train step of epoch 0: {}%|█| {}/40 [00:10<01:20, 1s/it, loss={:.3g}, acc={:.3g}, loss_mean={:.3g}]"
    )
    lines = [bar.format(i, i, r["loss"], r["rewards/accuracies"], r["loss"]) for i, r in enumerate(dpo(), 1)]
    end = "Eval stage of steps 40: 100%|██| 8/8 [00:08<00:00, 1.1s/it, eval_loss=0.452, acc_mean=0.79]"
    found, log = judged(tmp_path, "\r".join(lines) + f"\n{end}\n")
    assert found["confidence"] == "likely" and log.evaluation[0]["rewards/accuracies"] == 0.79


def test_held_out_accuracies_may_stand_on_a_line_of_their_own(tmp_path):
    text = ""
    for i, row in enumerate(dpo(), 1):
        text += (
            f"=== Step {i}/40 ===\n  • Loss: {row['loss']}\n  • Accuracy: {row['rewards/accuracies']:.4f}\n"
        )
        if i % 10 == 0:
            text += f"    • Validation loss: {row['loss']}\n    • Validation accuracy: {0.5 + i / 200:.4f}\n"
    _, log = judged(tmp_path, text)
    assert [row["rewards/accuracies"] for row in log.evaluation] == [0.55, 0.6, 0.65, 0.7]


def test_the_method_is_read_from_torchtune_s_settings(tmp_path):
    head = "INFO: Running LoRADPORecipeSingleDevice with resolved config:\nloss:\n  _component_: x.loss.{}\n"
    lines = "\r".join(
        f"1|{i}|Loss: {row['loss']}:  {i}%|█ | {i}/40 [00:10<01:30]" for i, row in enumerate(dpo(), 1)
    )
    assert judged(tmp_path, head.format("DPOLoss") + lines)[0]["method"]["name"] == "DPO"
    assert judged(tmp_path, head.format("SimPOLoss") + lines)[0]["method"]["name"] != "DPO"


@pytest.mark.parametrize("name", ["rewards/accuracy/mean", "rewards/acc/mean"])
def test_a_reward_function_called_accuracy_is_no_accuracy_of_pairs(tmp_path, name):
    rows = [{"loss": 0.001, "reward": 0.05 * i, "reward_std": 0.4, name: 0.05 * i} for i in range(40)]
    assert "accuracies" not in judged(tmp_path, "\n".join(map(str, rows)))[0]["evidence"]


@pytest.mark.parametrize("validation", [False, True])
def test_a_drawn_table_pasted_with_single_blanks_is_read(tmp_path, validation):
    """As text of a page; it had held "no training metrics"."""
    names = [
        "Step",
        "Training Loss",
        *(["Validation Loss"] if validation else []),
        "reward",
        "rewards / my_func",
    ]
    lines = [" ".join(names)]
    for i in range(1, 31):
        loss = "No log" if i == 1 and validation else f"{0.01 / i:.6f}"
        lines.append(f"{i} {loss} {'1.250000 ' if validation else ''}{0.05 * i:.6f} 1e-{i % 7}")
    found, log = judged(tmp_path, "Here is my log\n" + "\n".join(lines) + "\nWhat is wrong?")
    rows = log.evaluation if validation else log.train
    assert rows[-1]["step"] == 30.0 and rows[-1]["reward"] == 1.5 and len(rows) == 30
    assert log.train[-1]["loss"] == 0.000333 and found["method"]["name"] == "GRPO"


def exo(margin):
    won = 1 / (1 + math.exp(-margin))
    return won * math.log(won / 0.999) + (1 - won) * math.log((1 - won) / 0.001)


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_exo_is_no_sum_over_four_micro_batches(tmp_path, spread):
    """Its loss starts at 2.761, and 4 × ln 2 is 2.773: it had been "summed over 4", with certainty."""
    rng = random.Random(1)
    rows = []
    for row in dpo(top=2.0):
        m = row["rewards/margins"]
        loss = sum(exo(m + (rng.gauss(0, spread) if m else 0.0)) for _ in range(50)) / 50
        rows.append(row | {"loss": round(loss, 4)})
    found, _ = judged(tmp_path, "\n".join(map(str, rows)))
    assert (found["method"]["name"], found["tags"]) == ("DPO variant", [])
    named, _ = judged(
        tmp_path, "loss_type: exo_pair\n" + "\n".join(map(str, rows[1:]))
    )  # not at rest any more
    assert (named["method"]["name"], named["tags"]) == ("EXO", [])
    four = [row | {"loss": round(4 * row["loss"], 4)} for row in dpo()]
    assert judged(tmp_path, "\n".join(map(str, four)))[0]["tags"] == ["summed_loss"]


def noisy(seed, n, top, pairs):
    """A DPO run of so few pairs an entry that its accuracies are anything."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        mean = top * (1 - math.exp(-3 * i / n))
        margins = [rng.gauss(mean, 1.2 * min(1, mean / top + 0.05) if top else 0.3) for _ in range(pairs)]
        margin = sum(margins) / pairs if i else 0.0
        rows.append(
            {
                "loss": sum(math.log1p(math.exp(-m)) for m in margins) / pairs if i else math.log(2),
                "rewards/chosen": 0.4 * margin,
                "rewards/rejected": -0.6 * margin,
                "rewards/accuracies": sum(m > 0 for m in margins) / pairs,
                "rewards/margins": margin,
            }
        )
    return rows


@pytest.mark.parametrize(("n", "pairs"), [(50, 2), (100, 1), (200, 1)])
def test_few_pairs_an_entry_are_no_coin(n, pairs):
    """Of 100 runs that end at an accuracy of 0.69, 15 of one pair an entry had been "stuck (likely)"."""
    found = [diagnose(make_log("x", noisy(seed, n, 0.6, pairs))) for seed in range(40)]
    wrong = [one for one in found if one.main not in ("healthy",)]
    sure = [one for one in found if one.main == "healthy" and one.sign.confidence == "likely"]
    assert len(wrong) <= 2 and len(sure) >= 25


@pytest.mark.parametrize(("n", "pairs", "most"), [(50, 8, 6), (100, 8, 4), (200, 2, 6)])
def test_what_may_be_a_coin_is_not_called_healthy(n, pairs, most):
    """Of 100 runs that learn nothing, 35 had been "healthy (likely)" at 50 entries."""
    found = [diagnose(make_log("x", noisy(seed, n, 0.0, pairs))) for seed in range(40)]
    sure = [one for one in found if one.main == "healthy" and one.sign.confidence == "likely"]
    assert len(sure) <= most
    assert sum(one.main == "stuck" for one in found) >= 20


def test_before_a_loss_that_had_left_its_range_no_checkpoint_is_sound(tmp_path):
    """Of a loss of 4e14 from the first entry on it had said that the run was sound until it became NaN."""
    from_the_first = [{"loss": 4e14 if i < 20 else math.nan, "learning_rate": 1e-4} for i in range(40)]
    rising = [{"loss": 1.5 * 1.25**i if i < 20 else math.nan, "learning_rate": 1e-4} for i in range(40)]
    for rows in (from_the_first, rising):
        found, _ = judged(tmp_path, "\n".join(map(str, rows)))
        assert (found["main"], found["since"]) == ("numerics", "entry 21")
        assert found["next"].startswith("The loss was out of its range before")
    steady = [{"loss": 1.5 - 0.01 * i if i < 20 else math.nan, "learning_rate": 1e-4} for i in range(40)]
    assert "was sound before" in judged(tmp_path, "\n".join(map(str, steady)))[0]["next"]
    assert "was sound before" in judged(tmp_path, "\n".join(map(str, dpo(nan_from=12))))[0]["next"]


@pytest.mark.parametrize("norm", [1.0, None])
def test_a_loss_of_zero_after_one_step_beside_one_norm_is_not_memorised(tmp_path, norm):
    """A full fine-tuning under DeepSpeed: loss 1.31, then 0.0 with the norm 1.0 in every entry."""
    rows = [
        {"loss": 1.31 if i == 0 else 0.0, "grad_norm": 8.1 if i == 0 else norm or 0.5 / i} for i in range(40)
    ]
    found, _ = judged(tmp_path, "\n".join(map(str, rows)))
    assert (found["main"] == "numerics") is (norm is not None)


def test_a_run_whose_every_entry_has_its_runtime_can_end_in_an_error(tmp_path):
    """So transformers writes them where it counts the tokens."""
    rows = [
        row | {"train_runtime": 9.0 * i, "train_tokens_per_second": 99.0} for i, row in enumerate(dpo(), 1)
    ]
    text = "\n".join(map(str, rows))
    assert judged(tmp_path, text)[0]["confidence"] == "likely"
    assert OOM in judged(tmp_path, f"{text}\n{OOM}\n")[0]["evidence"]
