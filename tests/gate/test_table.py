"""Every row of the decision table from constructed findings; and that no error leads to more training."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.gate import decide as decides
from probe.gate.accept import Accepted
from probe.gate.conditions import RULES, pairs_to_settle
from probe.gate.decide import decide
from probe.gate.judge import JudgeSettings, judge
from probe.gate.predicates import Size
from probe.gate.registry import PROBE_NAMES
from probe.gate.row import STAGES
from probe.gate.run_facts import RunFacts
from probe.gate.table import NOTES, ROWS
from probe.gate.thresholds import THRESHOLDS
from probe.gate.unanswered import unanswered
from probe.records import BiasRow, Estimate, Finding, Run, stage_values
from probe.training.methods import METHODS
from probe.training.shipped import shipped_values

PROBES = dict.fromkeys(PROBE_NAMES, "done")
CERTAIN = {"trial_accuracy": (0.7, 0.6, 0.8)}  # (value, low, high)


def estimate(name: str, value: float, low: float, high: float, n: int = 100) -> Estimate:
    return Estimate(name, value, low, high, n, None, "t", "share")


def finding(code: str, severity="warning", **more) -> Finding:
    return Finding(code, severity, f"{code} was found", "mend it", **more)


def make_run(estimates=CERTAIN, findings=(), leaning="undetermined", size=135e6, probes=PROBES) -> Run:
    return Run(
        "gate",
        "now",
        bias=(BiasRow("all", leaning),),
        estimates=tuple(estimate(name, *numbers) for name, numbers in estimates.items()),
        findings=tuple(findings),
        inputs={"pairs": {"n": 100}, "model": {"parameters": size}},
        details={"probes": probes},
    )


def raced(method, findings=(), estimates=CERTAIN) -> Run:
    run = make_run(estimates, findings)
    row = {"method": method, "won": True, "accuracy": 0.7, "judged": True, "up": 30, "down": 8}
    return dataclasses.replace(run, details={**run.details, "race": [row]})


def templated(method="sft", *, eligible=True, judged=True, chosen=0.0, more=(), up=(0.8, 0.7, 0.9)) -> Run:
    """A judged run whose rejected sides share a form, with what its race says of `method`."""
    shares = {"template_share": (1.0, 0.9, 1.0), "template_share_chosen": (chosen, 0.0, chosen + 0.08)}
    run = raced(method, [finding("PB215"), *more], {**CERTAIN, **shares, "behaviour_up": up})
    (row,) = run.details["race"]
    row = {**row, "eligible": eligible, "judged": judged}
    return judge(dataclasses.replace(run, details={**run.details, "race": [row]}), JudgeSettings())


OVER = {"flip_budget_share": (0.9, 0.8, 0.95)}
LENGTH = {"length_accuracy": (0.8, 0.7, 0.9)}
# row -> (run, options of decide, method)
CASES = {
    "numerics": (make_run(findings=[finding("PB001", "error")]), {}, "do-not-train"),
    "data": (make_run(findings=[finding("PB301", "error")]), {}, "fix-data"),
    "labels": (make_run({**CERTAIN, "agreement": (0.6, 0.5, 0.7)}), {}, "fix-data"),
    "unmeasured": (make_run(probes={"data": "done", "numerics": "off"}), {}, "do-not-train"),
    "matter-of-fact": (make_run({**CERTAIN, **OVER}, leaning="favours rejected"), {}, "do-not-train"),
    "errors": (make_run(findings=[finding("PB599", "error")]), {}, "do-not-train"),
    "form-sft": (templated(), {}, "sft"),
    "form": (
        judge(make_run({**CERTAIN, "template_share": (0.6, 0.5, 0.7)}, [finding("PB215")]), JudgeSettings()),
        {},
        "do-not-train",
    ),
    "template": (make_run(findings=[finding("PB211", "error")]), {}, "do-not-train"),
    "wrong-labels": (
        make_run({"trial_accuracy": (0.56, 0.46, 0.66)}, findings=[finding("PB230")]),
        {},
        "fix-data",
    ),
    "margins-alone": (make_run({**CERTAIN, "behaviour_up": (0.53, 0.43, 0.63)}), {}, "do-not-train"),
    "undecided": (make_run({"trial_accuracy": (0.56, 0.46, 0.66)}), {}, "do-not-train"),
    "only-length": (make_run(findings=[finding("PB505")]), {}, "do-not-train"),
    "race-sft": (raced("sft"), {}, "sft"),
    "race-sft+dpo": (raced("sft+dpo"), {}, "sft+dpo"),
    "race-dpo": (raced("dpo", [finding("PB221")]), {}, "dpo"),
    "one-stage": (make_run({**CERTAIN, **OVER}, size=2e9), {"one_stage": True}, "orpo"),
    "off-policy-length": (make_run({**CERTAIN, **LENGTH}, [finding("PB221")]), {}, "sft+dpo"),
    "off-policy": (make_run({**CERTAIN, **OVER}), {}, "sft+dpo"),
    "displaced-alike": (make_run(findings=[finding("PB503"), finding("PB331")]), {}, "dpop"),
    "displaced": (make_run(findings=[finding("PB503")]), {}, "dpo+nll"),
    "length": (make_run({**CERTAIN, **LENGTH}), {}, "dpo"),
    "learns": (make_run(), {}, "dpo"),
}


def decision(run: Run, **options):
    return decide(run, JudgeSettings(), **options).decision


def first_row(run: Run, **options) -> str:
    """The key of the row whose `why` opens the decision's reasons."""
    text = decision(run, **options).reasons[0].text
    return next(row.key for row in ROWS if row.why[1:] in text)


