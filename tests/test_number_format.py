"""Numbers as reports write them: nothing is rounded to what it is not."""

import pytest

from probe.number_format import change, limit_text, measured, number, place_text
from probe.records import Condition, Estimate
from probe.reports.view import limit, value


@pytest.mark.parametrize(
    ("share", "told"),
    [(1.0, "100%"), (0.9996, "99.9%"), (0.995, "99.5%"), (0.994, "99%"), (0.5, "50%"), (0.0962, "9.6%"),
     (0.0004, "0.04%"), (0.0, "0%")],
)  # fmt: skip
def test_a_share_is_all_or_nothing_only_where_it_is(share, told):
    assert number(share, "share") == told


@pytest.mark.parametrize(
    ("difference", "told"),
    [(0.004, "+0.4 pt"), (-0.001, "−0.1 pt"), (0.0004, "+0.04 pt"), (0.12, "+12 pt"), (0.0, "+0 pt"),
     (-0.00001, "+0 pt"), (0.0097, "+1 pt")],
)  # fmt: skip
def test_a_small_difference_of_shares_keeps_its_sign_and_size(difference, told):
    assert change(difference, "share") == told


def test_counts_are_written_out():
    assert number(12345.0) == "12,345" and number(1.234e7) == "12,340,000" and number(0.5) == "0.5"


def test_a_limit_keeps_the_digits_that_were_set():
    assert [limit_text(x, "share") for x in (0.875, 0.9, 0.005, 1.0)] == ["87.5%", "90%", "0.5%", "100%"]


@pytest.mark.parametrize(
    ("at", "bound", "told"),
    [(0.904, 0.9, "90.4% [88.0%, 93.0%]"), (0.9004, 0.9, "90.04% [88.00%, 93.00%]"),
     (0.9, 0.9, "90% [88%, 93%]"), (0.82, 0.9, "82% [88%, 93%]")],
)  # fmt: skip
def test_a_measured_share_is_told_from_its_limit(at, bound, told):
    """It read "90% [90%, 91%], limit ≤ 90%", and failed."""
    shown = Estimate("surface_accuracy", at, 0.88, 0.93, 400, None, "m", "share")
    condition = Condition("surface_accuracy", "all", shown, bound, "fail", "PB201")
    assert value(condition) == measured(shown, bound) == told and limit(condition) == "≤ 90%"


@pytest.mark.parametrize(
    ("place", "told"),
    [(20, "20"), (20.0, "20"), (2469007.0, "2469007"), (4938007, "4938007"), (0.25, "0.25"), (-3.0, "-3"),
     (1.5e6 + 0.5, "1.5e+06"), (1e20, "1e+20"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_step_keeps_all_its_digits(place, told):
    assert place_text(place) == told
