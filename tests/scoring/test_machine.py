"""What a machine leaves to a process: the quota of its groups, its threads, free memory."""

from pathlib import Path

import pytest
import torch

from probe.scoring import machine

NONE = Path("/nowhere")  # no list of the process's own groups


def version_2(tmp_path, text):
    (tmp_path / "cpu.max").write_text(text)
    return tmp_path


def version_1(tmp_path, limit, period="100000\n"):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text(period)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "share"),
    [("200000 100000\n", 2.0), ("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)],
)
def test_the_quota_of_version_2(tmp_path, text, share):
    assert machine.quota(version_2(tmp_path, text), NONE) == share


@pytest.mark.parametrize(("limit", "share"), [("50000\n", 0.5), ("-1\n", None), ("?", None)])
def test_the_quota_of_version_1(tmp_path, limit, share):
    assert machine.quota(version_1(tmp_path, limit), NONE) == share


def test_no_control_group(tmp_path):
    assert machine.quota(tmp_path, NONE) is None


@pytest.fixture
def took(monkeypatch):
    """The numbers of threads that torch was given; it would take eight."""
    given = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    for name in machine.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return given


@pytest.mark.parametrize(
    ("text", "given"),
    [("200000 100000", [2]), ("250000 100000", [2]), ("50000 100000", [1]), ("800000 100000", []),
     ("6400000 100000", []), ("max 100000", [])],
)  # fmt: skip
def test_no_more_threads_than_the_quota(tmp_path, took, capsys, text, given):
    machine.fit_threads(version_2(tmp_path, text), NONE)
    assert took == given
    told = capsys.readouterr().err
    assert (f"8 threads, {given[0]} will run" in told) if given else told == ""


@pytest.mark.parametrize("name", machine.SETTINGS)
def test_who_sets_the_number_has_decided(tmp_path, took, monkeypatch, name):
    monkeypatch.setenv(name, "8")
    machine.fit_threads(version_2(tmp_path, "200000 100000"), NONE)
    assert took == []


@pytest.mark.parametrize(
    ("own", "limits", "share"),
    [("0::/job/step", {"job": "400000 100000", "job/step": "max 100000"}, 4.0),
     ("0::/job/step", {"job": "400000 100000", "job/step": "150000 100000"}, 1.5),
     ("0::/job", {"other": "100000 100000"}, None), ("0::/gone", {}, None), ("nonsense", {}, None)],
)  # fmt: skip
def test_the_groups_around_a_process_limit_it_too(tmp_path, own, limits, share):
    """Of a cluster's job or a service, which see the whole tree."""
    for place, text in limits.items():
        (tmp_path / "groups" / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / place / "cpu.max").write_text(text)
    (tmp_path / "own").write_text(own + "\n")
    assert machine.quota(tmp_path / "groups", tmp_path / "own") == share


def test_the_own_group_of_version_1(tmp_path):
    place = tmp_path / "groups/cpu/job"
    place.mkdir(parents=True)
    (place / "cpu.cfs_quota_us").write_text("300000\n")
    (place / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "own").write_text("5:memory:/other\n4:cpu,cpuacct:/job\n0::/\n")
    assert machine.quota(tmp_path / "groups", tmp_path / "own") == 3.0


@pytest.mark.parametrize(("text", "free"), [("MemFree: 1 kB\nMemAvailable:   2048 kB\n", 2 << 20)])
def test_free_memory_counts_what_caches_would_give_back(tmp_path, text, free):
    (tmp_path / "meminfo").write_text(text)
    assert machine.free_bytes(torch.device("cpu"), tmp_path / "meminfo") == free


def test_free_memory_of_a_system_without_such_a_list(tmp_path):
    free = machine.free_bytes(torch.device("cpu"), tmp_path / "none")
    assert free is None or free > 0
