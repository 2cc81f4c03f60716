"""The gate's conditions: three values, Holm, accepted findings, the baseline."""

from __future__ import annotations

import dataclasses
import random
from datetime import date, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probe.errors import ProbeError
from probe.gate import accept, baseline
from probe.gate import judge as judges
from probe.gate.accept import Accepted, parse, tolerates
from probe.gate.conditions import CONDITIONS, RULES, holm_rejects, p_against, pairs_to_settle
from probe.gate.judge import JudgeSettings, judge
from probe.gate.registry import PROBE_NAMES
from probe.gate.states import TEXT_ALONE
from probe.records import Estimate, Finding, Run
from probe.stats.statistics import share_clustered

DONE = {"probes": dict.fromkeys(PROBE_NAMES, "done")}
TODAY = date(2026, 11, 21)
GOOD = {"flip_budget_share": 0.2, "length_accuracy": 0.55, "trial_accuracy": 0.7}


@cache
def share(name: str, value: float, n: int = 200, group: str = "all") -> Estimate:
    interval = stats.binomtest(round(value * n), n).proportion_ci(0.95, "exact")
    return Estimate(name, value, interval.low, interval.high, n, None, "exact", "share", group)


def make_run(findings=(), n: int = 200, **values: float) -> Run:
    estimates = tuple(share(name, value, n) for name, value in {**GOOD, **values}.items())
    return Run("gate", "2026-11-21T12:00:00Z", estimates=estimates, findings=tuple(findings), details=DONE)


def error(code: str, **more) -> Finding:
    return Finding(code, "error", "something is wrong", "mend it", **more)


def results(run: Run) -> dict[str, str]:
    return {(c.name if c.group == "all" else f"{c.name}/{c.group}"): c.result for c in run.verdict.conditions}


def test_good_pairs_pass():
    judged = judge(make_run(), JudgeSettings(today=TODAY))
    assert (judged.verdict.status, judged.verdict.exit_code) == ("pass", 0)


def test_a_condition_says_why_it_is_open_and_says_nothing_where_it_is_not():
    """Of what a probe would find wrong: done, off, and found."""
    off = dataclasses.replace(make_run(), details={"probes": {**DONE["probes"], "data": "off"}})
    for run, expected in (
        (make_run(), ("pass", "")),
        (off, ("inconclusive", "not measured (data: off); what was not run never passes")),
        (make_run([error("PB301")]), ("fail", "something is wrong")),
    ):
        judged = judge(run, JudgeSettings(today=TODAY))
        (found,) = (c for c in judged.verdict.conditions if c.name == "data")
        assert (found.result, found.message) == expected


@pytest.mark.parametrize(("command", "kept"), [("gate", []), ("report", ["a row"])])
def test_differences_of_an_earlier_judgement_are_those_of_a_gate_alone(command, kept):
    """A gate's come from its baseline, and are judged anew; those of a report are its own."""
    run = dataclasses.replace(make_run(), command=command, details={**DONE, "differences": ["a row"]})
    assert judge(run, JudgeSettings(today=TODAY)).details.get("differences", []) == kept


@pytest.mark.parametrize(("agreement", "failing"), [(0.5, "agreement"), (0.8, "no PB310")])
def test_wrong_labels_fail_by_themselves_not_as_broken_data(agreement, failing):
    found = results(judge(make_run([error("PB310")], agreement=agreement), JudgeSettings(today=TODAY)))
    assert found["data"] == "pass"
    assert [name for name, result in found.items() if result == "fail"] == [failing]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length_accuracy", 0.99),
        ("template_share", 0.6),
        ("trial_accuracy", 0.3),
    ],
)
def test_a_value_clearly_past_its_limit_fails(name, value):
    judged = judge(make_run(**{name: value}), JudgeSettings(today=TODAY))
    assert results(judged)[name] == "fail"
    assert (judged.verdict.status, judged.verdict.exit_code) == ("fail", 1)