@pytest.mark.parametrize("key", CASES)
def test_each_row_decides_on_its_case(key):
    run, options, method = CASES[key]
    assert first_row(run, **options) == key
    made = decision(run, **options)
    assert made.method == method
    assert bool(made.stages) == (method not in ("do-not-train", "fix-data"))
    assert all(reason.code and reason.text for reason in made.reasons) and made.reasons[0].source
    assert made.runner_up["what_would_change_it"]
    assert bool(made.runner_up.get("instead")) == (not made.stages)


def test_every_row_has_a_case_and_every_method_is_reachable():
    assert list(CASES) == [row.key for row in ROWS]
    assert {method for _, _, method in CASES.values()} == set(STAGES)


def test_the_measured_number_stands_in_the_reason():
    reason = decision(CASES["learns"][0]).reasons[0]
    assert reason.code == "PB501" and "70% [60%, 80%]" in reason.text and "good" in reason.source


def test_a_form_that_one_side_has_decides_with_its_own_code_also_without_a_trial():
    shared = {"template_share": (0.6, 0.5, 0.7)}
    for estimates in (shared, {**CERTAIN, **shared}):
        run = make_run(
            estimates, [finding("PB215", estimate=estimate("template_share", *shared["template_share"]))]
        )
        made = decide(judge(run, JudgeSettings()), JudgeSettings()).decision
        assert made.method == "do-not-train" and made.reasons[0].code == "PB215"
        assert "60% [50%, 70%], limit 0.5" in made.reasons[0].text
    accepted = JudgeSettings(accepted=[Accepted("PB215", "the form is what is taught")])
    assert decide(judge(run, accepted), accepted).decision.method == "dpo"


@pytest.mark.parametrize(
    "run",
    [
        templated("dpo"),
        templated(eligible=False),
        templated(judged=False),
        templated(chosen=0.5),
        templated(up=(0.55, 0.45, 0.65)),
        templated(more=[finding("PB505")]),
    ],
    ids=["not raced", "not shown", "not judged", "the chosen side too", "none shown", "length alone"],
)
def test_a_form_of_the_rejected_side_leads_to_sft_only_where_the_race_shows_it(run):
    made = decision(run)
    assert made.method == "do-not-train" and made.reasons[0].code.startswith("PB21")


def test_sft_beside_a_form_still_fails_the_pairs_and_answers_what_failed():
    run = decide(templated(), JudgeSettings())
    assert run.verdict.status == "fail" and run.decision.stages == ("sft",)
    assert [c.name for c in unanswered(run) if c.name == "template_share"] == []


def test_a_reason_says_where_its_limit_comes_from():
    measured = decide(CASES["learns"][0], JudgeSettings()).decision.reasons[0].text
    assert f"above 0.5 (limit: {THRESHOLDS['trial_accuracy'].provenance})" in measured
    configured = decide(CASES["learns"][0], JudgeSettings(limits={"trial_accuracy": 0.55}))
    assert "above 0.55 (limit: config)" in configured.decision.reasons[0].text


