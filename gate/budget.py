"""`--budget 5m`: the most that a gate can look at within a time, chosen from the bill beforehand.

The rungs stand in the order in which they cost least of what a gate says: fewer pairs of the trial widen an
interval, no trial leaves its condition open. No torch at import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..errors import ProbeError
from ..probes.bias.sizes import sizes
from ..probes.cost import about_time as in_words
from ..probes.gated import Effort, GateRequest
from ..records import Finding
from ..scoring.options import is_endpoint

TIME_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
TRIALS = (96, 64, 48)  # pairs of the trial; half of them are measured, and a gate relies on 20
SMALL_EFFORT = Effort(looks=(256,), states=128)

Spent = Callable[[GateRequest], Mapping[str, float]]


def seconds_of(text: str) -> float:
    """Seconds of `90s`, `5m` or `1h`; a bare number is seconds. Raises `ProbeError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    unit = TIME_UNITS.get(match[2]) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise ProbeError(f"--budget {text}: is not a time. Give one such as 90s, 5m or 1h.")
    return float(match[1]) * unit


def within(allowed: float, request: GateRequest, spent: Spent, n: int) -> tuple[GateRequest, Finding | None]:
    """The first rung that takes at most `allowed` seconds, with a finding that says what was left out.

    `spent`: seconds of each probe for a request on a file of `n` pairs. Raises `ProbeError` where the last
    rung takes longer.
    """
    least = 0.0
    for cheaper in rungs(request):
        least = sum(value for name, value in spent(cheaper).items() if name not in cheaper.off)
        if least <= allowed:
            return cheaper, cut_short(least, request, cheaper, n)
    raise ProbeError(
        f"--budget: the least that this gate can do takes {in_words(least)} on this machine, which is more "
        "than what is left of the time. Allow more, or switch probes off (--no-negatives)."
    )


def rungs(request: GateRequest) -> Iterator[GateRequest]:
    """The request, and then ones that look at ever less; the last makes no training steps."""
    yield request
    off = request.off | {"trial"}
    if "trial" not in request.off:
        fewer = [n for n in TRIALS if n < request.trial_pairs]
        yield from (replace(request, trial_pairs=n, effort=replace(request.effort, trial=1)) for n in fewer)
        if fewer:
            yield replace(request, trial_pairs=fewer[-1], effort=SMALL_EFFORT)
        yield replace(request, off=off)
    yield replace(request, off=off, effort=SMALL_EFFORT)


def cut_short(expected: float, asked: GateRequest, given: GateRequest, n: int) -> Finding | None:
    """PB611 within a budget: the gate looked at less than it would have without `--budget`.

    Means: the bill of the whole gate was above the time allowed, so that the trial took fewer pairs, fewer
    pairs were scored or states read, or no training step was made, as the message says.

    Why: fewer pairs widen every interval, and a probe that did not run leaves its conditions open; a verdict
    that is given is no less valid for either.

    Do: allow more time for what is still open, or nothing where the verdict is settled.

    Source: the bill of this machine (`probe gate --plan`).
    """
    less = list(_less(asked, given, n))
    if not less:
        return None
    text = f"to stay within --budget {', and '.join(less)} (at most {in_words(expected)})"
    return Finding("PB611", "info", text, "Allow more time where a condition is still open.")


def _less(asked: GateRequest, given: GateRequest, n: int) -> Iterator[str]:
    """What a file of `n` pairs is looked at less for; nothing where it is too small to be cut so."""
    (trial, scored, states), (fewer, read, few) = (_looked_at(request, n) for request in (asked, given))
    if given.off != asked.off:
        yield "no training steps were made"
    elif fewer < trial:
        yield f"the trial takes {fewer} pairs instead of {trial}"
    if read < scored and "bias" not in given.off:
        yield f"at most {read} pairs were scored for the preference"
    if few < states and "negatives" not in given.off and not is_endpoint(given.how.model):
        yield f"states of {few} pairs were read instead of {states}"


def _looked_at(request: GateRequest, n: int) -> tuple[int, int, int]:
    """Of a file of `n` pairs: what the trial takes, what is scored at most, what states are read of."""
    effort = request.effort
    return min(n, effort.trial * request.trial_pairs), sizes(n, effort.looks)[-1], min(n, effort.states)