def test_a_failed_condition_says_where_its_limit_comes_from():
    bad = make_run(length_accuracy=0.9)
    own, typed = (
        next(c for c in judge(bad, settings).verdict.conditions if c.name == "length_accuracy")
        for settings in (JudgeSettings(), JudgeSettings(limits={"length_accuracy": 0.6}))
    )
    assert own.result == typed.result == "fail"
    assert own.message == f"limit: {RULES['length_accuracy'].source}"
    assert not typed.message  # whoever set a limit knows where it comes from


@pytest.mark.parametrize("code", ["PB211", "PB213", "PB215"])
def test_a_condition_bears_the_code_of_what_was_found(code):
    found, other = (
        Finding(name, "warning", "a form", "vary it", estimate=share("template_share", value))
        for name, value in ((code, 0.8), ("PB214", 0.6))
    )
    run = make_run([other, found], template_share=0.8)
    condition = next(c for c in judge(run, JudgeSettings()).verdict.conditions if c.name == "template_share")
    assert (condition.result, condition.code) == ("fail", code)
    for names, left in (((code, "PB214"), ""), ((code,), "PB214"), (("PB214",), code), (("PB216",), None)):
        settings = JudgeSettings(today=TODAY, accepted=tuple(Accepted(name, "meant so") for name in names))
        conditions = judge(run, settings).verdict.conditions
        condition = next(c for c in conditions if c.name == "template_share")
        assert condition.result == ("accepted" if left == "" else "fail")
        told = (
            "limit: convention" if left is None else f"not accepted: {left}" if left else "accepted: meant so"
        )
        assert condition.message == told
    alone = make_run(template_share=0.8)  # of a run whose findings are not there, the rule's own code counts
    settings = JudgeSettings(today=TODAY, accepted=(Accepted("PB211", "meant so"),))
    assert results(judge(alone, settings))["template_share"] == "accepted"


def test_what_is_open_only_beside_others_says_so():
    """Clear of its limit alone at p = .033, and two tests share the alpha."""
    run = make_run(agreement=0.81, trial_accuracy=0.576)
    alone, beside = (
        next(c for c in judge(case, JudgeSettings()).verdict.conditions if c.name == "trial_accuracy")
        for case in (make_run(trial_accuracy=0.576), run)
    )
    assert (alone.result, beside.result) == ("pass", "inconclusive")
    assert "by itself, not under 0.05 beside the other condition (Holm); " in beside.message


def test_near_the_limit_it_is_inconclusive_and_says_how_many_more():
    judged = judge(make_run(trial_accuracy=0.55), JudgeSettings(today=TODAY))
    condition = next(c for c in judged.verdict.conditions if c.name == "trial_accuracy")
    assert condition.result == "inconclusive"
    more = int(condition.message.split()[0].replace(",", ""))
    settled = judge(make_run(n=200 + 2 * more, trial_accuracy=0.55), JudgeSettings(today=TODAY))
    assert results(settled)["trial_accuracy"] == "pass"
    assert judged.verdict.exit_code == 1
    assert judge(make_run(trial_accuracy=0.55), JudgeSettings(inconclusive="warn")).verdict.exit_code == 0


@pytest.mark.parametrize("probe", ["data", "numerics", "negatives", "trial"])
def test_what_was_not_run_never_passes(probe):
    run = make_run()
    names = [rule.name for rule in CONDITIONS if rule.probe == probe and rule.gates]
    states = {**DONE["probes"], probe: "off"}
    run = dataclasses.replace(
        run, estimates=tuple(e for e in run.estimates if e.name not in names), details={"probes": states}
    )
    judged = judge(run, JudgeSettings(today=TODAY))
    assert judged.verdict.status == "inconclusive"
    for name in set(names) & set(results(judged)):
        assert results(judged)[name] == "inconclusive"


def test_an_empty_run_passes_nothing():
    judged = judge(Run("bias", "now"), JudgeSettings(inconclusive="warn", today=TODAY))
    assert "pass" not in results(judged).values()
    assert judged.verdict.status == "inconclusive"


