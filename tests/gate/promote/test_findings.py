"""What the report says of a comparison: which changes are told, in which order, with which words."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from probe.gate.promote.changes import QUANTITIES, Paired, quantity_changes
from probe.gate.promote.claims import allowances, claims_of, judge_claims
from probe.gate.promote.deploy import NOTE, promote, restore_previous
from probe.gate.promote.effects import check_answers, check_traits
from probe.gate.promote.findings import promotion_findings
from probe.shared_limits import BOUND
from probe.stats.resampling import sign_flip


def told(name, values, groups=None, typed=()):
    """Findings of one quantity that changed by these values; `groups` beside them."""
    values = np.array(values, float)
    labels = groups or [None] * len(values)
    changed = quantity_changes(Paired(QUANTITIES[name], np.zeros(len(values)), values, labels))
    claims = claims_of(changed, allowances(typed, 0.1))
    return promotion_findings(judge_claims(claims), changed)


JITTER = np.tile([-0.01, 0.0, 0.01], 4)


def test_a_group_that_fell_under_a_mean_that_rose_is_told_twice():
    values = np.concatenate([3 + JITTER, -2 + JITTER, 3 + JITTER])
    groups = [name for name in ("a", "b", "c") for _ in range(12)]
    found = told("grade", values, groups)
    assert [f.code for f in found] == ["PB901", "PB903"]
    assert found[0].group == "b" and found[0].message.startswith("group b got worse: grades")
    assert found[1].message.endswith("worse in b") and found[1].estimate.group == "all"


def test_a_mean_that_fell_hides_nothing():
    found = told("grade", np.concatenate([-3 + JITTER, -2 + JITTER]), ["a"] * 12 + ["b"] * 12)
    assert [(f.code, f.group) for f in found] == [("PB901", "all"), ("PB901", "a"), ("PB901", "b")]
    assert found[0].message.startswith("the whole got worse")


def test_groups_that_are_open_are_counted_six_by_name():
    groups = [f"g{i}" for i in range(8) for _ in range(3)]
    found = told("grade", np.tile([-1.5, 0.0, 1.5], 8), groups)
    (finding,) = [f for f in found if f.code == "PB902"]
    assert finding.message.endswith("g0, g1, g2, g3, g4, g5 and 2 more")
    six = told("grade", np.tile([-1.5, 0.0, 1.5], 6), groups[:18])
    assert next(f for f in six if f.code == "PB902").message.endswith("g4, g5")


@pytest.mark.parametrize(("fall", "sank"), [(-0.2, True), (-0.05, False), (0.2, False)])
def test_the_chosen_side_sinks_where_its_upper_end_lies_below_the_bound(fall, sank):
    found = told("chosen", fall + JITTER, ["a"] * 12)
    assert [f.code for f in found] == ["PB904"] * sank
    assert told("rejected", fall + JITTER) == []


@pytest.mark.parametrize(("rise", "told_so"), [(0.05, True), (0.001, False), (-0.05, False)])
def test_repetition_rose_where_its_lower_end_lies_above_nothing(rise, told_so):
    assert [f.code for f in told("repetition", rise + JITTER)] == ["PB905"] * told_so


def test_repetition_that_starts_at_nothing_has_not_risen():
    flat = told("repetition", np.zeros(12))
    assert flat == []


def test_every_quantity_has_a_direction_of_one_or_none():
    better = {name: q.better for name, q in QUANTITIES.items()}
    assert better == {
        "grade": 1, "gap": 1, "accuracy": 1, "chosen": 1, "rejected": 0, "watched": 1, "repetition": -1,
        "length": 0,
    }  # fmt: skip
    assert QUANTITIES["grade"].allowance == 1.0


def test_turned_pairs_are_tested_by_mcnemar_with_all_signs():
    """Seven pairs turned right and one wrong: two-sided binomial, 2·(1 + 8)/2⁸."""
    first, second = np.zeros(20), np.zeros(20)
    second[:7], first[7] = 1, 1
    (change,) = quantity_changes(Paired(QUANTITIES["accuracy"], first, second, [None] * 20))
    assert change.estimate.p == pytest.approx(2 * 9 / 2**8) and "McNemar" in change.estimate.method
    (gap,) = quantity_changes(Paired(QUANTITIES["gap"], first, second, [None] * 20))
    assert "McNemar" not in gap.estimate.method


@pytest.mark.parametrize(("n", "end"), [(4, "d"), (5, "d and 1 more"), (6, "d and 2 more")])
def test_four_effects_are_named_and_the_rest_counted(n, end):
    """`d`, `e`, … are named in their order."""
    traits = [{"trait": name, "verdict": "taught"} for name in "abcdef"[:n]]
    assert check_traits(traits).message.endswith(f"towards c, towards {end}")
    assert check_traits([{"trait": "a", "verdict": "untaught"}]).message.endswith("away from a")
    rows = [{"attribute": name, "d": -0.5} for name in "abcdef"[:n]]
    assert ("more" in check_answers(rows).message) is (n > 4)
    assert "a (d −0.50)" in check_answers(rows).message
    assert check_traits([]) is check_answers([]) is None


def weights(path, words):
    path.mkdir()
    (path / "model.safetensors").write_text(words)
    return path


def test_a_plain_directory_that_is_known_already_is_kept_once(tmp_path):
    """The place is a copy of a version, put there by hand: no second copy is made, and rollback finds it."""
    old, new = weights(tmp_path / "old", "old"), weights(tmp_path / "new", "new")
    place, versions = tmp_path / "serve", tmp_path / "serve.versions"
    first = promote(old, place)
    assert (first.now[:5], first.before) == ("0001-", None)
    place.unlink()
    weights(place, "old")
    second = promote(new, place)
    assert (second.now[:5], second.before) == ("0002-", first.now)
    assert sorted(p.name[:4] for p in versions.iterdir() if p.name[0] != ".") == ["0001", "0002"]
    assert json.loads((versions / second.now / NOTE).read_text())["previous"] == first.now
    assert restore_previous(place).now == first.now
    assert promote(new, place).now == second.now.replace("0002", "0003")


def test_rollback_names_the_version_that_has_none_before_it(tmp_path):
    place = tmp_path / "serve"
    placed = promote(weights(tmp_path / "old", "old"), place)
    with pytest.raises(Exception, match=f"{placed.now} has no version before it"):
        restore_previous(place)


def test_what_was_allowed_is_told_beside_what_happened():
    assert told("grade", -3 + JITTER)[0].message.endswith(", allowed −1")
    assert told("gap", -3 + JITTER)[0].message.endswith(", allowed −0.10")
    assert told("repetition", 3 + JITTER, typed=("repetition=0.5",))[0].message.endswith(", allowed +50 pt")


def test_the_digest_of_a_version_has_twelve_digits(tmp_path):
    place = tmp_path / "serve"
    assert re.fullmatch(r"0001-[0-9a-f]{12}", promote(weights(tmp_path / "old", "old"), place).now)


def test_the_p_of_a_claim_is_the_larger_of_t_and_flips():
    """An outlier widens t beyond the flips: seven of eight that fell, one that fell far."""
    fall = np.array([-0.4, -0.41, -0.42, -0.43, -0.44, -0.45, -0.46, -9.0])
    changed = quantity_changes(Paired(QUANTITIES["gap"], np.zeros(8), fall, [None] * 8))
    (claim,) = claims_of(changed, allowances((), 0.1))
    t = stats.ttest_1samp(fall, -0.1).pvalue
    assert sign_flip(fall + 0.1).p == 2 / 2**8 < t
    assert claim.p() == pytest.approx(t)


def test_an_end_of_the_interval_on_the_bound_is_not_beyond_it():
    """Repetition whose lower end is 0 has not been shown to rise, nor chosen at −bound to have sunk."""
    for name, end, value, code in (("repetition", "low", 0.0, "PB905"), ("chosen", "high", -BOUND, "PB904")):
        (changed,) = quantity_changes(Paired(QUANTITIES[name], np.zeros(12), JITTER, [None] * 12))
        beyond = np.nextafter(value, 1 if end == "low" else -1)
        for at, codes in ((value, []), (beyond, [code])):
            told_of = replace(changed, estimate=replace(changed.estimate, **{end: float(at)}))
            assert [f.code for f in promotion_findings([], [told_of])] == codes
