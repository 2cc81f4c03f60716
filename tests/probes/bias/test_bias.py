"""The bias probe's verdicts on scores made by hand: exactness, stability, groups, invariances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.errors import CannotMeasure, ProbeError
from probe.number_format import p_text
from probe.pairs.record import Pair
from probe.probes.bias.judge import judge_bias
from probe.probes.clusters import prompt_clusters
from probe.records import Run
from probe.reports.answer import summary
from probe.reports.headline import headline
from probe.scoring.scores import PairScore, SideScore
from probe.scoring.table import ScoreTable


def side(mean, tokens=10, size=40):
    return SideScore(np.full(tokens, mean, np.float32), size)


def pairs(gaps, *, groups=None, tokens=(10, 10), sizes=(40, 40)):
    """Pairs whose chosen side has mean −2 + gap and whose rejected side has mean −2, nats/token."""
    return [
        PairScore(
            f"p{i}",
            side(-2.0 + gap, tokens[0], sizes[0]),
            side(-2.0, tokens[1], sizes[1]),
            groups[i] if groups else None,
            i + 1,
        )
        for i, gap in enumerate(gaps)
    ]


def drawn(n, mean, sd=0.3, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, n)


def spread(n, mean, sd=0.3):
    """n values of exactly this mean and standard deviation, symmetric: the normal's quantiles."""
    x = np.sort(np.random.default_rng(9).normal(size=n))
    x = x - x[::-1]
    return mean + sd * x / x.std(ddof=1)


def codes(result):
    return [(finding.code, finding.group) for finding in result.findings]


def verdicts(result):
    return {row.group: row.verdict for row in result.rows}


def estimate(result, name, group="all"):
    return next(e for e in result.estimates if (e.name, e.group) == (name, group))


def test_a_p_stands_beside_the_number_that_it_belongs_to():
    """Three pairs of four win by little and one loses by much: the sign test and the mean's test differ."""
    result = judge_bias(pairs([0.01, 0.02, 0.03, -0.9] * 4))
    wins, gap = (estimate(result, name).p for name in ("win_rate", "gap"))
    assert wins == pytest.approx(2 * sum(math.comb(16, k) for k in range(12, 17)) / 2**16) and gap != wins
    told = next(f.message for f in result.findings if f.code == "PB601")
    assert f"wins 12 of 16 pairs (sign test, p {p_text(wins)})" in told
    assert f"(sign flips, p {p_text(gap)})" in told


def test_five_of_five_is_undetermined_and_six_would_do():
    """2·2⁻⁵ = .0625 > .05, 2·2⁻⁶ = .03125: the sixth pair is the one that is missing."""
    result = judge_bias(pairs([0.5, 0.6, 0.55, 0.65, 0.6]), sides=("CICO", "insulin"))
    (row,) = result.rows
    assert (row.verdict, row.pairs_to_settle) == ("undetermined", 6)
    assert estimate(result, "win_rate").p == estimate(result, "gap").p == 0.0625
    assert estimate(result, "win_rate").low == pytest.approx(0.025**0.2)
    (finding,) = result.findings
    assert finding.code == "PB601"
    assert "CICO wins 5 of 5 pairs (sign test, p = .0625)" in finding.message
    assert "a file of about 6 pairs would settle it" in finding.message
    six = judge_bias(pairs([0.5, 0.6, 0.55, 0.65, 0.6, 0.5]), sides=("CICO", "insulin"))
    assert verdicts(six) == {"all": "favours chosen"}


@pytest.mark.parametrize(
    ("mean", "verdict", "code", "severity", "text"),
    [
        (0.5, "favours chosen", "PB101", "info", "the model prefers CICO: CICO wins"),
        (-0.5, "favours rejected", "PB101", "warning", "the model prefers insulin: insulin wins"),
        (0.0, "neutral", "PB102", "info", "neither side is preferred"),
        (0.1, "undetermined", "PB601", "warning", "undetermined"),
    ],
)
def test_the_three_verdicts(mean, verdict, code, severity, text):
    result = judge_bias(pairs(spread(100, mean)), sides=("CICO", "insulin"))
    assert verdicts(result) == {"all": verdict}
    (finding,) = result.findings
    assert (finding.code, finding.severity) == (code, severity)
    assert text in finding.message


