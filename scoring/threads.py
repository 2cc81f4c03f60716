"""As many threads as processors may be used: torch counts those of the machine, a container allows fewer.

Threads beyond a quota are stopped in the middle of a product while the others wait for them.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

GROUPS = Path("/sys/fs/cgroup")
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # who sets one of them has decided


def quota(groups: Path = GROUPS) -> float | None:
    """Processors that the control group leaves to this process; None where it sets no limit."""
    version_1 = (groups / "cpu/cpu.cfs_quota_us", groups / "cpu/cpu.cfs_period_us")
    with suppress(OSError, ValueError):
        limit, period = (groups / "cpu.max").read_text(encoding="ascii").split()
        return _share(limit, period)
    with suppress(OSError, ValueError):
        return _share(*(path.read_text(encoding="ascii").strip() for path in version_1))
    return None


def _share(limit: str, period: str) -> float | None:
    """Both in microseconds; "max" and −1 stand for no limit."""
    return None if limit in ("max", "-1") else int(limit) / int(period)


def fit_threads(groups: Path = GROUPS) -> None:
    """No more threads than the quota has processors, told once on stderr."""
    allowed, threads = quota(groups), torch.get_num_threads()
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
