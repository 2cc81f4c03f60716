"""Groups of pairs that two runs name differently: a group that one of them lost is judged all the same."""

from dataclasses import replace

import pytest

from probe.errors import ProbeError
from probe.gate.baseline import compare_with_baseline
from probe.gate.promote.claims import allowances
from probe.gate.promote.judge import PromotionSettings, with_comparison
from probe.gate.promote.sides import SideMeasurement
from probe.records import Run
from probe.stats.comparable import shared_groups, unlike
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


CUT, WHOLE = [{"flag": "truncated_chosen", "count": 3}], [{"flag": "merged", "count": 3}]


def measured(template="qa", limit=64, tokenizer="t", flags=CUT, typed=None):
    plain = run(lambda i, name: name)
    inputs = {
        "model": {"template": template, "tokenizer_sha256": tokenizer},
        "scores": {"max_length": limit, "flags": flags},
    }
    return replace(plain, inputs={**plain.inputs, **inputs}, config={"max_length": typed})


UNLIKE = {
    "template": {"template": "raw"}, "tokenizer": {"tokenizer": "other"}, "max-length": {"limit": 2048},
}  # fmt: skip


@pytest.mark.parametrize("name", UNLIKE)
def test_runs_that_measured_otherwise_are_not_compared(name):
    first, second = measured(), measured(**UNLIKE[name])
    (fact,) = unlike(first, second).values()
    assert [*unlike(first, second)] == [name]
    with pytest.raises(ProbeError, match=fact):
        by_promotion(first, second)
    assert fact in by_baseline(first, second)
    assert fact in by_report(first, second)[1]


@pytest.mark.parametrize(
    "other",
    [{"typed": 64}, {"limit": None, "typed": 64}, {"tokenizer": None}],
    ids=["typed what the model has", "an older run", "an untold tokenizer"],
)
def test_a_limit_is_the_one_that_held_however_it_was_set(other):
    assert unlike(measured(), measured(**other)) == {} == unlike(measured(**other), measured())


def test_limits_that_cut_nothing_may_differ():
    short, long = (measured(limit=limit, flags=WHOLE) for limit in (64, 2048))
    assert unlike(short, long) == {} and unlike(replace(short, inputs={}), long)
    assert by_promotion(short, long)["all"] == "pass"
