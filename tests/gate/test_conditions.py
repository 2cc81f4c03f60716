"""One condition by hand: how far a limit lies, which side is good, which code is told."""

import math

import pytest
from scipy import stats

from probe.gate.conditions import (
    against,
    beside_others,
    code_found,
    facing,
    good_side,
    holm_rejects,
    p_against,
    pairs_to_settle,
    rests_on,
)
from probe.gate.registry import Rule
from probe.records import Estimate, Finding, Run
from probe.stats.statistics import share_clustered


def rule(sense="<=", **more):
    return Rule("gap", sense, 1.0, "PB211", "bias", "help", "source", **more)


def estimate(value, low, high, n=100, units="nats/token", group="all"):
    return Estimate("gap", value, low, high, n, None, "t", units, group)


@pytest.mark.parametrize(
    ("sense", "good", "bad"),
    [("<=", [1.0, -9.0], [1.01]), (">=", [1.0, 9.0], [0.99]), ("within", [1.0, -1.0, 0], [1.01, -1.01])],
)
def test_a_value_on_its_limit_is_on_the_good_side(sense, good, bad):
    assert all(good_side(rule(sense), value, 1.0) for value in good)
    assert not any(good_side(rule(sense), value, 1.0) for value in bad)


def test_a_value_faces_the_nearer_end_of_its_room():
    assert facing(rule("within"), -0.2, 1.0) == -1.0 and facing(rule("within"), 0.2, 1.0) == 1.0
    assert facing(rule("<="), -0.2, 1.0) == 1.0


@pytest.mark.parametrize(("limit", "width"), [(-1.0, 1.0), (2.0, 4.0)])
def test_the_side_of_the_interval_that_faces_the_limit_is_its_ruler(limit, width):
    """From 1 − 1 to 1 + 4: the limit lies 2 (or 1) away, in halves of widths 1 and 4."""
    z = stats.norm.isf(0.025) * abs(1.0 - limit) / width
    assert p_against(estimate(1.0, 0.0, 5.0), limit, 0.05) == pytest.approx(2 * stats.norm.sf(z))


def test_a_share_at_the_end_of_its_interval_is_that_limit_and_no_other():
    whole = estimate(1.0, 0.9, 1.0, units="share")
    assert p_against(whole, 1.0, 0.05) == 1.0
    assert p_against(whole, 1.5, 0.05) == 0.0
    assert p_against(whole, math.nextafter(1.0, 2.0), 0.05) is None
    assert p_against(estimate(0.0, 0.0, 0.1, units="share"), -0.5, 0.05) == 0.0


@pytest.mark.parametrize("ends", [(None, None, None), (1.0, None, 2.0), (1.0, 0.5, None), (1.0, 1.0, 1.0)])
def test_without_an_interval_there_is_no_test(ends):
    assert p_against(estimate(*ends), 0.0, 0.05) is None
    assert pairs_to_settle(estimate(*ends), 0.0, 0.05, 1) is None


def test_what_lies_on_the_bad_side_speaks_for_nothing():
    assert against(rule(), estimate(0.5, 0.0, 1.0), 1.0, 0.05) == pytest.approx(0.05)
    assert against(rule(), estimate(1.5, 1.0, 2.0), 1.0, 0.05) == 1.0
    assert against(rule(), estimate(None, None, None), 1.0, 0.05) == 1.0
    assert against(rule(), estimate(0.5, None, None), 1.0, 0.05) == 1.0


def test_the_code_is_that_of_the_finding_on_this_very_estimate():
    one, other = estimate(0.9, 0.8, 1.0), estimate(0.7, 0.6, 0.8)
    several = rule(kin=("PB212", "PB213"))

    def run(*found):
        return Run(
            "gate",
            "now",
            findings=[
                Finding(c, "warning", "m", "r", group=e.group if e else "all", estimate=e) for c, e in found
            ],
        )

    assert code_found(several, one, run(("PB212", other), ("PB213", one))) == "PB213"
    assert code_found(several, one, run(("PB212", other))) == "PB212"  # of the same group
    apart = estimate(0.7, 0.6, 0.8, group="a")
    assert code_found(several, one, run(("PB212", apart))) == "PB211"
    assert code_found(several, one, run(("PB999", one), ("PB213", one))) == "PB213"
    assert code_found(several, one, run(("PB212", None), ("PB213", one))) == "PB213"
    assert code_found(several, None, run(("PB212", one))) == "PB211"
    assert code_found(rule(), one, run(("PB212", one))) == "PB211"


@pytest.mark.parametrize(
    ("p", "tests", "told"), [(0.05, 2, "the other condition"), (0.03, 3, "2 other conditions")]
)
def test_a_condition_that_is_open_by_its_neighbours_says_so(p, tests, told):
    assert told in beside_others(p, 0.05, tests)


@pytest.mark.parametrize(("p", "tests"), [(None, 3), (0.051, 3), (0.03, 1)])
def test_one_that_is_open_by_itself_does_not(p, tests):
    assert beside_others(p, 0.05, tests) == ""


@pytest.mark.parametrize(("tests", "level"), [(1, None), (4, None), (1, 0.1)])
def test_pairs_to_settle_by_the_normal_formula(tests, level):
    """n·((z of alpha/tests/2 + z of .8) / (z of the interval · distance))² − n, at least one."""
    z = stats.norm.isf
    measured = estimate(0.5, 0.2, 0.8, n=40)
    needed = (z(0.05 / tests / 2) + z(0.2)) / (z((level or 0.05) / 2) * (0.4 / 0.3))
    assert pairs_to_settle(measured, 0.1, 0.05, tests, level) == max(1, math.ceil(40 * needed**2) - 40)
    assert pairs_to_settle(estimate(0.5, 0.4, 0.6), -9.0, 0.05, 1) == 1
    assert pairs_to_settle(measured, 0.5, 0.05, 1) is None
    assert pairs_to_settle(measured, 0.1, 0.05, 0) == pairs_to_settle(measured, 0.1, 0.05, 1)


def test_what_was_not_tested_takes_no_part_in_holms_steps():
    """0.02 ≤ .05/2 and 0.04 ≤ .05; with a third that is not measured nothing changes."""
    assert holm_rejects([0.04, None, 0.02], 0.05) == [True, False, True]
    assert holm_rejects([0.04, None, 0.03], 0.05) == [False, False, False]
    assert holm_rejects([None], 0.05) == [False] and holm_rejects([0.05], 0.05) == [True]


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (4, 10), (7, 10), (10, 10), (30, 50)])
def test_few_prompts_are_those_whose_interval_is_wider_than_wilsons_of_half_as_many(hits, of):
    made = stats.binomtest(hits, of).proportion_ci(0.95, method="wilson")
    for beyond, enough in ((-1e-6, True), (1e-6, False)):
        ends = float(made.low) - beyond / 2, float(made.high) + beyond / 2
        told = Estimate("length_accuracy", hits / of, *ends, 4 * of, None, "t", "share")
        assert rests_on(told, 2 * of, 0.05) is enough


@pytest.mark.parametrize("n", [20, 21, 40, 200])
def test_pairs_of_different_prompts_are_never_too_few(n):
    for hits in range(n + 1):
        told = share_clustered([1.0] * hits + [0.0] * (n - hits), None, name="length_accuracy")
        assert rests_on(told, 20, 0.05)