def test_a_clear_side_within_an_open_distance_is_told():
    """Mean .1 lies on the bound, four standard errors from zero: who is clear, how far is not."""
    (finding,) = judge_bias(pairs(spread(100, 0.1, 0.25)), sides=("CICO", "insulin")).findings
    assert "undetermined, CICO is preferred but perhaps by less than 0.1, " in finding.message
    assert "preferred" not in judge_bias(pairs([0.5] * 4 + [0.6])).findings[0].message


def test_worst_pairs_are_those_that_lean_most():
    result = judge_bias(pairs([-0.5, -0.9, -0.6, -0.8, -0.7, -0.4, -0.55]))
    assert result.findings[0].worst_pairs == ("p1", "p3", "p4", "p2", "p6")
    assert result.findings[0].lines == (2, 4, 5, 3, 7)


@settings(max_examples=25)
@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 2)), min_size=1, max_size=12))
def test_swapping_sides_mirrors_everything(gaps):
    scores = pairs(gaps)
    swapped = [replace(s, chosen=s.rejected, rejected=s.chosen) for s in scores]
    one, other = judge_bias(scores), judge_bias(swapped)
    mirror = {"favours chosen": "favours rejected", "favours rejected": "favours chosen"}
    assert [mirror.get(r.verdict, r.verdict) for r in one.rows] == [r.verdict for r in other.rows]
    assert [r.pairs_to_settle for r in one.rows] == [r.pairs_to_settle for r in other.rows]
    for name in ("gap", "gap_sum", "gap_byte"):
        a, b = estimate(one, name), estimate(other, name)
        assert a.value == pytest.approx(-b.value)
        assert a.p == (None if b.p is None else pytest.approx(b.p))
        if a.low is not None:
            assert (a.low, a.high) == pytest.approx((-b.high, -b.low), rel=1e-6, abs=1e-9)


def test_row_order_does_not_matter():
    scores = pairs(drawn(30, 0.2), groups=["a", "b", "c"] * 10)
    one, other = judge_bias(scores), judge_bias(scores[::-1])
    assert verdicts(one) == verdicts(other)
    for e in one.estimates:
        if e.name != "gap_bootstrap":  # resampling sees the order
            assert estimate(other, e.name, e.group).low == (None if e.low is None else pytest.approx(e.low))


def test_ties_are_counted_apart():
    result = judge_bias(pairs([0.0, 0.0, 0.4, 0.5, 0.6]))
    assert estimate(result, "win_rate").n == 3
    assert estimate(result, "tie_share").value == 0.4
    assert ("PB104", "all") in codes(result)
    within_noise = judge_bias(pairs([1e-6, -1e-6, 0.4, 0.5, 0.6]), noise_floor=1e-5)
    assert estimate(within_noise, "tie_share").value == 0.4


def test_pairs_on_one_prompt_count_as_one():
    """Forty unanimous pairs on five prompts are five votes: p = .0625 again; 48 on six settle it."""
    gaps = 0.5 + spread(40, 0, 0.05)
    shared = [Pair(str(i), f"question {i // 8}", "yes", "no") for i in range(40)]
    result = judge_bias(pairs(gaps), clusters=prompt_clusters(shared))
    assert estimate(result, "gap").p == estimate(result, "win_rate").p == 0.0625
    assert result.rows[0].verdict == "undetermined"
    assert (result.rows[0].pairs_to_settle, result.rows[0].prompts_to_settle) == (48, 6)
    assert ("PB603", "all") in codes(result)
    open_, few = (f for f in result.findings if f.code in ("PB601", "PB603"))
    assert "a file of about 48 pairs on 6 prompts would settle it" in open_.message
    assert few.remedy == "Add pairs on at least 1 more prompt."
    run = Run("bias", "", findings=result.findings, bias=result.rows, inputs={"pairs": {"n": 40}})
    assert summary(run)[-1] == (
        "40 pairs on 5 prompts: fewer than 6 independent prompts settle nothing. If the measured gap is the "
        "true one, a file of about 48 pairs on 6 prompts would tell; this one has 40."
    )
    assert "a file of about 48 pairs on 6 prompts would settle it" in headline(run).text
    assert verdicts(judge_bias(pairs(gaps))) == {"all": "favours chosen"}


def test_one_prompt_says_nothing():
    result = judge_bias(pairs(drawn(20, 0.5)), clusters=["same"] * 20)
    assert verdicts(result) == {"all": "undetermined"}
    assert estimate(result, "gap").low is None
    assert codes(result) == [("PB601", "all"), ("PB603", "all")]


