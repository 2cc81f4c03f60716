"""What a forecast on labels of which some are wrong says of pairs whose labels are right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from ..records import Estimate

MOST_WRONG = 0.45  # beyond it wrong labels cancel right ones, and nothing can be said


def on_clean_labels(estimates: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """`forecast_accuracy_clean`: the forecast accuracy on rightly labelled pairs, where both parts are known.

    A method that is right in a of clean pairs agrees with a(1 − ε) + (1 − a)ε of labels, ε of which are
    flipped; so a = (observed − ε)/(1 − 2ε). The interval takes the least and the most
    over the ends of both: which of them go together depends on the side of one half.
    """
    known = {e.name: e for e in estimates if e.group == "all"}
    seen, noise = known.get("forecast_accuracy"), known.get("label_noise")
    if seen is None or noise is None:
        return ()
    pairs = [(seen.value, noise.value), (seen.low, noise.low), (seen.high, noise.high)]
    usable = [(a, e) for a, e in pairs if a is not None and e is not None and e <= MOST_WRONG]
    if len(usable) < len(pairs) or not noise.value:
        return ()
    value, *corners = (_clean(a, e) for a, e in (usable[0], *product(*zip(*usable[1:], strict=True))))
    method = "forecast accuracy corrected for label_noise: (a − ε)/(1 − 2ε)"
    return (
        Estimate(
            "forecast_accuracy_clean",
            value,
            min(value, *corners),
            max(value, *corners),
            seen.n,
            None,
            method,
            "share",
        ),
    )


def _clean(observed: float, noise: float) -> float:
    return min(1.0, max(0.0, (observed - noise) / (1 - 2 * noise)))