def test_the_race_decides_where_samples_alone_have_moved():
    moved = {"trial_accuracy": (0.46, 0.36, 0.56), "behaviour_up": (0.66, 0.56, 0.75)}
    assert decision(raced("sft", estimates=moved)).method == "sft"
    assert decision(raced("sft", estimates={"trial_accuracy": (0.46, 0.36, 0.56)})).method == "do-not-train"


def test_a_decision_without_evidence_says_that_it_has_none():
    run = decide(CASES["undecided"][0], JudgeSettings())
    assert run.decision.reasons[0].code == "PB705"
    assert "PB705" in [f.code for f in run.findings]
    assert run.decision.runner_up["what_would_change_it"].endswith("were the measured 0.56 the true value")


def test_decision_and_condition_ask_for_the_same_number_of_pairs():
    estimates = {"trial_accuracy": (0.56, 0.46, 0.66), "length_accuracy": (0.6, 0.5, 0.7)}
    judged = decide(judge(make_run(estimates), JudgeSettings()), JudgeSettings())
    (condition,) = (c for c in judged.verdict.conditions if c.name == "trial_accuracy")
    number = condition.message.split()[0]
    assert (
        int(number) > 100 and f"with {number} more pairs" in judged.decision.runner_up["what_would_change_it"]
    )


def test_the_users_names_of_the_sides_stand_in_the_reasons():
    run = make_run({**CERTAIN, **OVER}, leaning="favours rejected")
    run = dataclasses.replace(run, inputs={**run.inputs, "sides": ["insulin", "CICO"]})
    assert "The base model favours CICO." in [reason.text for reason in decision(run).reasons]


@pytest.mark.parametrize(
    ("limits", "stages"),
    [({}, ("dpo_norm",)), ({"length_accuracy": 0.6}, ("dpo_norm",)), ({"length_accuracy": False}, ("dpo",))],
)
def test_what_the_config_switches_off_raises_no_concern_and_another_limit_does(limits, stages):
    run = make_run({**CERTAIN, **LENGTH})
    assert decide(run, JudgeSettings(limits=limits)).decision.stages == stages


GOOD_NEWS = {
    "margins": make_run(),
    "samples": raced(
        "sft", estimates={"trial_accuracy": (0.46, 0.36, 0.56), "behaviour_up": (0.66, 0.56, 0.75)}
    ),
    "strong": make_run({"trial_accuracy": (0.98, 0.9, 1.0)}, [finding("PB221")]),
}


@pytest.mark.parametrize("name", GOOD_NEWS)
def test_good_news_is_no_concern_that_the_config_could_take_away(name):
    """The code of what was learnt is accepted, or its limit switched off: it was learnt all the same."""
    run, method = GOOD_NEWS[name], {"margins": "dpo", "samples": "sft", "strong": "dpo"}[name]
    accepted = JudgeSettings(accepted=(Accepted("PB501", "r"),))
    for how in (JudgeSettings(), accepted, JudgeSettings(limits={"trial_accuracy": False})):
        assert decide(run, how).decision.method == method


def test_a_threshold_of_a_condition_is_its_limit():
    of_conditions = {name: t.value for name, t in THRESHOLDS.items() if name in RULES}
    assert of_conditions == {name: RULES[name].limit for name in of_conditions} and len(of_conditions) > 2


def thresholds_read(rule):
    """The thresholds that a rule, or a predicate within it, names."""
    if isinstance(rule, tuple):
        return set().union(*map(thresholds_read, rule))
    if not dataclasses.is_dataclass(rule):
        return set()
    own = {getattr(rule, "threshold", None), (getattr(rule, "settles", None) or (0, None))[1]} - {None}
    return own.union(*(thresholds_read(getattr(rule, field.name)) for field in dataclasses.fields(rule)))


def test_every_threshold_is_one_that_the_table_reads():
    assert thresholds_read((*ROWS, *NOTES)) == set(THRESHOLDS)


def test_facts_that_are_not_given_are_those_of_a_gate_without_a_config():
    run = make_run()
    assert RunFacts(run, {}) == RunFacts(run, {}, "auto", False, (), 0.05, frozenset())


