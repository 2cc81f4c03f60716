"""A saved run judged again: by what was recorded, at its own alpha, under the limits of now."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probe.errors import ProbeError
from probe.gate.conditions import BY_CODE, CONDITIONS, RULES, p_against
from probe.gate.decide import decide
from probe.gate.judge import JudgeSettings, judge
from probe.gate.registry import PROBE_NAMES
from probe.records import Estimate, Finding, Run

TODAY = date(2026, 11, 26)
DONE = {"probes": dict.fromkeys(PROBE_NAMES, "done")}
NAMES = [rule.name for rule in CONDITIONS if rule.sense != "clean" and not rule.exact]


def share(name: str, hits: int, n: int, alpha: float = 0.05) -> Estimate:
    interval = stats.binomtest(hits, n).proportion_ci(1 - alpha, "exact")
    units = "nats/token" if name == "gap" else "share"
    return Estimate(name, hits / n, interval.low, interval.high, n, None, "exact", units)


def run_of(*estimates: Estimate, findings=(), alpha: float = 0.05) -> Run:
    return Run(
        "gate", "2026-11-26T12:00:00Z", estimates=estimates, findings=tuple(findings), details=DONE,
        config={"alpha": alpha},
    )  # fmt: skip


def decided(run: Run, **how) -> dict[tuple[str, str], str]:
    judged = judge(run, JudgeSettings(today=TODAY, **how))
    return {(c.name, c.group): c.result for c in judged.verdict.conditions if c.result in ("fail", "pass")}


counts = st.integers(20, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
alphas = st.floats(1e-6, 0.49)


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(NAMES), counts, min_size=1),
    alphas,
    alphas,
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_a_stricter_alpha_never_decides_more(values, a, b, level):
    run = run_of(*(share(name, k, n, level) for name, (k, n) in values.items()), alpha=level)
    strict, loose = (decided(run, alpha=x, limits={"gap": 0.4}) for x in sorted((a, b)))
    assert strict.items() <= loose.items()


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(NAMES), counts, min_size=1), alphas, alphas)
def test_a_stricter_alpha_never_leads_to_training_that_a_looser_one_does_not_know(values, a, b):
    """A decision to train rests on the trial's test; strict alphas lose the evidence, they never gain it."""
    run = run_of(*(share(name, k, n) for name, (k, n) in values.items()))
    strict, loose = (
        decide(judge(run, JudgeSettings(today=TODAY, alpha=x)), JudgeSettings(today=TODAY, alpha=x)).decision
        for x in sorted((a, b))
    )
    learns = [any(r.code == "PB501" and "above" in r.text for r in d.reasons) for d in (strict, loose)]
    trial = run.estimate("trial_accuracy")
    if learns[0] and trial is not None:
        assert p_against(trial, 0.5, 0.05) < min(a, b)


@settings(max_examples=40)
@given(counts, st.floats(0.05, 0.95), st.sampled_from([0.01, 0.05, 0.1]))
def test_p_is_the_level_where_the_interval_ends(count, limit, level):
    estimate = share("surface_accuracy", *count, level)
    p = p_against(estimate, limit, level)
    assert (
        p is None or (p < level) == (not estimate.low <= limit <= estimate.high) or p == pytest.approx(level)
    )


def test_alpha_is_not_read_as_the_level_of_the_interval():
    """At 95% the interval ends just past the limit: at alpha .001 that settles nothing."""
    edge = share("surface_accuracy", 160, 200)
    limit = edge.high + 0.01
    for alpha, expected in ((0.05, "pass"), (0.001, "inconclusive")):
        judged = judge(
            run_of(edge), JudgeSettings(today=TODAY, alpha=alpha, limits={"surface_accuracy": limit})
        )
        found = next(c for c in judged.verdict.conditions if c.name == "surface_accuracy")
        assert found.result == expected


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "0.05", True, None, [0.05]])
def test_a_recorded_alpha_that_is_none_is_refused(alpha):
    with pytest.raises(ProbeError, match="no error rate"):
        judge(run_of(share("surface_accuracy", 100, 200), alpha=alpha), JudgeSettings(today=TODAY))


RESTATED = [name for name, rule in RULES.items() if rule.code in BY_CODE and not rule.exact and rule.limit]


def bad_run(name: str) -> tuple[Run, float]:
    """A run in which `name` is clearly past its limit, its error finding, and a limit that allows it."""
    rule = RULES[name]
    hits = 198 if rule.sense == "<=" else 40
    estimate = share(name, hits, 200)
    good = {"surface_accuracy": 120, "flip_budget_share": 40, "signal_accuracy": 180, "trial_accuracy": 170}
    others = [share(n, k, 200) for n, k in good.items() if n != name]
    finding = Finding(rule.code, "error", "past its limit", "mend it", estimate=estimate)
    return run_of(estimate, *others, findings=[finding]), 0.999 if rule.sense == "<=" else 0.05


