"""Per-pair difficulty: the early loss of pairs that were not trained on, and what trimming by it leaves."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from probe.cli import app
from probe.errors import ProbeError
from probe.probes.negatives.trimming import export_trimmed, lines_to_drop
from probe.probes.trial.difficulty import by_line, difficulty
from probe.probes.trial.passes import Pass


def passed(margins):
    """`margins` by line."""
    values, zero = np.array(list(margins.values()), float), np.zeros(len(margins))
    return Pass(values, values, zero, zero, [str(i) for i in margins], list(margins))


def test_the_hardest_come_first_and_unseen_counts_before_early():
    rows = difficulty(passed({3: -2.0, 5: 4.0}), passed({5: -9.0, 7: 0.0}), beta=0.1)
    assert [row["line"] for row in rows] == [3, 7, 5]
    assert rows[0]["loss"] == pytest.approx(math.log1p(math.exp(0.2)))
    assert [row["misranked"] for row in rows] == [True, False, False]


def test_the_hardest_are_left_out_of_the_file(tmp_path):
    source = tmp_path / "pairs.jsonl"
    source.write_text("".join(json.dumps({"prompt": str(i)}) + "\n" for i in range(1, 5)))
    rows = difficulty(passed({1: 1.0, 2: -5.0, 3: 2.0, 4: 0.5}), Pass.empty(), 0.1)
    dropped = lines_to_drop(by_line({"difficulty": rows}), "difficulty", 0.25)
    export_trimmed(source, tmp_path / "kept.jsonl", dropped, "difficulty")
    kept = [json.loads(line)["prompt"] for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert kept == ["1", "3", "4"]


@pytest.mark.parametrize("option", [("--adapter", "ad"), ("--revision", "main")])
def test_what_belongs_to_one_of_two_models_is_refused_beside_a_proxy(tmp_path, option):
    source = tmp_path / "pairs.jsonl"
    row = {"prompt": "Where is it?", "chosen": "It is here.", "rejected": "I do not know."}
    source.write_text(json.dumps(row) + "\n")
    done = CliRunner().invoke(app, ["trial", str(source), "--proxy", "small", *option])
    assert isinstance(done.exception, ProbeError)
    assert f"{option[0]} beside --proxy" in str(done.exception)
