"""`probe gate` in two processes: the numbers of one, and one report."""

import json
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest

from probe.gate import measure
from probe.records import Measured, Run
from probe.reports.emit import emit

WORDS = ["the", "answer", "is", "that", "people", "gain", "weight", "when", "they", "eat", "more", "so"]
# `--multi_gpu` is accelerate's name for torch's launcher, also on CPUs; `--cpu` starts one without MPI.
LAUNCHER = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")


@pytest.fixture
def gated(tmp_path, tiny_model_dir):
    draw = random.Random(0)

    def text():
        return " ".join(draw.choices(WORDS, k=draw.randint(3, 12)))

    rows = [{"prompt": text(), "chosen": text(), "rejected": text() + " so"} for _ in range(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(name, *launcher, program=("-m", "probe"), flags=("--no-cache",)):
        # Several processes always score in float32, one may in bfloat16.
        exact = ("--device", "cpu", "--dtype", "float32")
        how = ("--model", str(tiny_model_dir), *exact, "--template", "qa", *flags)
        started = ("-m", *launcher) if launcher else ()
        command = [sys.executable, *started, *program, "gate", "pairs.jsonl", *how, "--out", name]
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "PROBE_CACHE": str(tmp_path / "cache"),
        }  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=400, env=environment
        )
        saved = tmp_path / name / "run.json"
        return json.loads(saved.read_text()) if saved.exists() else None, done

    return run


def test_two_processes_gate_what_one_gates(gated):
    (alone, _), (together, done) = gated("one"), gated("two", *LAUNCHER)
    assert done.stdout.count("DECISION") == 1, done.stderr[-2000:]
    same_gate(alone, together)


def same_gate(alone, together):
    """Verdict, decision and every estimate but one."""
    assert together["verdict"]["status"] == alone["verdict"]["status"]
    assert together["decision"]["method"] == alone["decision"]["method"]
    numbers = [{(e["name"], e["group"]): e["value"] for e in run["estimates"]} for run in (alone, together)]
    assert numbers[0].keys() == numbers[1].keys()
    for place, value in numbers[0].items():
        near = value if value is None else pytest.approx(value, rel=1e-3, abs=1e-4)
        assert numbers[1][place] == near, place


# The second process is killed where the trial begins: the parts of the probes before it are kept by then.
KILLED = """
import os, signal, sys
from probe.__main__ import main
from probe.probes.trial import run

if os.environ["RANK"] == "1":
    run.trial_in = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main())
"""


def test_of_two_gating_processes_one_is_killed(gated, tmp_path):
    """The launch ends with an error and no report; the next one goes on at the trial, with one's numbers."""
    (tmp_path / "killed.py").write_text(KILLED)
    nothing, cut = gated("cut", *LAUNCHER, program=("killed.py",), flags=())
    assert nothing is None and cut.returncode == 1 and "DECISION" not in cut.stdout
    together, done = gated("again", *LAUNCHER, flags=())
    assert "negatives: kept since" in done.stderr and "trial: kept since" not in done.stderr
    same_gate(gated("one")[0], together)


def launched(monkeypatch, rank="0"):
    for name, value in {"WORLD_SIZE": "2", "RANK": rank, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)


def test_a_part_that_one_process_alone_has_kept_is_measured_by_all(monkeypatch):
    """Several machines have a cache each: a process that skipped a probe would leave the rest waiting."""
    work = SimpleNamespace(
        session=SimpleNamespace(loaded=SimpleNamespace(device=SimpleNamespace(type="cpu")))
    )
    monkeypatch.setattr(measure.cache, "read", lambda name: (Measured(), "then"))
    assert measure._kept("name", work) == (Measured(), "then")
    launched(monkeypatch)
    monkeypatch.setattr(measure, "exchange", lambda mine, *, cpu: [mine, False])
    assert measure._kept("name", work) is None


def test_of_several_processes_the_first_one_writes_and_speaks(tmp_path, monkeypatch, capsys):
    run = Run("bias", "2026-11-26T00:00:00Z")
    launched(monkeypatch, "1")
    emit(run, None, tmp_path / "second")
    assert not (tmp_path / "second").exists() and capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    emit(run, None, tmp_path / "first")
    assert (tmp_path / "first/run.json").exists() and "MEASURED" in capsys.readouterr().out
