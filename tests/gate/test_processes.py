"""`probe gate` in two processes: the numbers of one, and one report."""

import json
import os
import random
import subprocess
import sys

import pytest

from probe.records import Run
from probe.reports.emit import emit

WORDS = ["the", "answer", "is", "that", "people", "gain", "weight", "when", "they", "eat", "more", "so"]
LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")


@pytest.fixture
def gated(tmp_path, tiny_model_dir):
    draw = random.Random(0)

    def text():
        return " ".join(draw.choices(WORDS, k=draw.randint(3, 12)))

    rows = [{"prompt": text(), "chosen": text(), "rejected": text() + " so"} for _ in range(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(name, *launcher):
        how = ("--model", str(tiny_model_dir), "--device", "cpu", "--no-cache", "--template", "qa")
        command = [sys.executable, "-m", *launcher, "probe", "gate", "pairs.jsonl", *how, "--out", name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=400, env=environment
        )
        assert (tmp_path / name / "run.json").exists(), done.stderr[-2000:]
        return json.loads((tmp_path / name / "run.json").read_text()), done.stdout

    return run


@pytest.mark.slow
def test_two_processes_gate_what_one_gates(gated):
    (alone, _), (together, told) = gated("one"), gated("two", *LAUNCHER)
    assert told.count("DECISION") == 1
    assert together["verdict"]["status"] == alone["verdict"]["status"]
    assert together["decision"]["method"] == alone["decision"]["method"]
    numbers = [{(e["name"], e["group"]): e["value"] for e in run["estimates"]} for run in (alone, together)]
    assert numbers[0].keys() == numbers[1].keys()
    # The trial's own first epoch is scored by each process for its share, and n says how many it counts.
    del numbers[0]["trial_pass_accuracy", "all"]
    for place, value in numbers[0].items():
        near = value if value is None else pytest.approx(value, rel=1e-3, abs=1e-4)
        assert numbers[1][place] == near, place


def test_of_several_processes_the_first_one_writes_and_speaks(tmp_path, monkeypatch, capsys):
    run = Run("bias", "2026-11-26T00:00:00Z")
    monkeypatch.setenv("RANK", "1")
    emit(run, None, tmp_path / "second")
    assert not (tmp_path / "second").exists() and capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    emit(run, None, tmp_path / "first")
    assert (tmp_path / "first/run.json").exists() and "MEASURED" in capsys.readouterr().out