def test_equal_gaps_say_nothing():
    result = judge_bias(pairs([0.5] * 12))
    assert verdicts(result) == {"all": "undetermined"}
    assert ("PB606", "all") in codes(result)


def test_pairs_without_a_prompt_stand_alone():
    asked = [Pair(str(i), p, f"yes {i}", "no") for i, p in enumerate(["why?", None, "why?", None, "how?"])]
    assert prompt_clusters(asked).tolist() == [0, 1, 0, 2, 3]


def test_a_preference_that_sums_turn_round_is_unstable():
    """Chosen is likelier per token (−1.5 against −2) but three times as long: −45 against −20 nats."""
    result = judge_bias(pairs(spread(40, 0.5, 0.1), tokens=(30, 10), sizes=(120, 40)))
    assert verdicts(result) == {"all": "unstable"}
    (finding,) = result.findings
    assert finding.code == "PB602"
    assert finding.message.endswith("by token, but not so by sum")


def test_a_preference_that_a_template_turns_round_is_unstable():
    scores = pairs(spread(40, 0.5))
    agreeing, opposed = pairs(spread(40, 0.1)), pairs(spread(40, -0.2))
    assert verdicts(judge_bias(scores, by_template={"qa": agreeing})) == {"all": "favours chosen"}
    result = judge_bias(scores, by_template={"qa": agreeing, "chat": opposed})
    assert verdicts(result) == {"all": "unstable"}
    assert result.findings[0].message.endswith("not so by template chat")
    assert estimate(result, "gap_template:chat").value == pytest.approx(-0.2)


def test_neutral_is_unstable_where_sums_lean():
    """Equal means of −2 nats over 30 and 10 tokens: −40 nats by sum, far beyond 0.1 · 20 tokens."""
    result = judge_bias(pairs(spread(100, 0.0, 0.1), tokens=(30, 10), sizes=(120, 40)))
    assert verdicts(result) == {"all": "unstable"}


def test_holm_is_over_the_groups_and_leaves_the_file_alone():
    """Eight unanimous pairs: p = 2/2⁸ = .0078; with eight such groups Holm needs .00625, so none passes."""
    gaps = np.tile(spread(8, 0.5, 0.05), 8)
    few = judge_bias(pairs(gaps[:32], groups=[f"g{i // 8}" for i in range(32)]))
    many = judge_bias(pairs(gaps, groups=[f"g{i // 8}" for i in range(64)]))
    assert [r.verdict for r in few.rows] == ["favours chosen"] * 5
    assert [r.verdict for r in many.rows] == ["favours chosen"] + ["undetermined"] * 8
    assert many.rows[1].pairs_to_settle == 9
    assert codes(many) == [("PB101", "all"), ("PB601", "all")]
    assert "8 of 8 groups undetermined: g0 (needs about 9 pairs)" in many.findings[1].message


def test_groups_too_small_to_reject_cost_the_others_nothing():
    gaps = [*spread(8, 0.5, 0.05), *([0.5, 0.6] * 20)]
    groups = ["big"] * 8 + [f"small {i}" for i in range(20) for _ in range(2)]
    assert verdicts(judge_bias(pairs(gaps, groups=groups)))["big"] == "favours chosen"


def test_false_verdicts_are_rare_end_to_end():
    """Three groups of twelve without any preference, bound 0: at most 5% of runs name one, up to 3 errors."""
    rng, runs = np.random.default_rng(3), 100
    wrong = {"all": 0, "groups": 0}
    for _ in range(runs):
        rows = judge_bias(pairs(rng.standard_t(3, 36), groups=["a", "b", "c"] * 12), bound=0.0).rows
        named = [row.verdict.startswith("favours") for row in rows]
        wrong["all"] += named[0]
        wrong["groups"] += any(named[1:])
    assert max(wrong.values()) <= runs * 0.05 + 3 * math.sqrt(runs * 0.05 * 0.95)


def test_opposed_groups_are_told():
    gaps = [*spread(12, 0.6, 0.1), *spread(12, -0.6, 0.1)]
    result = judge_bias(pairs(gaps, groups=["a"] * 12 + ["b"] * 12), sides=("CICO", "insulin"))
    assert verdicts(result) == {"all": "undetermined", "a": "favours chosen", "b": "favours rejected"}
    assert ("PB105", "all") in codes(result)
    assert ("PB101", "a") in codes(result)


