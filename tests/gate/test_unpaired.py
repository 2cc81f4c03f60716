"""The verdict on unpaired answers, condition by condition, at its limits."""

import dataclasses

import pytest

from probe.gate.unpaired import judged_unpaired
from probe.records import Estimate, Finding, Run

GOOD = {
    "surface_accuracy": (0.6, 0.5, 0.7),
    "signal_accuracy": (0.8, 0.7, 0.9),
    "trial_gap_change": (0.2, 0.1, 0.3),
}


def made(estimates=GOOD, findings=(), unwanted=30, n=100):
    found = tuple(
        Estimate(name, *ends, n, None, "t", "nats/token" if "gap" in name else "share")
        for name, ends in estimates.items()
    )
    return Run(
        "unpaired",
        "now",
        estimates=found,
        findings=tuple(findings),
        details={"unpaired": {"unwanted": unwanted}},
    )


def result(run, name, **how):
    return {c.name: c.result for c in judged_unpaired(run, **how).verdict.conditions}.get(name)


def test_all_shown_passes_and_trains():
    run = judged_unpaired(made())
    assert (run.verdict.status, run.verdict.exit_code) == ("pass", 0)
    assert (run.decision.method, run.decision.stages) == ("kto", ("kto",))


@pytest.mark.parametrize(
    ("name", "ends", "limit", "expected"),
    [
        ("surface_accuracy", (0.6, 0.5, 0.75), 0.75, "pass"),
        ("surface_accuracy", (0.8, 0.75, 0.9), 0.75, "inconclusive"),
        ("surface_accuracy", (0.9, 0.76, 0.99), 0.75, "fail"),
        ("signal_accuracy", (0.8, 0.75, 0.9), 0.75, "pass"),
        ("signal_accuracy", (0.7, 0.65, 0.75), 0.75, "inconclusive"),
        ("signal_accuracy", (0.7, 0.65, 0.74), 0.75, "fail"),
        ("trial_gap_change", (0.2, 0.0, 0.3), None, "pass"),
        ("trial_gap_change", (-0.2, -0.3, 0.0), None, "inconclusive"),
        ("trial_gap_change", (-0.2, -0.3, -0.1), None, "fail"),
        ("signal_accuracy", (0.7, None, None), 0.75, "inconclusive"),
        ("signal_accuracy", (None, None, None), 0.75, "inconclusive"),
    ],
)
def test_an_interval_that_ends_on_the_limit_passes_and_does_not_fail(name, ends, limit, expected):
    limits = {} if limit is None else {name: limit}
    run = judged_unpaired(made({**GOOD, name: ends}), limits=limits)
    (condition,) = (c for c in run.verdict.conditions if c.name == name)
    assert condition.result == expected
    assert condition.sense == ("<=" if name == "surface_accuracy" else ">=")
    assert bool(condition.message) == (expected == "inconclusive")


@pytest.mark.parametrize("name", ["surface_accuracy", "signal_accuracy"])
def test_a_condition_that_is_switched_off_is_not_judged(name):
    assert result(made(), name, limits={name: False}) is None


@pytest.mark.parametrize(
    ("n", "how", "expected"),
    [(20, {}, "pass"), (19, {}, "inconclusive"), (49, {"minimum_n": 50}, "inconclusive")],
)
def test_fewer_answers_than_a_verdict_needs_leave_it_open(n, how, expected):
    run = judged_unpaired(made(n=n), **how)
    assert run.verdict.status == expected
    if expected == "inconclusive":
        assert f"{n} of the {how.get('minimum_n', 20)} answers" in run.verdict.conditions[1].message


def test_an_error_of_the_labels_fails_and_one_on_an_estimate_follows_its_condition():
    broken = Finding("PB361", "error", "no label", "mend")
    run = judged_unpaired(made(findings=[broken]))
    assert (run.verdict.status, run.decision.method, run.decision.stages) == ("fail", "fix-data", ())
    assert run.verdict.conditions[0].code == "PB361" and run.verdict.conditions[0].message == "no label"
    measured = made().estimates[0]
    told = judged_unpaired(made(findings=[dataclasses.replace(broken, estimate=measured)]))
    assert (told.verdict.status, told.decision.method, told.findings[0].severity) == ("pass", "kto", "info")
    warned = judged_unpaired(made(findings=[dataclasses.replace(broken, severity="warning")]))
    assert warned.verdict.status == "pass"


