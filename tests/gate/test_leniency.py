"""What a configuration accepts or leaves out makes no verdict worse, and is told as it was judged."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probe.gate.accept import Accepted
from probe.gate.conditions import CONDITIONS
from probe.gate.registry import PROBE_NAMES
from probe.gate.settings import GateOptions, judged
from probe.records import Estimate, Finding, Run
from probe.reports.view import reason_accepted

RANK = {"pass": 0, "inconclusive": 1, "fail": 2}
MEASURED = [rule for rule in CONDITIONS if rule.sense != "clean"]
TODAY = date(2026, 1, 1)
DONE = {"probes": dict.fromkeys(PROBE_NAMES, "done")}
GOOD = {"flip_budget_share": 0.2, "length_accuracy": 0.55, "trial_accuracy": 0.7}


def share(name, value, n=200):
    low, high = stats.binomtest(round(value * n), n).proportion_ci(0.95, "exact")
    return Estimate(name, round(value * n) / n, low, high, n, None, "exact", "share")


def run_of(findings=(), n=200, **values) -> Run:
    estimates = tuple(share(name, value, n) for name, value in {**GOOD, **values}.items())
    return Run("gate", "2026-11-21T12:00:00Z", estimates=estimates, findings=tuple(findings), details=DONE)


def options(accepted=(), **more) -> GateOptions:
    return GateOptions(accepted=tuple(accepted), **more)


@pytest.mark.parametrize("lenient", ["accepted", "off"])
def test_an_open_trial_that_is_accepted_or_off_leaves_the_decision_open(lenient):
    """It had been a failure of the decision, where the trial alone had left the gate open."""
    run = run_of(trial_accuracy=0.52)
    plain = judged(run, options(inconclusive="warn"), TODAY).verdict
    how = (
        {"accepted": [Accepted("PB501", "known")]}
        if lenient == "accepted"
        else {"limits": {"trial_accuracy": False}}
    )
    found = judged(run, options(inconclusive="warn", **how), TODAY)
    assert (plain.status, plain.exit_code) == (found.verdict.status, found.verdict.exit_code)
    assert {c.name: c.result for c in found.verdict.conditions}["decision"] == "inconclusive"
    assert judged(found, options(inconclusive="warn", **how), TODAY) == found


@pytest.mark.parametrize("inconclusive", ["warn", "fail"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_accepting_or_leaving_out_never_worsens_a_verdict(inconclusive, data):
    """From any configuration on: one entry or one `false` more."""
    values = {r.name: data.draw(st.floats(0, 1)) for r in MEASURED if r.limit is not None and not r.optional}
    run = run_of(
        [Finding("PB302", "error", "40 of 40", "mend")], data.draw(st.sampled_from([30, 200])), **values
    )
    some = data.draw(st.lists(st.sampled_from([*MEASURED, None]), unique=True, max_size=5))
    off = [rule for rule in some if rule and data.draw(st.booleans())]
    limit, last = data.draw(st.sampled_from([None, 0.1, 0.9])), (2, 1)
    for k in range(len(some) + 1):
        left_out = {rule.name: False for rule in some[:k] if rule in off}
        codes = [rule.code if rule else "PB302" for rule in some[:k] if rule not in off]
        entries = [Accepted(code, "known", limit=limit) for code in codes]
        verdict = judged(run, options(entries, limits=left_out, inconclusive=inconclusive), TODAY).verdict
        now = (RANK[verdict.status], verdict.exit_code)
        assert now <= last, (k, some)
        last = now


PAST = Finding("PB202", "error", "all", "mend", estimate=share("length_accuracy", 1.0))
BARE = Finding("PB302", "error", "40 of 40", "mend")


@pytest.mark.parametrize(
    ("finding", "limit", "accepted"),
    [(PAST, None, True), (PAST, 0.5, False), (BARE, None, True), (BARE, 0.1, False)],
)
def test_a_report_calls_accepted_what_was_and_tells_what_was_found_from_what_was_not(
    finding, limit, accepted
):
    entry = Accepted(finding.code, "known", limit=limit)
    run = judged(run_of([finding], length_accuracy=1.0), options([entry]), TODAY)
    own = next(f for f in run.findings if f.code == finding.code)
    assert bool(reason_accepted(own, run)) is accepted
    told = [f.message for f in run.findings if f.code == "PB702"]
    assert bool(told) is not accepted
    assert not any("not found" in message for message in told)
    assert all("counts in full" in message for message in told)


def test_a_limit_that_lets_nothing_through_leaves_the_conditions_own_in_its_row():
    plain = judged(run_of(length_accuracy=1.0), options(), TODAY).verdict.conditions
    for limit in (0.5, 0.9):
        entry = Accepted("PB201", "known", limit=limit)
        assert judged(run_of(length_accuracy=1.0), options([entry]), TODAY).verdict.conditions == plain