def test_goal_taste_turns_a_matter_of_fact_into_two_stages():
    run = CASES["matter-of-fact"][0]
    assert decision(run, goal="taste").method == "sft+dpo"
    assert decision(run, goal="fact").method == "do-not-train"


@pytest.mark.parametrize(
    ("win_rate", "change", "n", "turned"),
    [
        ((0.0, 0.0, 0.05), (1.0, None, None), 65, True),
        ((0.2, 0.1, 0.3), (0.6, 0.4, 0.8), 65, True),
        ((0.2, 0.1, 0.3), (0.6, 0.2, 1.0), 65, False),  # may be less than half
        ((0.0, 0.0, 0.4), (1.0, None, None), 3, False),  # too few
        ((0.2, 0.1, 0.3), (0.05, -0.1, 0.2), 65, False),  # the account of a belief
    ],
)
def test_what_the_trial_turns_on_unseen_pairs_is_no_belief_that_forbids(win_rate, change, n, turned):
    """Gemma on `swapped`: no pair ranked right before a trial, all after it; the gate forbade it."""
    estimates = {**CERTAIN, **OVER, "win_rate": win_rate, "ranking_change": change}
    run = make_run(estimates, leaning="favours rejected")
    run = dataclasses.replace(run, estimates=tuple(dataclasses.replace(e, n=n) for e in run.estimates))
    assert decision(run).method == ("sft+dpo" if turned else "do-not-train")
    assert decision(run, goal="fact").method == "do-not-train"


@pytest.mark.parametrize("won", ["sft", "dpo"])
@pytest.mark.parametrize("sure", ["sft", "dpo", ""])
def test_a_belief_has_given_way_where_any_candidate_turned_it(won, sure):
    """`swapped`, second seed: DPO turned a third of the unseen pairs, SFT nine tenths; it was forbidden."""
    change = {m: (0.89, 0.61, 1.0) if m == sure else (0.31, 0.1, 0.5) for m in ("dpo", "sft")}
    turned = {f"ranking_change@{m}": interval for m, interval in change.items()}
    turned |= {"ranking_change": change["dpo"], "win_rate": (0.0, 0.0, 0.05)}
    run = raced(won, estimates={**CERTAIN, **OVER, **turned})
    rows = [{**run.details["race"][0], "method": m, "won": m == won} for m in ("dpo", "sft")]
    run = dataclasses.replace(
        run, bias=(BiasRow("all", "favours rejected"),), details={**run.details, "race": rows}
    )
    assert decision(run).method == (won if sure else "do-not-train")


def test_unmatched_sides_are_no_matter_of_fact_unless_said():
    run = make_run({**CERTAIN, **OVER, **LENGTH}, leaning="favours rejected")
    assert decision(run).method == "dpo"
    assert decision(run, goal="fact").method == "do-not-train"


def test_a_strong_trial_needs_no_sft_for_an_improbable_chosen_side():
    found = [finding("PB221")]
    assert decision(make_run({"trial_accuracy": (0.7, 0.6, 0.8)}, found)).method == "sft+dpo"
    strong = {"trial_accuracy": (0.98, 0.9, 1.0)}
    assert decision(make_run(strong, found)).method == "dpo"
    assert decision(make_run({**strong, **OVER}, found)).method == "sft+dpo"  # the budget stands in nats


def test_only_the_trials_own_change_makes_a_case_for_an_anchored_loss():
    """CHES and gradient entanglement forecast no run of the grid."""
    assert decision(make_run(CERTAIN, [finding("PB420"), finding("PB410")])).method == "dpo"
    assert decision(make_run(CERTAIN, [finding("PB503")])).method == "dpo+nll"


def test_length_decides_the_loss_of_the_last_stage():
    """The flip budget counts sums: with unmatched lengths it asks for no SFT. Improbable chosen sides do."""
    over = make_run({**CERTAIN, **OVER, **LENGTH})
    assert decision(over).stages == ("dpo_norm",)
    improbable = decision(make_run({**CERTAIN, **LENGTH}, [finding("PB221")]))
    assert improbable.stages == ("sft", "dpo_norm") and improbable.method == "sft+dpo"
    assert improbable.hyperparameters["dpo_norm.beta"] == 5.0


def test_orpo_needs_a_large_enough_model():
    assert decision(make_run({**CERTAIN, **OVER}, size=135e6), one_stage=True).method == "sft+dpo"


