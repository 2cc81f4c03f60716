"""Several processes on one job (`accelerate launch -m probe …`): who does what, and how all come to know it.

Every process reads the whole file and runs the same code; only the scoring of windows is divided. After each
round all processes exchange what they scored, so that all go on with the same numbers in the same order, and
the first one alone writes.
"""

from __future__ import annotations

from typing import TypeVar

from ..launched import local_rank, rank, world

__all__ = ["exchange", "local_rank", "rank", "world"]

T = TypeVar("T")


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
