"""Options that no run can have are told in one line, before a model is loaded; processes share a command."""

import json
import math
import os
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from probe import config
from probe.cli import app
from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.ranges import RANGES, SCHEDULES
from probe.scoring.session import ModelOptions, Source
from probe.training.checks import check_device, check_options
from probe.training.guard_records import GuardLimits
from probe.training.plan import Options
from probe.training.recipes import recipe
from probe.training.resumed import run_directory
from probe.training.run import TrainOptions, recipes_for, train_run


@pytest.mark.parametrize(
    ("changes", "loop", "held_out", "told"),
    [
        ({"learning_rate": -1.0}, {}, 0.2, "--learning-rate -1: must be more than 0"),
        ({"learning_rate": math.nan}, {}, 0.2, "--learning-rate nan"),
        ({"batch": 0}, {}, 0.2, "--batch 0: must be at least 1"),
        ({"smoothing": 0.5}, {}, 0.2, "--smoothing 0.5: must be at least 0 and less than 0.5"),
        ({}, {"steps": 0}, 0.2, "--steps 0"),
        ({}, {"limits": GuardLimits(patience=0)}, 0.2, "--patience 0"),
        ({}, {"replay_share": 1.0}, 0.2, "--replay-share 1"),
        ({}, {}, 1.5, "--held-out 1.5: must be more than 0 and less than 1"),
        ({"schedule": "reduce_lr_on_plateau"}, {}, 0.2, "--schedule reduce_lr_on_plateau: unknown"),
        ({}, {"mixed_precision": "fp8"}, 0.2, "--mixed-precision fp8: unknown"),
        ({}, {"trackers": ("paper",)}, 0.2, "--tracker paper: unknown"),
    ],
)  # fmt: skip
def test_impossible_options_are_told(changes, loop, held_out, told):
    with pytest.raises(ProbeError) as error:
        check_options(changes, Options(**loop), held_out)
    assert str(error.value).startswith(told)


def test_an_absent_tracker_is_told(monkeypatch):
    """accelerate would leave it out and say nothing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProbeError, match="--tracker mlflow: not installed"):
        check_options({}, Options(trackers=("mlflow",)), 0.2)


def test_float16_scaling_needs_a_gpu():
    check_device("bf16", "cpu")
    check_device("fp16", "cuda")
    with pytest.raises(ProbeError, match="needs a GPU"):
        check_device("fp16", "cpu")


def test_shipped_recipes_pass():
    for method in ("sft", "dpo", "orpo", "simpo"):
        values = {key: value for key, value in recipe(method, 10**8).facts().items() if key in RANGES}
        check_options({**values, "schedule": None}, Options(), 0.2)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_needs_only_steps(name):
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    get_scheduler(name, optimizer, num_warmup_steps=1, num_training_steps=4)


def test_replay_without_sft_is_refused(tmp_path):
    with pytest.raises(ProbeError, match="dpo has no SFT stage"):
        train_run(
            Source.of(tmp_path / "absent.jsonl", None, None, False),
            ModelOptions(),
            TrainOptions("dpo", replay=tmp_path / "absent.txt"),
        )


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("dpo", {"smoothing": 0.3}),
        ("sft", {"beta": 0.2}),
        ("ipo", {"gamma": 1.0}),
        ("simpo", {"nll_weight": 1.0}),
    ],
)
def test_a_constant_that_no_stage_reads_is_refused(method, given):
    """It was ignored: DPO with --smoothing is cDPO to who knows TRL, and was plain DPO."""
    (name,) = given
    with pytest.raises(ProbeError, match=f"--{name.replace('_', '-')} .*{method} does not have it"):
        recipes_for(TrainOptions(method, changes=given), 10**8, 64)
    other = {"smoothing": "cdpo", "beta": "sft+dpo", "gamma": "simpo", "nll_weight": "dpo_nll"}[name]
    made = recipes_for(TrainOptions(other, changes=given), 10**8, 64)
    assert getattr(made[-1].constants, name) == given[name]


def test_a_constant_of_a_config_file_is_for_the_runs_that_read_it():
    """`beta` beside the pairs is for the gate and for DPO; `train --method sft` below it is no wrong use."""
    with config.using({"beta": (0.2, "probe.toml")}):
        (made,) = recipes_for(TrainOptions("sft", changes={"beta": 0.2}), 10**8, 64)
    assert made.method == "sft"
    with config.using({"beta": (0.2, config.FLAG)}), pytest.raises(ProbeError, match=r"--beta 0\.2"):
        recipes_for(TrainOptions("sft", changes={"beta": 0.2}), 10**8, 64)


OWN = {"lora_rank": 3, "lora_alpha": 7}


@pytest.mark.parametrize("name", ["lora_rank", "lora_alpha"])
@pytest.mark.parametrize(("full", "adapter"), [(True, None), (False, OWN), (True, OWN)])
def test_a_rank_that_no_adapter_is_made_by_is_refused(name, full, adapter):
    """A run on a given adapter was reported with the rank that was typed, and trained with the adapter's."""
    options = TrainOptions("sft+dpo", full, {name: 64})
    with pytest.raises(ProbeError, match=f"--{name.replace('_', '-')} 64: --(full|adapter) .*Leave it out"):
        recipes_for(options, 10**8, 64, adapter=adapter)
    with config.using({name: (64, "probe.toml")}):
        made = recipes_for(options, 10**8, 64, adapter=adapter)
    assert full or [(one.lora_rank, one.lora_alpha) for one in made] == [(3, 7)] * 2
    assert "typed" not in made[0].source


