"""Several processes on one job (`accelerate launch -m probe …`): who does what, and how all come to know it.

Every process reads the whole file and runs the same code; only the scoring of windows is divided. After each
round all processes exchange what they scored, so that all go on with the same numbers in the same order, and
the first one alone writes.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def rank() -> int:
    """The number of this process, 0 when it is the only one."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes share the job."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process on its machine: which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def exchange(mine: T, *, cpu: bool = False) -> list[T]:
    """What every process passed, in the order of their ranks. All must call it equally often.

    `cpu` says that the model is on the CPU. The first call settles how the processes speak to each other for
    the rest of the job, training included, and accelerate takes CPU processes for single ones unless told.
    """
    if world() == 1:
        return [mine]
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState(cpu=cpu)
    gathered: list[T] = gather_object([mine])
    return gathered
