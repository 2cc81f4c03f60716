"""Threads where a container has fewer processors than the machine."""

import pytest
import torch

from probe.scoring import threads


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
    assert threads.quota(version_2(tmp_path, text)) == share


@pytest.mark.parametrize(("limit", "share"), [("50000\n", 0.5), ("-1\n", None), ("?", None)])
def test_the_quota_of_version_1(tmp_path, limit, share):
    assert threads.quota(version_1(tmp_path, limit)) == share


def test_no_control_group(tmp_path):
    assert threads.quota(tmp_path) is None


@pytest.fixture
def took(monkeypatch):
    """The numbers of threads that torch was given; it would take eight."""
    given = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    for name in threads.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return given


@pytest.mark.parametrize(
    ("text", "given"),
    [("200000 100000", [2]), ("250000 100000", [2]), ("50000 100000", [1]), ("800000 100000", []),
     ("6400000 100000", []), ("max 100000", [])],
)  # fmt: skip
def test_no_more_threads_than_the_quota(tmp_path, took, capsys, text, given):
    threads.fit_threads(version_2(tmp_path, text))
    assert took == given
    told = capsys.readouterr().err
    assert (f"8 threads, {given[0]} will run" in told) if given else told == ""


@pytest.mark.parametrize("name", threads.SETTINGS)
def test_who_sets_the_number_has_decided(tmp_path, took, monkeypatch, name):
    monkeypatch.setenv(name, "8")
    threads.fit_threads(version_2(tmp_path, "200000 100000"))
    assert took == []
