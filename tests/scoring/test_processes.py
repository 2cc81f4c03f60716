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


def run(folder, out, *launcher):
    arguments = ["bias", "pairs.jsonl", "--model", "model", "--no-cache", "--out", out]
    command = [sys.executable, "-m", *launcher, "probe", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PROBE_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr
    saved = json.loads((folder / out / "run.json").read_text())
    for key in ("created", "environment", "config"):
        saved.pop(key)
    return saved, (folder / out / "scores.jsonl").read_text(), done.stdout


@pytest.mark.slow
def test_two_processes_write_what_one_writes(job):
    alone = run(job, "one")
    launcher = ("accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "-m")  # fmt: skip
    together = run(job, "two", *launcher)
    assert together[0] == alone[0]
    assert together[1] == alone[1]
    assert together[2].count("MEASURED") == 1