def test_too_few_pairs_are_inconclusive_however_clear():
    judged = judge(make_run(n=10, trial_accuracy=1.0), JudgeSettings(today=TODAY))
    assert results(judged)["trial_accuracy"] == "inconclusive"
    assert "10 of the 20 pairs" in next(
        c.message for c in judged.verdict.conditions if c.name == "trial_accuracy"
    )


@pytest.mark.parametrize(("code", "name"), [("PB001", "numerics"), ("PB301", "data"), ("PB599", "no PB599")])
def test_an_error_finding_fails_its_condition(code, name):
    judged = judge(make_run([error(code)]), JudgeSettings(today=TODAY))
    assert results(judged)[name] == "fail"
    assert judged.verdict.exit_code == 1


def test_a_group_limit_is_judged_on_the_group_and_missing_groups_never_pass():
    run = make_run()
    run = dataclasses.replace(run, estimates=(*run.estimates, share("length_accuracy", 0.85, 300, "advice")))
    settings = JudgeSettings(
        groups={"advice": {"length_accuracy": 0.7}, "none": {"trial_accuracy": 0.5}}, today=TODAY
    )
    found = results(judge(run, settings))
    assert (found["length_accuracy/advice"], found["length_accuracy"]) == ("fail", "pass")
    assert found["trial_accuracy/none"] == "inconclusive"


def test_false_leaves_a_condition_out_and_a_number_turns_one_on():
    run = make_run(trial_accuracy=0.3)
    gap = Estimate("gap", 0.02, -0.01, 0.05, 200, None, "t", "nats/token")
    run = dataclasses.replace(run, estimates=(*run.estimates, gap))
    found = results(judge(run, JudgeSettings(limits={"trial_accuracy": False, "gap": 0.1}, today=TODAY)))
    assert "trial_accuracy" not in found and found["gap"] == "pass"


def test_a_limit_under_the_noise_floor_is_a_configuration_error():
    gap = Estimate("gap", 0.0, -0.01, 0.01, 200, None, "t", "nats/token")
    run = dataclasses.replace(
        make_run(), inputs={"scores": {"self_proof": {"difference": 0.02}}}, estimates=(gap,)
    )
    with pytest.raises(ProbeError, match="noise"):
        judge(run, JudgeSettings(limits={"gap": 0.01}, today=TODAY))


def test_advisory_conditions_are_shown_but_do_not_decide():
    judged = judge(make_run(surface_accuracy=0.99, signal_accuracy=0.4), JudgeSettings(today=TODAY))
    assert results(judged)["surface_accuracy"] == results(judged)["signal_accuracy"] == "fail"
    assert judged.verdict.status == "pass"


# --- accepted findings ----------------------------------------------------------------------------------


def accepted_run(entry: Accepted, findings=(), **values):
    return judge(make_run(findings, **values), JudgeSettings(accepted=(entry,), today=TODAY))


def test_an_accepted_condition_no_longer_fails_and_carries_its_reason():
    judged = accepted_run(Accepted("PB201", "templates are wanted here"), length_accuracy=0.99)
    assert results(judged)["length_accuracy"] == "accepted"
    assert judged.verdict.exit_code == 0
    assert judged.details["accepted"][0]["reason"] == "templates are wanted here"


def test_worse_than_the_accepted_limit_still_fails():
    assert (
        results(accepted_run(Accepted("PB201", "r", limit=0.95), length_accuracy=0.999, n=1000))[
            "length_accuracy"
        ]
        == "fail"
    )
    held = accepted_run(Accepted("PB201", "r", limit=0.97), length_accuracy=0.93, n=1000)
    assert results(held)["length_accuracy"] == "accepted"


def test_an_accepted_error_finding_counts_no_more_and_its_limit_holds():
    measured = share("truncated_share", 0.2)
    finding = error("PB320", estimate=measured)
    assert results(accepted_run(Accepted("PB320", "r"), [finding]))["data"] == "accepted"
    assert results(accepted_run(Accepted("PB320", "r", limit=0.3), [finding]))["data"] == "accepted"
    assert results(accepted_run(Accepted("PB320", "r", limit=0.1), [finding]))["data"] == "fail"
    assert results(accepted_run(Accepted("PB320", "r", limit=0.2), [finding]))["data"] == "accepted"
    for unmeasured in (None, dataclasses.replace(measured, value=None)):  # nothing to hold against a limit
        finding = error("PB320", estimate=unmeasured)
        assert results(accepted_run(Accepted("PB320", "r", limit=0.3), [finding]))["data"] == "fail"
        assert results(accepted_run(Accepted("PB320", "r"), [finding]))["data"] == "accepted"
    assert results(accepted_run(Accepted("PB320", "r", group="x"), [finding]))["data"] == "fail"


