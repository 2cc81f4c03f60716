"""The forecast for clean pairs, from one on labels of which a known share is flipped."""

import pytest

from probe.gate.clean import MOST_WRONG, on_clean_labels
from probe.records import Estimate


def estimate(name, value, low, high):
    return Estimate(name, value, low, high, 100, None, "", "share")


def test_flipped_labels_are_taken_out_of_a_forecast():
    """Right in .9 of clean pairs, 20% flipped: .9 · .8 + .1 · .2 = .74 of the labels."""
    (found,) = on_clean_labels(
        [estimate("forecast_accuracy", 0.74, 0.65, 0.83), estimate("label_noise", 0.2, 0.1, 0.3)]
    )
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == (pytest.approx((0.65 - 0.1) / 0.8), 1.0)


@pytest.mark.parametrize("noise", [(None, None, None), (0.48, 0.4, 0.5), (0.0, 0.0, 0.05)])
def test_nothing_is_corrected_by_what_is_not_known_or_not_there(noise):
    known = [estimate("forecast_accuracy", 0.7, 0.6, 0.8), estimate("label_noise", *noise)]
    assert on_clean_labels(known) == () and on_clean_labels(known[:1]) == ()


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("name", ["forecast_accuracy", "label_noise"])
def test_a_part_that_is_not_known_leaves_nothing_to_correct(name, part):
    parts = {"forecast_accuracy": [0.7, 0.6, 0.8], "label_noise": [0.2, 0.1, 0.3]}
    parts[name][part] = None
    assert on_clean_labels([estimate(key, *values) for key, values in parts.items()]) == ()


@pytest.mark.parametrize(("high", "corrected"), [(MOST_WRONG, True), (MOST_WRONG + 1e-9, False)])
def test_just_under_half_is_the_most_that_is_corrected(high, corrected):
    known = [estimate("forecast_accuracy", 0.7, 0.6, 0.8), estimate("label_noise", 0.2, 0.1, high)]
    assert bool(on_clean_labels(known)) is corrected


@pytest.mark.parametrize("seen", [(0.5, 0.35, 0.65), (0.3, 0.2, 0.4), (0.8, 0.7, 0.85), (0.9, 0.3, 0.95)])
@pytest.mark.parametrize("noise", [(0.2, 0.05, 0.35), (0.1, 0.0, 0.44)])
def test_the_interval_holds_every_corner_of_both(seen, noise):
    """Below one half more noise means a lower share of clean pairs, above it a higher one."""
    (found,) = on_clean_labels([estimate("forecast_accuracy", *seen), estimate("label_noise", *noise)])
    corners = [min(1.0, max(0.0, (a - e) / (1 - 2 * e))) for a in seen for e in noise]
    assert (found.low, found.high) == pytest.approx((min(corners), max(corners)))
