"""A trial's options as the flags of `probe trial` say them."""

from __future__ import annotations

from typing import Any

from .options import TrialOptions


def trial_options(
    *, learning_rate: float | None, beta: float | None, batch: int | None, most: int, **others: Any
) -> TrialOptions:
    """Values of the recipe that are given replace the shipped ones; `most`: pairs drawn for the first look.

    Raises `ProbeError` for a method that is none, or that a trial cannot judge.
    """
    given = {"learning_rate": learning_rate, "beta": beta, "batch": batch}
    changes = tuple((name, value) for name, value in given.items() if value is not None)
    return TrialOptions(pairs=most, changes=changes, **others)