def test_a_lapsed_entry_accepts_nothing_and_is_a_finding():
    entry = Accepted("PB201", "r", until=date(2026, 11, 20))
    judged = accepted_run(entry, length_accuracy=0.99)
    assert results(judged)["length_accuracy"] == "fail"
    assert [f.code for f in judged.findings] == ["PB701"]
    last_day = dataclasses.replace(entry, until=TODAY)
    assert results(accepted_run(last_day, length_accuracy=0.99))["length_accuracy"] == "accepted"


def test_an_unused_entry_is_a_finding_and_judging_twice_changes_nothing():
    settings = JudgeSettings(accepted=(Accepted("PB201", "r"),), today=TODAY)
    once = judge(make_run(), settings)
    assert [f.code for f in once.findings] == ["PB702"]
    assert judge(once, settings) == once


def test_an_entry_needs_a_finding_code():
    with pytest.raises(ProbeError, match="PB2O2"):
        parse([{"code": "PB2O2", "reason": "r"}])


# --- the arithmetic -------------------------------------------------------------------------------------


def test_p_is_alpha_where_the_interval_ends_at_the_limit():
    measured = share("length_accuracy", 0.7)
    assert p_against(measured, measured.low, 0.05) == pytest.approx(0.05)
    gap = Estimate("gap", 1.0, 0.5, 1.5, 50, None, "t", "nats/token")
    assert p_against(gap, 0.5, 0.05) == pytest.approx(0.05)
    assert p_against(gap, 0.0, 0.05) == pytest.approx(2 * stats.norm.sf(2 * 1.959964), rel=1e-3)


def test_p_of_a_perfect_share_is_the_exact_one():
    """115 of 115 against .9: the two-sided exact p is 2 · .9^115 = 1.09e-5; never below it, nor far above."""
    exact = 2 * 0.9**115
    assert exact <= p_against(share("x", 1.0, 115), 0.9, 0.05) <= 2 * exact


@pytest.mark.parametrize("rate", [0.5, 0.6, 0.9])
def test_shares_on_the_limit_are_called_no_oftener_than_alpha(rate):
    """2,000 files of 200 pairs whose true rate is the limit, at the level of one of ten Holm tests."""
    draw = random.Random(7)
    called = 0
    for _ in range(2000):
        wins = sum(draw.random() < rate for _ in range(200))
        called += p_against(share("x", wins / 200), rate, 0.05) <= 0.005
    assert called / 2000 <= 0.005 + 3 * (0.005 / 2000) ** 0.5


