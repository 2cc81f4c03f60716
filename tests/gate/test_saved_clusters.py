"""Saved runs compared pair by pair: pairs of one prompt are one observation, and rows must say which are."""

import dataclasses
import random
from types import SimpleNamespace

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.gate import baseline
from probe.gate.promote.claims import allowances
from probe.gate.promote.judge import PromotionSettings, with_comparison
from probe.gate.promote.sides import SideMeasurement
from probe.probes.bias.judge import judge_bias
from probe.records import Run
from probe.scoring.scores import PairScore, SideScore
from probe.stats.paired_runs import side_by_side
from probe.stats.statistics import mean_estimate

PROMPTS, EACH = 4, 10


def saved(gap_of, clustered=True, known=True):
    """Four prompts of ten pairs each; `gap_of(prompt, pair)`."""
    rows = [
        {
            "id": f"{p}-{i}", "line": p * EACH + i + 1, "group": None, "gap": gap_of(p, i),
            **({"cluster": p if clustered else p * EACH + i} if known else {}),
        }
        for p in range(PROMPTS)
        for i in range(EACH)
    ]  # fmt: skip
    return Run("bias", "2026-11-26T12:00:00Z", details={"pairs": rows}, inputs={"pairs": {"sha256": "1"}})


def two(**how):
    """A run and a later one whose pairs fell by 0.1 to 0.7, all pairs of a prompt by nearly the same."""
    draw = random.Random(0)
    noise = {(p, i): draw.gauss(0, 0.02) for p in range(PROMPTS) for i in range(EACH)}
    fell = (0.05, 0.3, 0.15, 0.75)
    then = saved(lambda p, i: 0.3 + 0.01 * i, **how)
    return then, saved(lambda p, i: 0.3 + 0.01 * i - fell[p] + noise[p, i], **how)


def of_baseline(then, now):
    found = baseline.compare_with_baseline(now, then, bound=0.1, alpha=0.05)
    assert not found.findings or found.findings[0].code == "PB704", found.findings[0].message
    return found.conditions[0].result


def of_report(then, now):
    rows = side_by_side([then, now], created=now.created).details["differences"]
    ends = [(row["low"], row["high"]) for row in rows]
    return "inconclusive" if all(low < 0 < high for low, high in ends) else "fail"


def of_compare(then, now):
    sides = tuple(
        SideMeasurement(run, {row["id"]: row for row in run.details["pairs"]}) for run in (then, now)
    )
    settings = PromotionSettings(allowances(["accuracy=1"], 0.1))
    run = with_comparison(Run("compare", now.created), sides, None, {}, settings)
    return next(c.result for c in run.verdict.conditions if c.name.startswith("gap"))


WAYS = {"gate --baseline": of_baseline, "report A B": of_report, "compare": of_compare}


@pytest.mark.parametrize("judge", WAYS.values(), ids=WAYS)
def test_ten_pairs_of_a_prompt_are_one_observation(judge):
    assert judge(*two(clustered=True)) == "inconclusive"
    assert judge(*two(clustered=False)) == "fail"


def test_rows_without_their_cluster_are_refused():
    then, now = two(known=False)
    found = baseline.compare_with_baseline(now, then, bound=0.1, alpha=0.05)
    assert [f.code for f in found.findings] == ["PB703"] and not found.conditions
    for judge in (of_report, of_compare):
        with pytest.raises(ProbeError, match="share a prompt"):
            judge(then, now)
    half = dataclasses.replace(
        now, details={"pairs": [*two()[1].details["pairs"][:-1], now.details["pairs"][-1]]}
    )
    assert baseline.compare_with_baseline(half, half, bound=0.1, alpha=0.05).findings[0].code == "PB703"


def test_bias_saves_the_cluster_of_each_pair():
    import numpy as np

    def side(value):
        return SideScore(token_logps=np.array([value, value]), bytes=5)

    scores = [PairScore(f"{i}", side(-1 - i / 9), side(-2), None, i) for i in range(1, 9)]
    result = judge_bias(scores, clusters=[0, 0, 1, 1, 2, 2, 3, 4])
    assert [row["cluster"] for row in result.details["pairs"]] == [0, 0, 1, 1, 2, 2, 3, 4]


def test_intervals_against_a_baseline_hold_all_together():
    """The whole and two groups share alpha: each interval is one of 1 − alpha/3."""
    then, now = two()
    rows = [
        [{**row, "group": f"g{row['cluster'] % 2}"} for row in run.details["pairs"]] for run in (now, then)
    ]
    found = baseline._changes(baseline.Match(tuple(zip(*rows, strict=True))), 0.05)
    gaps = [np.array([row["gap"] for row in side]) for side in rows]
    one = mean_estimate(
        gaps[0] - gaps[1], name="gap_change", units="nats/token",
        clusters=[row["cluster"] for row in rows[0]], alpha=0.05 / 3,
    )  # fmt: skip
    assert [e.group for e in found] == ["all", "g0", "g1"]
    assert (found[0].low, found[0].high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(("n", "told"), [(PROMPTS * EACH, ""), (1000, "of those that were read ")])
def test_a_changed_file_is_told_with_how_much_of_it_was_read(n, told):
    now = two()[1]
    rows = now.details["pairs"]
    other = dataclasses.replace(now, inputs={"pairs": {"sha256": "2", "n": n}})
    match = SimpleNamespace(added=rows[:2], dropped=rows[:3], changed=[], same=rows[3:])
    found = baseline.other_pairs(match, other, same_file=False)
    same = baseline.other_pairs(match, other, same_file=True).message
    assert same.startswith("the two runs measured different pairs of one file: ")
    assert f"the baseline: {told}2 added, 3 dropped, 0 changed; the 37 that are the same" in found.message
    assert found.lines == (1, 2)