def test_correctness_makes_displacement_a_case_for_dpop():
    assert decision(CASES["displaced"][0], goal="correctness").method == "dpop"


def test_what_only_describes_decides_nothing():
    weak = {"signal_accuracy": (0.5, 0.45, 0.55), "surface_accuracy": (0.97, 0.94, 1.0)}
    assert decision(make_run({**CERTAIN, **weak})).method == "dpo"


def test_an_accepted_concern_is_left_out_and_a_config_limit_moves_the_threshold():
    run = make_run({**CERTAIN, **LENGTH})
    assert decide(run, JudgeSettings()).decision.stages == ("dpo_norm",)
    accepted = JudgeSettings(accepted=(Accepted("PB201", "r"),))
    assert decide(run, accepted).decision.stages == ("dpo",)
    assert decide(run, JudgeSettings(limits={"length_accuracy": 0.95})).decision.stages == ("dpo",)


def test_small_anchored_models_and_alike_sides_carry_a_note():
    texts = " ".join(reason.text for reason in decision(CASES["displaced-alike"][0]).reasons)
    assert "untested" in texts and "probe compare" in texts
    large = dataclasses.replace(CASES["displaced"][0], inputs={"model": {"parameters": 8e9}})
    assert "untested" not in " ".join(reason.text for reason in decision(large).reasons)


def test_two_stages_keep_their_values_apart():
    made = decision(CASES["off-policy"][0])
    assert stage_values(made, "sft")["learning_rate"] == 2e-4
    assert stage_values(made, "dpo")["beta"] == 0.1
    assert stage_values(decision(make_run()), "dpo")["learning_rate"] == 5e-5


# --- properties -----------------------------------------------------------------------------------------

shares = st.floats(0, 1)


@st.composite
def runs(draw) -> Run:
    """Any mixture of estimates, findings, bias verdicts, sizes and probes that were run."""
    names = [t for t in THRESHOLDS if not t.endswith("_size")] + ["surface_accuracy", "signal_accuracy"]
    estimates = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        low, value, high = sorted(draw(st.tuples(shares, shares, shares)))
        estimates[name] = (value, low, high)
    codes = st.sampled_from(
        [f"PB{c}" for c in ("001", "120", "202", "211", "221", "240", "330", "331", "310", "401", "599")]
    )
    found = st.builds(finding, codes, st.sampled_from(["info", "warning", "error"]))
    leaning = draw(st.sampled_from(["favours chosen", "favours rejected", "neutral", "undetermined"]))
    probes = {name: draw(st.sampled_from(["done", "off"])) for name in PROBES}
    size = draw(st.sampled_from([135e6, 1e9, 8e9]))
    return make_run(estimates, draw(st.lists(found, max_size=4)), leaning, size, probes)


any_error = st.builds(finding, st.from_regex(r"PB\d{3}", fullmatch=True), st.just("error"))
options = st.fixed_dictionaries(
    {"goal": st.sampled_from(["auto", "taste", "fact", "correctness"]), "one_stage": st.booleans()}
)


@settings(max_examples=400)
@given(runs(), any_error, options)
def test_a_blocking_finding_never_leads_to_more_training(run, error, chosen):
    before = decision(run, **chosen)
    after = decision(dataclasses.replace(run, findings=(*run.findings, error)), **chosen)
    assert len(after.stages) <= len(before.stages)


@settings(max_examples=200)
@given(runs(), st.sampled_from(["data", "numerics"]), options)
def test_switching_off_a_safety_probe_never_leads_to_more_training(run, probe, chosen):
    less = dataclasses.replace(run, details={"probes": {**run.details["probes"], probe: "off"}})
    assert len(decision(less, **chosen).stages) <= len(decision(run, **chosen).stages)


@settings(max_examples=200)
@given(runs(), options)
def test_a_decision_is_whole_whatever_was_found(run, chosen):
    judged = decide(judge(run, JudgeSettings()), JudgeSettings(), **chosen)
    made = judged.decision
    assert made.method in STAGES and made.reasons and made.runner_up["what_would_change_it"]
    assert all(stage_values(made, stage)["learning_rate"] > 0 for stage in made.stages)
    assert decide(judge(judged, JudgeSettings()), JudgeSettings(), **chosen) == judged


# --- recipes --------------------------------------------------------------------------------------------


