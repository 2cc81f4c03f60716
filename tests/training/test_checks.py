"""Options that no run can have are told in one line, before a model is loaded; processes share a command."""

import json
import math
import os
import subprocess
import sys

import pytest

from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.ranges import RANGES, SCHEDULES
from probe.scoring.session import ModelOptions, Source
from probe.training.checks import check_device, check_options
from probe.training.guard_records import GuardLimits
from probe.training.plan import Options
from probe.training.recipes import recipe
from probe.training.run import TrainOptions, train_run


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