def test_one_group_is_the_whole_file():
    assert verdicts(judge_bias(pairs(drawn(12, 0.5), groups=["only"] * 12))).keys() == {"all"}
    some = judge_bias(pairs(drawn(12, 0.5), groups=["all"] * 6 + [None] * 6))
    assert verdicts(some).keys() == {"all", "group all"}


def test_a_preference_without_the_prompt_is_told():
    scores = pairs(spread(40, 0.5))
    likelier = pairs(spread(40, 0.5)[::-1])
    result = judge_bias(scores, neutral=likelier)
    assert estimate(result, "gap_prompt_corrected").value == pytest.approx(0, abs=1e-6)
    assert codes(result) == [("PB101", "all"), ("PB103", "all")]
    by_prompt = judge_bias(scores, neutral=pairs(spread(40, 0.0)[::-1]))
    assert codes(by_prompt) == [("PB101", "all")]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("alone", "too"), [(0.5, True), (-0.3, False)])
def test_a_preference_without_the_prompt_is_said_only_where_it_is_measured(sign, alone, too):
    """Without the prompt the other side may be ahead, so widely that what the prompt adds is open."""
    result = judge_bias(
        pairs(sign * spread(40, 0.5, 0.2)), neutral=pairs(sign * spread(40, alone, 5.0)[::-1])
    )
    (told,) = (finding.message for finding in result.findings if finding.code == "PB103")
    assert ("is preferred without the prompt too" in told) is too


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
def test_the_interval_of_no_preference_is_named_by_its_level(alpha):
    result = judge_bias(pairs(spread(400, 0.0, 0.05)), alpha=alpha)
    (told,) = (finding.message for finding in result.findings if finding.code == "PB102")
    assert f"({100 - 200 * alpha:g}% interval)" in told


def test_no_neutral_under_the_noise_floor():
    result = judge_bias(pairs(spread(100, 0.0, 0.1)), bound=0.1, noise_floor=0.2)
    assert result.rows[0].verdict == "undetermined"
    assert result.findings[0].code == "PB604"
    assert result.findings[0].severity == "error"


def test_a_few_extreme_pairs_do_not_make_a_verdict():
    """Nineteen gaps of about 0 and one of 20: mean 1, and nothing is settled."""
    result = judge_bias(pairs([*spread(19, 0.0, 0.01), 20.0]))
    assert verdicts(result) == {"all": "undetermined"}


def test_scores_that_are_not_finite_are_told_by_line():
    scores = pairs([0.1, 0.2, 0.3])
    for broken in (side(math.nan), side(-2.0, tokens=0), side(-2.0, size=0)):
        bad = [scores[0], replace(scores[1], rejected=broken), scores[2]]
        with pytest.raises(CannotMeasure, match=r"pair p1 \(line 2\): its rejected response"):
            judge_bias(bad)
        with pytest.raises(CannotMeasure, match="p1"):
            judge_bias(scores, by_template={"qa": bad})


def test_settings_out_of_range_are_told():
    for wrong in (
        {"alpha": 0.0},
        {"alpha": 0.5},
        {"bound": -1.0},
        {"bound": math.nan},
        {"noise_floor": -1.0},
    ):
        with pytest.raises(ProbeError):
            judge_bias(pairs([0.1] * 8), **wrong)
    with pytest.raises(ProbeError, match="no pairs"):
        judge_bias([])


def test_templates_may_be_tried_on_a_sample_matched_by_line():
    scores = pairs([0.5, 0.7, 0.9])
    result = judge_bias(scores, by_template={"qa": [scores[2], scores[0]]}, neutral=scores[1:2])
    tried = estimate(result, "gap_template:qa")
    assert (tried.value, tried.n) == (pytest.approx(0.7), 2)
    assert estimate(result, "gap_prompt_corrected").value == pytest.approx(0.0)


def test_a_table_of_totals_gives_the_same_result_as_the_scores_themselves():
    scores = pairs(drawn(30, 0.4), groups=["a", "b"] * 15)
    assert judge_bias(ScoreTable(scores)) == judge_bias(scores)


def test_details_hold_every_pair():
    result = judge_bias(pairs([0.5, -0.25], tokens=(10, 5)))
    assert result.details["pairs"][1] == pytest.approx(
        {
            "id": "p1",
            "line": 2,
            "group": None,
            "cluster": 1,
            "gap": -0.25,
            "gap_sum": -12.5,
            "gap_byte": -22.5 / 40 + 10 / 40,
            "chosen_tokens": 10,
            "rejected_tokens": 5,
        }
    )