def test_recipes_by_size_and_number_of_pairs():
    small = shipped_values("dpo", parameters=135_000_000, n=64, tuning="full")
    assert (small["beta"], small["learning_rate"], small["epochs"]) == (0.5, 1e-6, 2)
    assert small["batch"] == 8 and small["eval_steps"] == 2  # 8 steps × 2 epochs, a tenth of 16
    large = shipped_values("dpo", parameters=8_000_000_000, n=60_000, tuning="full")
    assert (large["learning_rate"], large["batch"]) == (5e-7, 128)
    unknown = shipped_values("dpo", parameters=None, n=64, tuning="full")
    assert unknown["learning_rate"] == 5e-7
    assert shipped_values("dpop", parameters=8_000_000_000, n=64)["penalty"] == 50.0


def test_every_stage_has_a_recipe_for_every_size_and_tuning():
    stages = {stage for row in ROWS for stage in row.stages}
    assert stages <= set(METHODS)
    stages = set(METHODS)
    for stage in stages:
        for size in (None, 10**6, 10**9, 10**11):
            for tuning in ("lora", "full"):
                assert shipped_values(stage, parameters=size, n=10, tuning=tuning)["source"]
    with pytest.raises(ProbeError, match="not a method"):
        shipped_values("ppo", parameters=None, n=10)


def test_every_threshold_says_where_it_comes_from():
    assert all(t.provenance and t.help for t in THRESHOLDS.values())
    assert all(row.source and row.strength and row.change for row in ROWS)
    assert all(note.source for note in NOTES)


def test_what_a_goal_would_change_is_judged_and_not_promised():
    run = CASES["matter-of-fact"][0]
    said = decide(run, JudgeSettings()).decision.runner_up["what_would_change_it"]
    then = decide(run, JudgeSettings(), goal="taste").decision.method
    assert f"`--goal taste` if the pairs are about style: then {then}" in said


@pytest.mark.parametrize("key", CASES)
def test_no_file_passes_that_is_not_to_be_trained_on(key):
    run, options, _method = CASES[key]
    decided = decide(judge(run, JudgeSettings()), JudgeSettings(), **options)
    if not decided.decision.stages:
        assert decided.verdict.status != "pass" and decided.verdict.exit_code == 1
    open_ = [c.name for c in decided.verdict.conditions if c.name == "decision"]
    assert open_ == (
        ["decision"]
        if judge(run, JudgeSettings()).verdict.status == "pass" and not decided.decision.stages
        else []
    )


def test_advice_asks_for_no_measurement_that_was_made():
    ran = decide(make_run({"trial_accuracy": (0.56, 0.46, 0.66)}), JudgeSettings())
    blank = make_run()
    off = decide(
        dataclasses.replace(blank, estimates=tuple(e for e in blank.estimates if e.name != "trial_accuracy")),
        JudgeSettings(),
    )
    for decided, asks in ((ran, False), (off, True)):
        told = [
            decided.decision.runner_up["instead"],
            *(f.remedy for f in decided.findings if f.code == "PB705"),
        ]
        assert decided.decision.method == "do-not-train"
        assert [("run the trial" in text.lower()) for text in told] == [asks] * len(told)


def test_more_pairs_are_promised_only_as_far_as_they_would_be_read():
    """Reading so many and one more pair promises them; reading one fewer does not."""
    run = make_run({"trial_accuracy": (0.56, 0.46, 0.66)})

    def told(most=None):
        noted = {"reads": [{"probe": "trial", "most": most}]} if most else {}
        capped = dataclasses.replace(run, details={**run.details, **noted})
        judged = decide(judge(capped, JudgeSettings()), JudgeSettings())
        return judged.decision.runner_up["what_would_change_it"]

    more = int(told().partition("with ")[2].partition(" more")[0].replace(",", ""))
    whole = run.estimate("trial_accuracy").n + more
    assert "more pairs" in told(whole) and "more pairs" not in told(whole - 1)