def test_holm_is_the_textbook_procedure():
    """Holm 1979 at .05 on .01, .04, .03, .005: .005 ≤ .05/4, .01 ≤ .05/3, then .03 > .05/2 stops."""
    assert holm_rejects([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm_rejects([None, 0.04], 0.05) == [False, True]


def test_pairs_to_settle_has_the_power_it_promises():
    """True rate .65 against .6 from 100 pairs: at n + more, 80% (± 5 points) of files are called."""
    more = pairs_to_settle(share("x", 0.65, 100), 0.6, 0.05, 1)
    n, draw = 100 + more, random.Random(3)
    wins = [sum(draw.random() < 0.65 for _ in range(n)) for _ in range(300)]
    called = [p_against(share("x", w / n, n), 0.6, 0.05) <= 0.05 for w in wins]
    assert 0.68 <= sum(called) / 300 <= 0.92


def test_every_condition_has_its_own_name_and_help():
    assert len(RULES) == len(CONDITIONS)
    assert all(rule.help and rule.source for rule in CONDITIONS)


# --- baseline -------------------------------------------------------------------------------------------


def with_pairs(gaps, **inputs) -> Run:
    rows = [{"id": f"p{i}", "gap": gap, "group": "ab"[i % 2], "cluster": i} for i, gap in enumerate(gaps)]
    return Run("bias", "now", details={"pairs": rows}, inputs={"pairs": {"sha256": "1"}, **inputs})


def compare(now: Run, then: Run) -> baseline.Compared:
    return baseline.compare_with_baseline(now, then, bound=0.1, alpha=0.05)


def test_the_same_scores_pass_and_a_fall_fails_by_group():
    draw = random.Random(1)
    then = [draw.gauss(0, 1) for _ in range(80)]
    assert {c.result for c in compare(with_pairs(then), with_pairs(then)).conditions} == {"pass"}
    fallen = [g - (0.5 if i % 2 else 0) + draw.gauss(0, 0.05) for i, g in enumerate(then)]
    found = {c.group: c.result for c in compare(with_pairs(fallen), with_pairs(then)).conditions}
    assert found == {"all": "fail", "a": "pass", "b": "fail"}
    judged = judge(make_run(), JudgeSettings(today=TODAY), compare(with_pairs(fallen), with_pairs(then)))
    assert judged.verdict.exit_code == 1 and "PB704" in [f.code for f in judged.findings]


@pytest.mark.parametrize(
    ("entry", "result"),
    [
        (Accepted("PB704", "known"), "accepted"),
        (Accepted("PB704", "known", group="b"), "fail"),  # of all and b, b alone
        (Accepted("PB704", "known", limit=-0.6), "accepted"),
        (Accepted("PB704", "known", limit=-0.2), "fail"),
        (Accepted("PB501", "another"), "fail"),
        (Accepted("PB704", "over", until=TODAY - timedelta(days=1)), "fail"),
    ],
)
def test_a_fall_since_the_baseline_is_accepted_up_to_the_limit_that_its_entry_names(entry, result):
    draw = random.Random(1)
    then = [draw.gauss(0, 1) for _ in range(80)]
    now = [g - 0.5 + draw.gauss(0, 0.05) for g in then]
    compared = compare(with_pairs(now), with_pairs(then))
    judged = judge(make_run(), JudgeSettings(today=TODAY, accepted=(entry,)), compared)
    told = {c.group: c.result for c in judged.verdict.conditions if c.name == "gap_change"}
    assert told["all"] == result and told["b"] == ("accepted" if entry.group else result)
    assert (judged.verdict.exit_code == 0) == (result == "accepted")
    unused = "PB702" in [f.code for f in judged.findings]
    assert unused == (entry.code == "PB501" or entry.limit == -0.2)


def test_a_fall_that_is_not_shown_is_accepted_and_its_entry_is_used():
    draw = random.Random(1)
    then = [draw.gauss(0, 1) for _ in range(40)]
    compared = compare(with_pairs([g - 0.1 + draw.gauss(0, 1) for g in then]), with_pairs(then))
    assert "inconclusive" in {c.result for c in compared.conditions}
    entry = Accepted("PB704", "known")
    judged = judge(make_run(), JudgeSettings(today=TODAY, accepted=(entry,)), compared)
    assert judged.verdict.exit_code == 0 and judged.details["accepted"] == [entry.row()]
    assert "PB702" not in [f.code for f in judged.findings]


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (with_pairs([0.1, 0.2], pairs={"sha256": "2"}), "another file"),
        (with_pairs([0.1, 0.2], model={"template": "chat"}), "template"),
        (with_pairs([0.1, 0.2, 0.3]), "1 pairs"),
        (with_pairs([]), "no gaps"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, word):
    compared = compare(with_pairs([0.1, 0.2]), other)
    assert compared.findings[0].code == "PB703" and word in compared.findings[0].message
    assert judge(make_run(), JudgeSettings(today=TODAY), compared).verdict.exit_code == 1


def texts(rows, **inputs) -> Run:
    """A run of (id, text, gap) rows, each on a line and a prompt of its own; no id: the line is one."""
    made = [
        {"id": name or str(i), "line": i, "text": text, "gap": gap, "group": None, "cluster": i}
        for i, (name, text, gap) in enumerate(rows, 1)
    ]
    facts = {"pairs": {"sha256": str(hash(str(rows))), "n": len(rows)}, **inputs}
    return Run("bias", "now", details={"pairs": made}, inputs=facts)


BEFORE = [(f"p{i}", f"text {i}", 0.1 * i) for i in range(12)]


def test_a_changed_file_is_compared_on_the_pairs_that_are_the_same():
    after = [("new", "text new", 9.0), ("p0", "another text", 9.0), *BEFORE[2:]]
    found = compare(texts(after), texts(BEFORE))
    (told,) = found.findings
    assert (told.code, told.severity, told.lines) == ("PB707", "info", (1, 2))
    assert "1 added, 1 dropped, 1 changed; the 10 that are the same" in told.message
    (change,) = [c.measured for c in found.conditions]
    assert (change.n, change.value) == (10, 0.0)  # gaps of other pairs are in no comparison
    judged = judge(make_run(), JudgeSettings(today=TODAY), found)
    assert judged.verdict.status == "pass" and "PB707" in [f.code for f in judged.findings]


def test_without_ids_a_pair_is_known_by_its_text_wherever_it_stands():
    before = [("", text, gap) for _, text, gap in BEFORE]
    found = compare(texts([("", "first", 1.0), *before]), texts(before))
    assert "1 added, 0 dropped, 0 changed; the 12 that are the same" in found.findings[0].message
    twice = compare(texts([*before, before[0]]), texts([*before, before[0]]))
    assert not twice.findings and twice.conditions[0].measured.n == 13


@settings(max_examples=100)
@given(st.lists(st.integers(0, 6), max_size=12), st.lists(st.integers(0, 6), max_size=12), st.booleans())
def test_every_pair_is_the_same_or_told(now, then, named):
    def rows(drawn):
        return texts([(f"p{i}" if named else "", f"t{i}", 0.5) for i in drawn]).details["pairs"]

    found = baseline.match(rows(now), rows(then))
    assert len(found.same) + len(found.added) + len(found.changed) == len(now)
    assert all(mine["text"] == other["text"] for mine, other in found.same)
    assert found.whole == (sorted(now) == sorted(then))


def test_exchanged_sides_are_no_fall_of_the_gap():
    """The same file read with its sides exchanged: another text under each id, so nothing to compare."""
    other = [(name, f"{text}, exchanged", -gap) for name, text, gap in BEFORE]
    now, then = (
        dataclasses.replace(r, inputs={"pairs": {"sha256": "1"}}) for r in map(texts, (other, BEFORE))
    )
    assert compare(now, then).findings[0].code == "PB703"


@pytest.mark.parametrize("key", ["template", "tokenizer_sha256"])
def test_an_incomparable_model_or_template_is_refused(key):
    now, then = (texts(BEFORE, model={key: value}) for value in "12")
    found = compare(now, then)
    assert [f.code for f in found.findings] == ["PB703"] and not found.conditions


def test_what_forbids_passes_until_it_is_shown_and_is_never_passed_unread():
    found = {rate: judge(make_run(length_accuracy=rate), JudgeSettings(today=TODAY)) for rate in (0.68, 0.8)}
    told = next(c for c in found[0.68].verdict.conditions if c.name == "length_accuracy")
    assert (told.result, told.message) == ("pass", "not shown to lie past the limit")
    assert results(found[0.8])["length_accuracy"] == "fail"
    few = judge(make_run(n=10, length_accuracy=0.6), JudgeSettings(today=TODAY))
    assert results(few)["length_accuracy"] == "inconclusive"
    strict = judge(make_run(length_accuracy=0.8), JudgeSettings(today=TODAY, alpha=1e-9))
    assert results(strict)["length_accuracy"] == "inconclusive"  # no longer shown, and never healthy by that


@pytest.mark.parametrize(("prompts", "result"), [(2, "inconclusive"), (6, "inconclusive"), (30, "fail")])
def test_pairs_of_few_prompts_do_not_let_a_condition_pass(prompts, result):
    """Length tells every pair apart, and so few prompts can never show it."""
    labels = [str(i % prompts) for i in range(120)]
    told = share_clustered([1.0] * 120, labels, name="length_accuracy")
    run = make_run()
    estimates = [told if e.name == "length_accuracy" else e for e in run.estimates]
    judged = judge(dataclasses.replace(run, estimates=tuple(estimates)), JudgeSettings(today=TODAY))
    condition = next(c for c in judged.verdict.conditions if c.name == "length_accuracy")
    assert condition.result == result
    assert result == "fail" or "its prompts are too few" in condition.message


def test_more_pairs_are_not_promised_where_they_would_not_be_read():
    run = make_run(trial_accuracy=0.52)
    capped = dataclasses.replace(run, details={**run.details, "reads": [{"probe": "trial", "most": 512}]})
    told = [
        next(
            c.message
            for c in judge(one, JudgeSettings(today=TODAY)).verdict.conditions
            if c.name == "trial_accuracy"
        )
        for one in (run, capped)
    ]
    assert "were the measured value the true one" in told[0]
    assert told[1].endswith("more pairs would settle it, and trial reads at most 512")


def test_samples_of_more_prompts_than_are_asked_are_not_promised():
    run = make_run(trial_accuracy=0.9, behaviour_up=0.53)
    noted = [{"probe": "trial", "most": 512}, {"probe": "behaviour_up", "most": 192}]
    judged = judge(
        dataclasses.replace(run, details={**run.details, "reads": noted}), JudgeSettings(today=TODAY)
    )
    message = next(c.message for c in judged.verdict.conditions if c.name == "trial_accuracy")
    assert message.endswith("trial asks at most 192")


@pytest.mark.parametrize(("moved", "result"), [(0.7, "pass"), (0.51, "inconclusive"), (0.3, "fail")])
@pytest.mark.parametrize("ranked", [0.3, 0.48, 0.9])
def test_samples_that_are_judged_decide_whatever_margins_did(moved, result, ranked):
    """What the model writes is the outcome: margins that rise alone leave it open, and falling ones too."""
    judged = judge(make_run(trial_accuracy=ranked, behaviour_up=moved), JudgeSettings(today=TODAY))
    assert results(judged)["trial_accuracy"] == result
    told = next(c.message for c in judged.verdict.conditions if c.name == "trial_accuracy")
    assert ("not shown to follow" in told) == (result == "inconclusive" and ranked == 0.9)


def test_ranked_pairs_decide_where_no_judge_is_heard():
    alone = judge(make_run(trial_accuracy=0.9), JudgeSettings(today=TODAY))
    deaf = Estimate("behaviour_up", None, None, None, 100, None, "not judged", "share")
    run = make_run(trial_accuracy=0.9)
    unheard = judge(dataclasses.replace(run, estimates=(*run.estimates, deaf)), JudgeSettings(today=TODAY))
    assert results(alone)["trial_accuracy"] == results(unheard)["trial_accuracy"] == "pass"


def test_a_limit_that_is_configured_gates_also_where_the_shipped_one_describes():
    run = make_run(surface_accuracy=0.99)
    assert judge(run, JudgeSettings(today=TODAY)).verdict.status == "pass"
    judged = judge(run, JudgeSettings(limits={"surface_accuracy": 0.8}, today=TODAY))
    assert judged.verdict.status == "fail"


def test_what_lies_on_the_limit_of_an_acceptance_is_accepted():
    entry = Accepted("PB999", "known", limit=0.5)
    for value, tolerated in ((0.5, True), (0.501, False)):
        found = Finding(
            "PB999", "error", "m", "", estimate=Estimate("own", value, 0, 1, 9, None, "t", "share")
        )
        assert tolerates(entry, found) is tolerated


def test_an_unused_acceptance_names_its_group_where_it_has_one():
    told = [
        accept.unused([Accepted("PB999", "known", group=group)], [])[0].message for group in (None, "advice")
    ]
    assert told == ["PB999 is accepted but was not found", "PB999 is accepted in advice but was not found"]


def test_pairs_that_would_be_read_to_the_last_are_promised():
    run = make_run(trial_accuracy=0.56)
    message = next(
        c.message
        for c in judge(run, JudgeSettings(today=TODAY)).verdict.conditions
        if c.name == "trial_accuracy"
    )
    more = int(message.split()[0].replace(",", ""))
    n = run.estimate("trial_accuracy").n
    for most, promised in ((n + more, True), (n + more - 1, False)):
        noted = {**run.details, "reads": [{"probe": "trial", "most": most}]}
        judged = judge(dataclasses.replace(run, details=noted), JudgeSettings(today=TODAY))
        told = next(c.message for c in judged.verdict.conditions if c.name == "trial_accuracy")
        assert ("were the measured value the true one" in told) is promised


@pytest.mark.parametrize("until", [None, date(2026, 12, 31)])
def test_a_judged_run_keeps_what_was_accepted_and_until_when(until):
    row = Accepted("PB202", "known", until=until).row()
    assert row == {"code": "PB202", "group": None, "until": str(until) if until else "", "reason": "known"}


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_one_of_several_alternatives_has_a_corrected_p_of_one_at_most(p, monkeypatch):
    monkeypatch.setattr(judges, "p_against", lambda *_: p)
    rule = RULES["trial_accuracy"]
    claim = judges.Claim(rule, "all", 0.5, share("trial_accuracy", 0.6), "PB501", alternatives=3)
    assert judges._p(claim, JudgeSettings()) == pytest.approx(min(1.0, 3 * p))


@pytest.mark.parametrize(
    ("now", "then", "differ"), [("a", "a", False), ("a", "b", True), (None, "b", False), ("a", None, False)]
)
def test_gaps_of_other_tokenizers_are_no_unit_where_both_are_known(now, then, differ):
    rows = [{"id": "1", "line": 1, "gap": 0.1, "cluster": 0}]
    runs = [
        Run("bias", "now", details={"pairs": rows}, inputs={"model": {"tokenizer_sha256": t}})
        for t in (now, then)
    ]
    assert ("the tokenizers differ" in baseline._why_unlike(*runs)) is differ
    assert differ or baseline._why_unlike(*runs) == ""


@pytest.mark.parametrize(
    ("low", "high", "result"),
    [(-0.1, 0.2, "pass"), (-0.11, 0.2, "inconclusive"), (-0.3, -0.11, "fail"), (-0.3, -0.1, "inconclusive"),
     (None, None, "inconclusive"), (-0.3, None, "inconclusive"), (None, 0.2, "inconclusive")],
)  # fmt: skip
def test_a_change_is_held_against_the_bound_by_its_whole_interval(low, high, result):
    change = Estimate("gap_change", -0.05, low, high, 40, None, "t", "nats/token")
    assert baseline._condition(change, 0.1).result == result


OPTIONAL = [rule.name for rule in CONDITIONS if rule.optional]


@pytest.mark.parametrize("state", ["done", TEXT_ALONE, "off", "could not measure: out of memory", None])
@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_condition_is_left_out_only_where_its_probe_has_looked(name, state):
    """That there is none of something is known where it was looked for; else the gate cannot pass."""
    rule = RULES[name]
    noted = {k: v for k, v in DONE["probes"].items() if k != rule.probe} | (
        {rule.probe: state} if state else {}
    )
    kept = {e.name: e.value for e in make_run().estimates if RULES[e.name].probe != rule.probe}
    run = Run("gate", "now", estimates=tuple(share(k, v) for k, v in kept.items()), details={"probes": noted})
    others = {
        r.name: False for r in CONDITIONS if r.probe == rule.probe and r.sense != "clean" and r is not rule
    }
    judged = judge(run, JudgeSettings(limits=others, today=TODAY))
    looked = state in ("done", TEXT_ALONE) or rule.probe not in PROBE_NAMES
    assert results(judged).get(name) == (None if looked else "inconclusive")
    assert judged.verdict.status == ("pass" if looked or not rule.gates else "inconclusive")