@pytest.mark.parametrize(
    ("estimates", "unwanted", "method"),
    [
        (GOOD, 0, "sft"),
        ({**GOOD, "signal_accuracy": (0.5, 0.4, 0.59)}, 30, "do-not-train"),
        ({**GOOD, "signal_accuracy": (0.5, 0.4, 0.6)}, 30, "kto"),
        ({**GOOD, "trial_gap_change": (-0.2, -0.3, -0.1)}, 30, "do-not-train"),
        ({**GOOD, "trial_gap_change": (-0.2, -0.3, 0.0)}, 30, "kto"),
        ({**GOOD, "surface_accuracy": (None, None, None)}, 30, None),
        ({"signal_accuracy": (0.8, 0.7, 0.9)}, 30, None),
    ],
)
def test_the_method_by_what_was_measured(estimates, unwanted, method):
    found = judged_unpaired(made(estimates, unwanted=unwanted)).decision
    assert (found and found.method) == method
    assert not found or found.stages == (() if method == "do-not-train" else (method,))


def test_inconclusive_is_a_warning_where_asked():
    open_ = made({**GOOD, "trial_gap_change": (0.0, -0.1, 0.1)})
    codes = [judged_unpaired(open_, how).verdict.exit_code for how in ("fail", "warn")]
    assert codes == [1, 0]
    assert judged_unpaired(made({})).verdict.status == "inconclusive"


TOLD = Estimate("surface_accuracy", 0.94, 0.92, 0.96, 100, None, "t", "share")
SHOWN = Finding("PB362", "error", "the labels show", "collect", estimate=TOLD)


@pytest.mark.parametrize(
    ("name", "ends", "limit", "method"),
    [
        ("surface_accuracy", (0.94, 0.92, 0.96), None, "fix-data"),
        ("surface_accuracy", (0.94, 0.92, 0.96), 0.97, "kto"),
        ("surface_accuracy", (0.94, 0.92, 0.96), False, "kto"),
        ("surface_accuracy", (0.6, 0.5, 0.7), 0.4, "fix-data"),
        ("signal_accuracy", (0.5, 0.45, 0.55), None, "do-not-train"),
        ("signal_accuracy", (0.5, 0.45, 0.55), 0.4, "kto"),
        ("signal_accuracy", (0.5, 0.45, 0.55), False, "kto"),
        ("signal_accuracy", (0.8, 0.75, 0.85), 0.9, "do-not-train"),
    ],
)
def test_one_measurement_has_one_result_by_the_limit_that_is_set(name, ends, limit, method):
    """The decision, the verdict and the error finding follow the condition; judging again starts anew."""
    findings = [SHOWN] if ends[0] == 0.94 else []
    run = made({**GOOD, name: ends}, findings)
    found = judged_unpaired(run, limits={} if limit is None else {name: limit})
    assert found.decision.method == method
    assert found.verdict.status == ("pass" if method == "kto" else "fail")
    errors = [f.severity for f in found.findings]
    assert errors == (["error"] if method == "fix-data" else ["info"])[: len(findings)]
    again = judged_unpaired(found)
    assert again == judged_unpaired(run)


@pytest.mark.parametrize(("unwanted", "judged"), [(30, True), (0, False)])
def test_the_trial_is_judged_whatever_the_decision_but_where_there_is_nothing_to_tell_apart(unwanted, judged):
    broken = Finding("PB361", "error", "both labels", "mend")
    run = judged_unpaired(made({**GOOD, "trial_gap_change": (-0.2, -0.3, -0.1)}, [broken], unwanted))
    assert run.decision.method == "fix-data"
    assert {c.name: c.result for c in run.verdict.conditions}.get("trial_gap_change") == (
        "fail" if judged else None
    )


def test_without_a_judged_surface_nothing_is_decided_nor_passes():
    run = judged_unpaired(made({k: v for k, v in GOOD.items() if k != "surface_accuracy"}),
                          limits={"surface_accuracy": False})  # fmt: skip
    assert (run.decision, run.verdict.status, run.verdict.exit_code) == (None, "inconclusive", 1)