def test_a_given_adapter_is_reported_as_it_is(tmp_path, tiny_model_dir):
    """It trains on with its own rank and scale, and the run says so."""
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    made = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=7, target_modules="all-linear"))
    made.save_pretrained(tmp_path / "start")
    flags = ["--adapter", str(tmp_path / "start"), "--method", "sft+dpo", "--out", str(tmp_path / "run")]
    assert trained(tmp_path, tiny_model_dir, *flags).exit_code == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    told = run["decision"]["hyperparameters"]
    saved = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert {told["sft.lora_rank"], told["dpo.lora_rank"], saved["r"]} == {3}
    assert {told["sft.lora_alpha"], told["dpo.lora_alpha"], saved["lora_alpha"]} == {7}


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("first", ["sft+dpo", "orpo+dpo", "dpo"])
@pytest.mark.parametrize("method", ["sft+dpo", "dpo"])
def test_a_directory_holds_one_training(tmp_path, tiny_model_dir, first, method):
    """A new run in an old directory could not be resumed, and the old one's results passed for its own."""
    out = ["--out", str(tmp_path / "run")]
    assert trained(tmp_path, tiny_model_dir, "--method", first, "--seed", "3", *out).exit_code == 0
    before = files_in(tmp_path / "run")
    again = trained(tmp_path, tiny_model_dir, "--method", method, *out)
    assert isinstance(again.exception, ProbeError) and "holds a training" in str(again.exception)
    assert files_in(tmp_path / "run") == before


def test_an_interrupted_training_is_not_begun_anew_by_a_forgotten_flag(tmp_path, tiny_model_dir, monkeypatch):
    """Its checkpoints stay where `--resume` was left out, and with it the run is as if never interrupted."""
    run = ["--method", "sft+dpo", "--out", str(tmp_path / "run")]
    monkeypatch.setattr("probe.training.loop.Stage.take_reference", interrupted)
    assert trained(tmp_path, tiny_model_dir, *run).exit_code != 0
    monkeypatch.undo()
    before = files_in(tmp_path / "run")
    again = trained(tmp_path, tiny_model_dir, *run)
    assert isinstance(again.exception, ProbeError) and "--resume" in str(again.exception)
    assert files_in(tmp_path / "run") == before
    assert trained(tmp_path, tiny_model_dir, *run, "--resume").exit_code == 0
    new = ["--method", "sft+dpo", "--out", str(tmp_path / "new")]
    assert trained(tmp_path, tiny_model_dir, *new).exit_code == 0
    assert weights_in(tmp_path / "run") == weights_in(tmp_path / "new")


