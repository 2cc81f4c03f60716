"""What a machine leaves to this process: processors and memory, which a container may have fewer of."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")
MEMORY_FILES = (  # limit, use, and a row of memory.stat: of version 2, and of version 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # who sets one of them has decided


def free_bytes(
    device: torch.device, memory: Path = MEMORY, groups: Path = GROUPS, own: Path = OWN_GROUPS
) -> int | None:
    """Bytes free on the device, file caches among them; None where that cannot be asked.

    Beside a processor no more than the control groups of this process leave to it.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    left = [max(most - used, 0) for most, used in _memory(groups, own)]
    return min([*filter(None, [_free_of_system(memory)]), *left], default=None)


def memory_limit(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> int | None:
    """The most bytes that the control groups of this process allow it; None where none sets a limit."""
    return min((most for most, _ in _memory(groups, own)), default=None)


def _free_of_system(memory: Path) -> int | None:
    with suppress(OSError, ValueError):
        lines = memory.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    with suppress(ValueError, OSError, AttributeError):  # a system without these names
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def quota(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> float | None:
    """Processors that the control groups of this process leave to it; None where none sets a limit."""
    return min((share for folder in _folders(groups, own, "cpu") if (share := _share(folder))), default=None)


def _memory(groups: Path, own: Path) -> Iterator[tuple[int, int]]:
    """The limit of each group that has one, and what its processes hold but for file caches, in bytes."""
    for folder in _folders(groups, own, "memory"):
        for limit, usage, cache in MEMORY_FILES:
            with suppress(OSError, ValueError):
                most = int((folder / limit).read_text(encoding="ascii"))  # "max" stands for none
                yield most, int((folder / usage).read_text(encoding="ascii")) - _cached(folder, cache)


def _cached(folder: Path, name: str) -> int:
    """Bytes of files that a group has read and that would be given back first."""
    with suppress(OSError, ValueError):
        rows = (line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return next((int(row[1]) for row in rows if row[:1] == [name]), 0)
    return 0


def _folders(groups: Path, own: Path, kind: str) -> Iterator[Path]:
    """The process's own group and those around it, of either version; in a container the root is its own."""
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = own.read_text(encoding="utf-8").splitlines()
    known = [line.split(":", 2) for line in ("0::/", f"1:{kind}:/", *lines) if line.count(":") > 1]
    for _, kinds, place in known:
        if not kinds or kind in kinds.split(","):
            root = groups / kind if kinds else groups
            inner = root / place.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _share(folder: Path) -> float | None:
    """The limit of one group: µs of processor time in a period; "max" and −1 stand for none."""
    with suppress(OSError, ValueError):
        limit, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    with suppress(OSError, ValueError):
        limit, period = (
            (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
        )
        return None if int(limit) < 0 else int(limit) / int(period)
    return None


def fit_threads(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> None:
    """No more threads than the quota has processors, told once on stderr.

    Threads beyond it are stopped in the middle of a product while the others wait for them.
    """
    allowed, threads = quota(groups, own), torch.get_num_threads()
    if allowed is None or any(os.environ.get(name) for name in SETTINGS):
        return
    most = max(1, math.floor(allowed))
    if most < threads:
        torch.set_num_threads(most)
        print(
            f"probe: CPU quota {allowed:g}: torch would take {threads} threads, {most} will run. "
            "OMP_NUM_THREADS sets another number.",
            file=sys.stderr,
        )
