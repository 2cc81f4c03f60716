"""Groups of pairs that two runs name differently: a group that one of them lost is judged all the same."""

import pytest

from probe.errors import ProbeError
from probe.gate.baseline import compare_with_baseline
from probe.gate.promote.claims import allowances
from probe.gate.promote.judge import PromotionSettings, with_comparison
from probe.gate.promote.sides import SideMeasurement
from probe.records import Run
from probe.stats.comparable import shared_groups
from probe.stats.paired_runs import side_by_side

WORSE = "tales"


def run(names, fall=0.0):
    """40 pairs of two groups, of which `tales` fell; `names` says what the run calls a pair's group."""
    rows = [
        {
            "id": f"p{i}", "line": i, "text": f"t{i}", "cluster": i,
            "group": names(i, "facts" if i % 2 else WORSE),
            "gap": 0.01 * (i % 5) + fall * (0.8 + 0.05 * (i % 7)) * (1 if i % 2 else -1),
        }
        for i in range(40)
    ]  # fmt: skip
    return Run("bias", "now", inputs={"pairs": {"sha256": "1", "n": 40}}, details={"pairs": rows})


def by_promotion(then, now):
    sides = tuple(
        SideMeasurement(one, {row["id"]: row for row in one.details["pairs"]}) for one in (then, now)
    )
    settings = PromotionSettings(allowances((), 0.1))
    judged = with_comparison(Run("compare", "now"), sides, None, {}, settings)
    return {c.group: c.result for c in judged.verdict.conditions}


def by_baseline(then, now):
    found = compare_with_baseline(now, then, bound=0.1, alpha=0.05)
    return {c.group: c.result for c in found.conditions} or found.findings[0].message


def by_report(then, now):
    details = side_by_side([then, now], created="now").details
    return {row["group"] for row in details["differences"]}, details["notes"][0]


NAMES = {
    "both": (lambda i, name: name, lambda i, name: name),
    "the first alone": (lambda i, name: name, lambda i, name: None),
    "the second alone": (lambda i, name: None, lambda i, name: name),
    "each of one half": (lambda i, name: name if i < 20 else None, lambda i, name: None if i < 20 else name),
}


@pytest.mark.parametrize("named", NAMES)
@pytest.mark.parametrize("judged", [by_promotion, by_baseline])
def test_a_group_that_got_worse_fails_whichever_run_names_it(named, judged):
    first, second = NAMES[named]
    assert judged(run(first), run(second, fall=0.5))[WORSE] == "fail"


@pytest.mark.parametrize("named", NAMES)
def test_a_report_has_the_groups_of_whichever_run_names_them(named):
    groups, note = by_report(*map(run, NAMES[named]))
    assert groups == {"all", "facts", WORSE} and "another group" not in note


def test_groups_that_contradict_are_told_and_judge_nothing():
    first = run(lambda i, name: name)
    second = run(lambda i, name: "facts" if i == 4 else name, fall=0.5)
    fact = "1 pair has another group in each run, such as tales and facts"
    with pytest.raises(ProbeError, match=fact):
        by_promotion(first, second)
    assert fact in by_baseline(first, second)
    assert by_report(first, second)[1].endswith(fact)


def test_a_pair_in_two_groups_has_none():
    rows = [
        ({"group": a}, {"group": b})
        for a, b in (("x", "y"), ("x", None), (None, "y"), (None, None), ("x", "x"))
    ]
    assert shared_groups(rows)[0] == [None, "x", "y", None, "x"]
