"""Several processes give the bytes that one gives."""

import json
import os
import random
import subprocess
import sys

import pytest

WORDS = ["the", "answer", "is", "that", "people", "gain", "weight", "when", "they", "eat", "more", "so"]


@pytest.fixture
def job(tmp_path, tiny, make_tokenizer):
    """A tiny model on disk and 300 pairs, three windows: one process has more."""
    tiny.save_pretrained(tmp_path / "model")
    make_tokenizer("bpe", chat=True).save_pretrained(tmp_path / "model")
    draw = random.Random(0)

    def text():
        return " ".join(draw.choices(WORDS, k=draw.randint(3, 12)))

    rows = [{"prompt": text(), "chosen": text(), "rejected": text() + " so"} for _ in range(300)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


# `--multi_gpu` is accelerate's name for torch's launcher, also on CPUs; `--cpu` starts one without MPI.
TWO = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")


def started(folder, out, *launcher, program=("-m", "probe"), flags=("--no-cache",)):
    command = [sys.executable, *launcher, *program, "bias", "pairs.jsonl", "--model", "model", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PROBE_CACHE": str(folder / "cache")}
    return subprocess.run(
        [*command, "--out", out], cwd=folder, capture_output=True, text=True, timeout=400, env=environment
    )


def run(folder, out, *launcher, **how):
    done = started(folder, out, *launcher, **how)
    assert done.returncode == 0, done.stderr
    saved = json.loads((folder / out / "run.json").read_text())
    for key in ("created", "environment", "config"):
        saved.pop(key)
    return saved, (folder / out / "scores.jsonl").read_text(), done.stdout


def test_two_processes_write_what_one_writes(job):
    alone = run(job, "one")
    together = run(job, "two", "-m", *TWO)
    assert together[0] == alone[0]
    assert together[1] == alone[1]
    assert together[2].count("MEASURED") == 1


# The second process is killed before its first window, once the first one has kept scores of its own.
KILLED = """
import os, signal, sqlite3, sys, time
from probe.__main__ import main
from probe.scoring.service import Scorer

taken = Scorer._window

def kept():
    try:
        with sqlite3.connect(".probe/scores.sqlite") as store:
            return store.execute("SELECT count(*) FROM scores").fetchone()[0]
    except sqlite3.Error:
        return 0

def window(self, *given):
    if os.environ["RANK"] == "1":
        while not kept():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return taken(self, *given)

Scorer._window = window
sys.exit(main())
"""


def test_of_two_processes_one_is_killed(job):
    """The launch ends with an error in time; what was scored is kept, and the next launch goes on."""
    (job / "killed.py").write_text(KILLED)
    done = started(job, "killed", "-m", *TWO, program=("killed.py",), flags=())
    assert done.returncode == 1 and "killed.py" in done.stderr and not (job / "killed").exists()
    saved, rows, _ = run(job, "again", "-m", *TWO, flags=())
    assert saved["inputs"]["scores"]["stored"] > 0, done.stderr
    assert rows == run(job, "one")[1]
