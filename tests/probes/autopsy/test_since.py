"""The step that a sign is dated by lies within a window of where it was planted, whatever the noise."""

import random

import pytest

from probe.probes.autopsy.curve import Curve

N, KINDS = (
    300,
    {
        # before, after, noise, what holds after
        "a coin": (0.9, 0.5, 0.11, lambda v: 0.4 <= v <= 0.6),
        "below chance": (0.7, 0.42, 0.12, lambda v: v < 0.5),
        "sure": (0.8, 0.998, 0.004, lambda v: v >= 0.99),
        "risen": (0.5, 2.0, 0.4, lambda v: v >= 1.0),
        "fallen": (0.9, 0.2, 0.2, lambda v: v < 0.5),
    },
)


def curve(kind: str, change: int, seed: int) -> Curve:
    before, after, noise, _ = KINDS[kind]
    rng = random.Random(seed)
    values = [(before if i < change else after) + rng.gauss(0, noise) for i in range(N)]
    return Curve(kind, tuple(float(i + 1) for i in range(N)), tuple(values))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", [0, 100, 200])
@pytest.mark.parametrize("parts", [5, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_a_date_lies_within_a_window_of_the_change(kind, parts, change, seed):
    found = curve(kind, change, seed)
    since = found.since(KINDS[kind][3], parts)
    assert abs(since - (change + 1)) <= found.window(parts)


def test_a_date_is_never_later_than_the_window_that_was_judged():
    found = curve("a coin", 0, 1)
    assert found.since(lambda v: False, 5) == N - found.window(5) + 1