def weights_in(place):
    return (place / "adapter" / "adapter_model.safetensors").read_bytes()


def files_in(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def trained(tmp_path, model, *flags, name="pairs.jsonl"):
    rows = [{"prompt": f"Which, {i}?", "chosen": f" yes {i}", "rejected": f" no, {i}"} for i in range(10)]
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    short = ["--steps", "2", "--samples", "0", "--device", "cpu", "--model", str(model)]
    return CliRunner().invoke(app, ["train", str(tmp_path / name), *short, *flags])


@pytest.mark.parametrize(
    "changed",
    [
        ["--method", "orpo+dpo"], ["--method", "sft+dpo", "--replay-share", "0.75"], ["--method", "dpo"],
        ["--method", "sft+dpo", "--seed", "4"], ["--method", "sft+dpo", "--eval-every", "1"],
    ],
)  # fmt: skip
def test_a_training_goes_on_as_itself_alone(tmp_path, tiny_model_dir, changed):
    """Another stage before it, or other options that decide about weights: refused, and nothing changed."""
    out = ["--out", str(tmp_path / "run")]
    assert trained(tmp_path, tiny_model_dir, "--method", "sft+dpo", *out).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    refused = trained(tmp_path, tiny_model_dir, *changed, "--resume", *out)
    assert isinstance(refused.exception, ProbeError) and "made with other options" in str(refused.exception)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert trained(tmp_path, tiny_model_dir, "--method", "sft+dpo", "--resume", *out).exit_code == 0


def test_resume_finds_the_run_of_this_file_alone(tmp_path, tiny_model_dir, monkeypatch):
    """`voice` is no beginning of `voice-v2`, and a name may hold the signs of a pattern."""
    monkeypatch.chdir(tmp_path)
    for name in ("voice[1].jsonl", "voice[1]-v2.jsonl", "voice[1]-2.jsonl"):
        assert trained(tmp_path, tiny_model_dir, "--method", "dpo", name=name).exit_code == 0
    found = run_directory(tmp_path / "voice[1].jsonl", "2026-11-28T10:00:00Z", True)
    assert json.loads((found / "training.json").read_text())["pairs"] == str(tmp_path / "voice[1].jsonl")
    with pytest.raises(ProbeError, match="no earlier training"):
        run_directory(tmp_path / "voice.jsonl", "2026-11-28T10:00:00Z", True)


def test_two_processes_run_the_whole_command(tmp_path, tiny_model_dir):
    """Scores, two stages, a tracker, the scores afterwards; one report, in one directory."""
    pytest.importorskip("tensorboard")
    pairs = [Pair(str(i), f"Which, {i}?", f" yes {i}", f" no, {i}") for i in range(10)]
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
               "probe", "train", "pairs.jsonl", "--model", str(tiny_model_dir), "--method", "sft+dpo",
               "--steps", "2", "--tracker", "tensorboard", "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("before → after") == 1
    (place,) = (tmp_path / ".probe/runs").iterdir()
    assert {path.name for path in place.iterdir()} >= {"1-sft", "2-dpo", "adapter", "run.json", "report.html"}
    assert len(list(place.glob("*/probe/events.out.tfevents.*"))) == 2


def test_a_training_on_a_file_with_a_long_name_is_found_again(tmp_path, monkeypatch):
    """Its directory has the beginning of the name: a name may have 255 bytes, with date and command too."""
    monkeypatch.chdir(tmp_path)
    pairs = tmp_path / f"{'数' * 80}.jsonl"
    made = run_directory(pairs, "2026-11-28T10:00:00Z", False)
    (made / "x").touch()
    assert run_directory(pairs, "2026-11-28T11:00:00Z", True) == made