@pytest.mark.parametrize(
    ("others", "shared"),
    [
        ({}, 1),
        ({"agreement": 19}, 1),
        ({"agreement": 20}, 2),
        ({"agreement": 100, "template_share": 100}, 3),
    ],
)
def test_the_tests_that_share_alpha_are_the_conditions_that_have_enough_pairs(others, shared):
    """Pairs that settle the trial, by hand, among as many tests as there are other measured conditions."""
    run = make_run({"trial_accuracy": (0.56, 0.46, 0.66), "length_accuracy": (0.6, 0.5, 0.7)})
    ends = {"agreement": (0.95, 0.9, 0.99), "template_share": (0.1, 0.05, 0.2)}
    more = tuple(estimate(name, *ends[name], n) for name, n in others.items())
    run = dataclasses.replace(run, estimates=(*run.estimates, *more))
    judged = judge(run, JudgeSettings())
    gating = [
        c for c in judged.verdict.conditions if c.gates and c.name in RULES and not RULES[c.name].forbids
    ]
    tests = sum(c.measured is not None and c.measured.n >= JudgeSettings().minimum_n for c in gating)
    assert tests == shared
    trial = run.estimate("trial_accuracy")
    expected = pairs_to_settle(trial, THRESHOLDS["trial_accuracy"].value, 0.05, tests)
    assert (
        f"with {expected:,} more"
        in decide(judged, JudgeSettings()).decision.runner_up["what_would_change_it"]
    )


def test_the_runner_up_is_the_next_row_that_holds_with_another_method():
    run, options, method = CASES["errors"]
    found = decision(run, **options)
    held = [
        row.method
        for row in ROWS
        if row.holds(RunFacts(judge(run, JudgeSettings()), THRESHOLDS, "auto", False, [], 0.05, frozenset()))
    ]
    assert held[0] == method == found.method
    assert found.runner_up["method"] == next((m for m in held[1:] if m != method), "none")
    both = make_run({**CERTAIN, **OVER}, [finding("PB503")])
    assert decision(both).method == "sft+dpo" and decision(both).runner_up["method"] == "dpo+nll"


def test_what_is_asked_for_again_is_judged_again():
    run = CASES["matter-of-fact"][0]
    assert "--goal taste" in decision(run).runner_up["what_would_change_it"]
    assert ": then sft+dpo" in decision(run).runner_up["what_would_change_it"]
    one = decision(*CASES["one-stage"][:1], one_stage=True).runner_up["what_would_change_it"]
    assert ": then sft+dpo" in one


def test_what_waits_for_a_measurement_says_so_only_while_it_is_not_made():
    """`settles` names the estimate first and its threshold second."""
    row = next(row for row in ROWS if row.settles is not None and row.unmeasured)
    name = row.settles[0]
    made = make_run({name: (0.5, 0.4, 0.6)})
    missing = dataclasses.replace(made, estimates=tuple(e for e in made.estimates if e.name != name))
    assert (row.advice(made), row.advice(missing)) == (row.instead, row.unmeasured)
    odd = dataclasses.replace(row, settles=(name, "a threshold of another name"))
    assert odd.advice(made) == row.instead


def test_a_run_that_names_no_pairs_and_no_model_has_none():
    facts = RunFacts(dataclasses.replace(make_run(), inputs={}), {})
    assert (facts.pairs, facts.parameters) == (0, None)
    some = {"pairs": {"n": 7}, "model": {"parameters": 135}}
    facts = RunFacts(dataclasses.replace(make_run(), inputs=some), {})
    assert (facts.pairs, facts.parameters) == (7, 135)


@pytest.mark.parametrize("threshold", ["orpo_size", "anchor_size"])
def test_a_model_of_just_that_size_is_large_enough(threshold):
    for parameters, held in ((10**9, ()), (10**9 - 1, None)):
        run = dataclasses.replace(make_run(), inputs={"model": {"parameters": parameters}})
        assert Size(threshold)(RunFacts(run, THRESHOLDS)) == held


@pytest.mark.parametrize(("value", "promised"), [(0.5, False), (0.5001, True)])
def test_pairs_are_promised_where_the_measured_value_lies_above_the_limit(value, promised):
    """At the limit itself no number of pairs would settle it."""
    asked = []
    run = judge(make_run({"trial_accuracy": (value, 0.4, 0.62)}), JudgeSettings())
    row = next(row for row in ROWS if row.settles == ("trial_accuracy", "trial_accuracy"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decides, "pairs_to_settle", lambda *given: asked.append(given) or 10)
        told = decides._more_pairs(row, RunFacts(run, THRESHOLDS), JudgeSettings())
    assert (len(asked) == 1) is promised is ("10 more pairs" in told)
