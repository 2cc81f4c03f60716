"""A trial's options as the flags of `probe trial` say them."""

from __future__ import annotations

from typing import Any

from ... import config
from ...errors import ProbeError
from .options import TrialOptions


def trial_options(
    *, method: str, methods: tuple[str, ...], learning_rate: float | None, beta: float | None,
    batch: int | None, most: int, **others: Any,
) -> TrialOptions:  # fmt: skip
    """Values of the recipe that are given replace the shipped ones; `most`: pairs drawn for the first look.

    A `method` that is typed goes before the `methods` of a config file. Raises `ProbeError` for a method that
    is none, or that a trial cannot judge, and for one beside a race of which it is not the first.
    """
    origins = config.current().get("origins") or {}
    typed = {name for name, origin in origins.items() if origin in config.TYPED}
    if methods and "method" in typed and method != methods[0]:
        if "methods" in typed:
            raise ProbeError(
                f"--method {method} --methods {','.join(methods)}: a race forecasts its first method. "
                f"Leave --method out, or put {method} first."
            )
        methods = ()
    given = {"learning_rate": learning_rate, "beta": beta, "batch": batch}
    changes = tuple((name, value) for name, value in given.items() if value is not None)
    return TrialOptions(method=method, methods=methods, pairs=most, changes=changes, **others)
