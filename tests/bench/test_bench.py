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


def test_best_against_best_by_hand(capsys, monkeypatch):
    """Each engine takes whichever arithmetic it is fastest in."""
    monkeypatch.syspath_prepend(str(BENCH))
    import scoring

    made = {
        "float32": {"medians": {"probe": 20.0, "trl": 50.0, "minicons": 45.0}},
        "bfloat16": {"medians": {"probe": 10.0, "trl": 25.0, "minicons": 60.0}},
    }
    assert scoring.best_against_best(made) == {"trl": 2.5, "minicons": 4.5}
    assert "of float32, bfloat16: trl 2.50, minicons 4.50" in capsys.readouterr().out


def test_arithmetics_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import arithmetic
    import numpy as np

    margins = {"peft": np.array([1.0, 2.0, -1.0]), "bfloat16": np.array([2.0, 4.0, -2.0])}
    told = arithmetic.table({"peft": [4.0, 2.0, 8.0], "bfloat16": [2.0, 1.5, 5.0]}, margins)
    assert "| peft | 1.00 | 1.00, 1.00, 1.00 | 0.67 | 1.000 | 67% |" in told
    assert "| bfloat16 | 0.62 | 0.50, 0.75, 0.62 | 1.33 | 1.000 | 67% |" in told
