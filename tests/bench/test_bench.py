"""The benchmarks run, on sizes that say nothing about speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def bench(script, *arguments):
    command = [sys.executable, BENCH / script, *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_gpu_on_a_tiny_shape_on_the_cpu(tmp_path):
    arguments = ("--shape", "tiny", "--device", "cpu", "--pairs", 8, "--rounds", 1)
    out = bench("gpu.py", *arguments, "--engines", "probe,transformers", "--json", tmp_path / "gpu.json")
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["distinct"] < result["tokens"]
    assert result["engines"]["transformers"]["largest_difference"] < 1e-2  # nats a response, float32
    assert 0 < result["engines"]["probe"]["fraction_of_peak"] < 1
    assert out.count("\n| ") == 3


def test_scale_on_few_pairs(tmp_path):
    bench("scale.py", "--sizes", "200", "--json", tmp_path / "scale.json")
    rows = json.loads((tmp_path / "scale.json").read_text())
    assert [row["pairs"] for row in rows] == [100, 200]
    assert all(row["peak_mb"] > 50 and row["cpu"] > 0 for row in rows)