@pytest.mark.parametrize("name", RESTATED)
def test_an_error_finding_follows_the_limit_of_its_condition(name):
    run, allowed = bad_run(name)
    rule = RULES[name]
    default = judge(run, JudgeSettings(today=TODAY))
    assert f"no {rule.code}" not in {c.name for c in default.verdict.conditions} or not rule.gates
    assert default.findings[0].severity == ("error" if rule.gates else "warning")

    for limit in (allowed, False):
        how = JudgeSettings(today=TODAY, limits={name: limit})
        raised = judge(run, how)
        assert not [c for c in raised.verdict.conditions if c.code == rule.code and c.result == "fail"]
        assert raised.findings[0].severity == "info"
        assert judge(raised, how) == raised
        assert judge(raised, JudgeSettings(today=TODAY)) == default
        decision = decide(raised, how).decision
        if name != "trial_accuracy":  # whose other side is the good news that training rests on
            assert rule.code not in {reason.code for reason in decision.reasons}


def test_a_finding_follows_the_limit_of_its_own_group():
    run, allowed = bad_run("surface_accuracy")
    here = dataclasses.replace(run.findings[0], group="advice")
    estimate = dataclasses.replace(run.estimates[0], group="advice")
    run = dataclasses.replace(run, findings=(here,), estimates=(*run.estimates[1:], estimate))
    assert judge(run, JudgeSettings(today=TODAY)).findings[0].severity == "warning"
    groups = {"advice": {"surface_accuracy": allowed}}
    assert judge(run, JudgeSettings(today=TODAY, groups=groups)).findings[0].severity == "info"


def test_an_error_without_its_measurement_stands_whatever_the_limit_is():
    run, allowed = bad_run("surface_accuracy")
    run = dataclasses.replace(run, findings=(dataclasses.replace(run.findings[0], estimate=None),))
    judged = judge(run, JudgeSettings(today=TODAY, limits={"surface_accuracy": allowed}))
    assert judged.findings[0].severity == "error"
    assert judged.verdict.exit_code == 1


RESTATING = {  # of each condition that only describes: the code of the finding that says the same
    rule.code: rule for rule in CONDITIONS if not rule.gates and rule.sense in ("<=", ">=")
}


@pytest.mark.parametrize("code", RESTATING)
@pytest.mark.parametrize("limited", [False, True])
def test_a_finding_that_restates_what_only_describes_fails_no_gate_until_a_limit_is_set(code, limited):
    rule = RESTATING[code]
    limit = 0.5 if rule.limit is None else rule.limit
    bad = share(rule.name, 200 if rule.sense == "<=" else 0, 200)
    found = Finding(code, "error", "past its limit", "mend it", estimate=bad)
    how = {"limits": {rule.name: limit}} if limited else {}
    judged = judge(run_of(bad, findings=[found]), JudgeSettings(today=TODAY, **how))
    failed = [c.code for c in judged.verdict.conditions if c.result == "fail" and c.gates]
    assert failed == ([code] if limited else [])
    assert {f.severity for f in judged.findings if f.code == code} == ({"error"} if limited else {"warning"})
    again = judge(judged, JudgeSettings(today=TODAY, **how))
    assert again.verdict == judged.verdict and again.findings == judged.findings


@pytest.mark.parametrize("code", RESTATING)
def test_what_only_describes_does_not_decide(code):
    rule = RESTATING[code]
    bad = share(rule.name, 200 if rule.sense == "<=" else 0, 200)
    found = Finding(code, "error", "past its limit", "mend it", estimate=bad)
    settings = JudgeSettings(today=TODAY)
    learned = share("trial_accuracy", 170, 200)
    methods = [
        decide(judge(run_of(learned, *more, findings=findings), settings), settings).decision.method
        for more, findings in (((), ()), ((bad,), (found,)))
    ]
    assert methods[0] == "dpo" and methods[1] in ("dpo", "sft+dpo")


@pytest.mark.parametrize("name", RESTATED)
def test_an_error_finding_stands_where_it_is_past_the_limit_that_is_set(name):
    run, _ = bad_run(name)
    rule = RULES[name]
    other = rule.limit + (0.01 if rule.sense == "<=" else -0.01)
    judged = judge(run, JudgeSettings(today=TODAY, limits={name: other}))
    assert judged.findings[0].severity == "error" and judged.verdict.exit_code == 1


@pytest.mark.parametrize(("moved", "severity"), [(45, "info"), (26, "warning"), (None, "warning")])
def test_margins_that_show_nothing_are_a_note_where_answers_moved(moved, severity):
    """Of 48 answers that moved; the condition is judged by them alone where there are any."""
    margins = share("trial_accuracy", 26, 48)
    found = Finding("PB501", "warning", "not shown to be better than chance", "more pairs", estimate=margins)
    answers = [] if moved is None else [share("behaviour_up", moved, 48)]
    judged = judge(run_of(margins, *answers, findings=[found]), JudgeSettings(today=TODAY))
    (said,) = [f for f in judged.findings if f.code == "PB501"]
    assert said.severity == severity and ("answers decide here" in said.message) is (severity == "info")
    assert judge(judged, JudgeSettings(today=TODAY)).findings == judged.findings
