"""What a machine leaves to a process: the quota of its groups, its threads, free memory."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from probe.gate import bill
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


# --- memory of control groups -----------------------------------------------------------------------------

MIB, CPU = 1 << 20, torch.device("cpu")
NO_LIMIT = "9223372036854771712\n"  # as version 1 writes it


def memory_group(folder, version, limit, used, cached=None):
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("limit_in_bytes", "usage_in_bytes", "total_"), 2: ("max", "current", "")}[version]
    (folder / f"memory.{names[0]}").write_text(limit)
    (folder / f"memory.{names[1]}").write_text(f"{used}\n")
    if cached is not None:
        (folder / "memory.stat").write_text(f"anon 5\n{names[2]}inactive_file {cached}\n")


def left(tmp_path, own="nonsense"):
    (tmp_path / "meminfo").write_text("MemAvailable: 4096 kB\n")
    (tmp_path / "own").write_text(own + "\n")
    groups = tmp_path / "groups"
    found = machine.free_bytes(CPU, tmp_path / "meminfo", groups, tmp_path / "own")
    return machine.memory_limit(groups, tmp_path / "own"), found


@pytest.mark.parametrize(("version", "place"), [(2, "groups"), (1, "groups/memory")])
@pytest.mark.parametrize(
    ("limit", "used", "cached", "most", "free"),
    [(f"{3 * MIB}\n", MIB, None, 3 * MIB, 2 * MIB), (f"{3 * MIB}\n", 2 * MIB, MIB, 3 * MIB, 2 * MIB),
     (f"{MIB}\n", 2 * MIB, None, MIB, 0), (f"{64 * MIB}\n", MIB, 0, 64 * MIB, 4 * MIB),
     ("?", MIB, None, None, 4 * MIB)],
)  # fmt: skip
def test_a_containers_memory_is_what_its_group_leaves(
    tmp_path, version, place, limit, used, cached, most, free
):
    """Used file caches count as free, as in the whole machine's own list."""
    memory_group(tmp_path / place, version, limit, used, cached)
    assert left(tmp_path) == (most, free)


@pytest.mark.parametrize(
    ("version", "place", "text"), [(2, "groups", "max\n"), (1, "groups/memory", NO_LIMIT)]
)
def test_a_group_without_a_limit_leaves_what_the_machine_has(tmp_path, version, place, text):
    memory_group(tmp_path / place, version, text, MIB)
    most, free = left(tmp_path)
    assert (most is None or most > 1 << 60) and free == 4 * MIB


@pytest.mark.parametrize(
    ("version", "root", "own"), [(2, "groups", "0::/job/step"), (1, "groups/memory", "9:memory:/job/step")]
)
@pytest.mark.parametrize(("outer", "inner"), [(2, 3), (3, 2)])
def test_the_narrowest_group_around_a_process_decides(tmp_path, version, root, own, outer, inner):
    memory_group(tmp_path / root / "job", version, f"{outer * MIB}\n", MIB)
    memory_group(tmp_path / root / "job/step", version, f"{inner * MIB}\n", MIB)
    memory_group(tmp_path / root / "other", version, "1\n", 0)
    assert left(tmp_path, own) == (2 * MIB, MIB)


def test_the_bill_counts_with_the_containers_memory(monkeypatch):
    session = SimpleNamespace(loaded=SimpleNamespace(device=CPU))
    found = []
    for limit in (None, MIB, 1 << 62):
        monkeypatch.setattr(machine, "memory_limit", lambda limit=limit: limit)
        found.append(bill.own_memory(session))
    assert found == [found[0], MIB, found[0]] and found[0] > MIB
