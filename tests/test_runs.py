"""Directories of runs: each belongs to one run, however many begin at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from probe.errors import CannotMeasure
from probe.runs import new_run_dir
from probe.training import resumed

WHEN = "2026-11-21T10:52:00Z"


def test_processes_of_one_second_get_a_directory_each(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_dir("bias", "pairs", WHEN, tmp_path / "runs"), range(40)))
    assert len(set(made)) == 40 and sorted(made) == sorted((tmp_path / "runs").iterdir())
    assert min(made).name == "20261121T105200Z-bias-pairs"


def test_a_place_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotMeasure, match=r"--out\.$"):
        new_run_dir("bias", "pairs", WHEN, tmp_path / "file" / "runs")


@pytest.mark.parametrize(("rank", "made"), [(0, 2), (1, 0)])
def test_of_several_processes_the_first_makes_it(tmp_path, monkeypatch, rank, made):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resumed, "rank", lambda: rank)
    for _ in range(2):
        resumed.run_directory(tmp_path / "pairs.jsonl", WHEN, False)
    assert len(list(tmp_path.glob(".probe/runs/*"))) == made


def test_a_training_that_never_began_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pairs.jsonl"
    begun = resumed.run_directory(path, WHEN, False)
    (begun / "training.json").write_text("{}")
    assert resumed.run_directory(path, WHEN, False) != begun
    assert resumed.run_directory(path, WHEN, True).name == begun.name
