"""What a launcher (torchrun, accelerate) says of its processes in the environment, and what one left over.

A shell inside a job of several machines, or a notebook, may hold such variables where nothing was launched. A
job of one process has rank 0 whatever they say.
"""

from __future__ import annotations

import os

from .errors import ProbeError

RANK_VARIABLES = ("RANK", "LOCAL_RANK")


def rank() -> int:
    """The number of this process, 0 when it is the only one. Raises `ProbeError` for one that cannot be."""
    size = _size()
    number = _number("RANK", 0) if size > 1 else 0
    if not 0 <= number < size:
        raise ProbeError(f"RANK={number} in the environment: of {size} processes none is that one. {_REMEDY}")
    return number


def world() -> int:
    """How many processes share the job. Raises `ProbeError` for several that could not find each other."""
    size = _size()
    if size > 1:
        rank()
        if missing := [name for name in ("RANK", "MASTER_ADDR") if not os.environ.get(name)]:
            raise ProbeError(
                f"WORLD_SIZE={size} in the environment, without {' and '.join(missing)}. {_REMEDY}"
            )
    return size


def local_rank() -> int:
    """The number of this process on its machine: which GPU is its own; 0 when it is the only one."""
    return _number("LOCAL_RANK", 0) if _size() > 1 else 0


def drop_leftovers() -> None:
    """Take variables out of the environment that would mislead libraries in a job of one process."""
    for name in ("WORLD_SIZE", *RANK_VARIABLES):
        if os.environ.get(name) == "":
            del os.environ[name]
    if os.environ.get("WORLD_SIZE", "1") == "1":
        for name in RANK_VARIABLES:
            if not (os.environ.get(name) == "0" and os.environ.get("MASTER_ADDR")):
                os.environ.pop(name, None)


def _size() -> int:
    size = _number("WORLD_SIZE", 1)
    if size < 1:
        raise ProbeError(f"WORLD_SIZE={size} in the environment is no number of processes. {_REMEDY}")
    return size


def _number(name: str, usual: int) -> int:
    text = os.environ.get(name) or str(usual)
    try:
        return int(text)
    except ValueError as error:
        raise ProbeError(f"{name}={text} in the environment is no whole number. {_REMEDY}") from error


_REMEDY = (
    "Launch with `torchrun` or `accelerate launch`, or run one process alone: "
    "`env -u WORLD_SIZE -u RANK -u LOCAL_RANK probe …`."
)
