"""`probe train --method auto`: trains what the gate decided, and only while the gate still holds."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from probe import config
from probe.commands.config_tables import SECTIONS
from probe.errors import ProbeError
from probe.files import sha256_file
from probe.gate import auto, last
from probe.gate.decide import hyperparameters
from probe.probes.gated import GateRequest
from probe.records import Condition, Decision, Estimate, Reason, Run, Verdict
from probe.runs import check_gated_model, load_run, note_last, save_run
from probe.scoring.session import ModelOptions, Source

PASSED = Verdict("pass", 0)
GOOD = Estimate("trial_accuracy", 0.7, 0.6, 0.8, 60, None, "t", "share")
SETTINGS = {"model": (None, "default"), "template": ("auto", "default"), "max_length": (None, "default")}


def condition(code: str, result="fail", measured=GOOD, gates=True) -> Condition:
    return Condition("c", "all", measured, 0.5, result, code, gates=gates)


def make_run(method="dpo", stages=("dpo",), verdict=PASSED, runner_up="sft", **inputs) -> Run:
    decision = Decision(
        method, stages, hyperparameters(stages, parameters=135_000_000, n=60), (Reason("PB501", "t", "s"),),
        {"method": runner_up, "what_would_change_it": "more"},
    )  # fmt: skip
    return Run("gate", "2026-11-21T12:00:00Z", verdict, decision, inputs={"pairs": {"n": 60}, **inputs})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose last gate judged `pairs.jsonl` under default settings."""
    monkeypatch.chdir(tmp_path)
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"Say {i % 9}{i}:", "chosen": f" yes {i}", "rejected": f" no {i * 7 % 10}"}
        for i in range(24)
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config.activate(config.Config(settings=SETTINGS))
    facts = {"path": str(pairs), "sha256": sha256_file(pairs), "n": 24}
    run = dataclasses.replace(
        make_run(pairs=facts), config={"model": None, "template": "auto", "max_length": None}
    )
    note_last(run, save_run(run, tmp_path / "gated"))
    yield tmp_path
    config.activate(config.Config())


def test_the_last_gate_is_taken_while_it_holds(project):
    assert last.last_gate(None).decision.method == "dpo"
    assert last.last_gate(project / "pairs.jsonl").decision.method == "dpo"


@pytest.mark.parametrize(("until", "holds"), [("yesterday", False), ("today", True), ("", True)])
@pytest.mark.parametrize("named", [False, True])
def test_an_acceptance_that_has_lapsed_since_the_gate_trains_nothing(project, until, holds, named):
    """The entry stands in the config as it did; a gate of today would not pass by it."""
    day = {"yesterday": date.today() - timedelta(days=1), "today": date.today()}.get(until, "")
    run = load_run(project / "gated")
    row = {"code": "PB302", "group": None, "until": str(day), "reason": "till the new export"}
    run = dataclasses.replace(run, details={**run.details, "accepted": [row]})
    note_last(run, save_run(run, project / "again"))
    pairs = project / "pairs.jsonl" if named else None
    if holds:
        assert last.last_gate(pairs).decision.method == "dpo"
    else:
        with pytest.raises(ProbeError, match=f"acceptance of PB302 ended on {day}"):
            last.last_gate(pairs)


def test_a_changed_file_is_refused(project):
    with (project / "pairs.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ProbeError, match="changed since"):
        last.last_gate(None)


@pytest.mark.parametrize(
    ("name", "value", "word"), [("model", "other", "model was None"), ("max_length", 64, "max-length")]
)
def test_a_changed_setting_is_refused(project, name, value, word):
    config.activate(config.Config(settings={**SETTINGS, name: (value, "flag")}))
    with pytest.raises(ProbeError, match=word):
        last.last_gate(None)


def test_changed_limits_and_acceptances_are_refused(project):
    for table in ({"gate": {"limits": {"surface_accuracy": 0.99}}}, {"accept": [{"code": "PB202"}]}):
        under_file(project, table)
        with pytest.raises(ProbeError, match="config has changed"):
            last.last_gate(None)


def gate_ran_under(project: Path, **origins: str) -> None:
    """Note the last gate anew, its settings having come from where `origins` say."""
    run = load_run(project / "gated")
    values = {"alpha": 0.05, "goal": "auto", "model": None}
    run = dataclasses.replace(run, config={**values, **run.config, "origins": origins})
    save_run(run, project / "gated")


def under_file(project: Path, table: dict) -> None:
    config.activate(config.Config(config.ConfigFile(project / "probe.toml", table), SETTINGS, SECTIONS))


@pytest.mark.parametrize("typed", ["flag", "argument"])
def test_what_was_typed_for_the_gate_is_taken_over(project, typed):
    run = dataclasses.replace(load_run(project / "gated"), config={"model": "org/x", "max_length": None})
    save_run(dataclasses.replace(run, config={**run.config, "origins": {"model": typed}}), project / "gated")
    config.activate(config.Config(settings={"model": (None, "default")}))
    assert last.taken(last.last_gate(None))["model"] == "org/x"
    config.activate(config.Config(settings={"model": ("org/x", "flag")}))
    assert last.last_gate(None)
    config.activate(config.Config(settings={"model": ("org/y", "flag")}))
    with pytest.raises(ProbeError, match="model was 'org/x'"):
        last.last_gate(None)


def test_what_was_taken_over_is_what_the_run_says_of_itself(project):
    """`probe export` and PB914 read a file by the settings in run.json, which had the defaults there."""
    typed = {"model": "org/x", "max_length": 64, "fields": "prompt=q", "skip_bad": True, "full": True}
    run = load_run(project / "gated")
    origins = {**dict.fromkeys(typed, "flag"), "template": "default"}
    run = dataclasses.replace(run, config={"template": "auto", **typed, "origins": origins})
    given = dict.fromkeys(("model", "max_length", "fields"))
    given |= {"template": "auto", "skip_bad": False, "full": False, "seed": 7}
    settings = {name: (value, "default") for name, value in given.items()}
    config.activate(config.Config(settings=settings))
    last.taken(run)
    now = config.current()
    assert {name: now[name] for name in typed} == typed and now["seed"] == 7
    assert {name: now["origins"][name] for name in (*typed, "template", "seed")} == {
        **origins,
        "seed": "default",
    }


@pytest.mark.parametrize(
    ("origin", "table", "holds_still"),
    [
        ("default", {}, True),
        ("default", {"gate": {"goal": "auto"}}, True),
        ("default", {"gate": {"goal": "taste"}}, False),
        ("probe.toml", {"gate": {"goal": "auto"}}, True),
        ("probe.toml", {}, False),
        ("flag", {"gate": {"goal": "taste"}}, True),
        ("argument", {"gate": {"goal": "taste"}}, True),
        ("argument", {}, True),
    ],
)
def test_a_setting_of_the_gate_alone_must_be_as_the_file_had_it(project, origin, table, holds_still):
    gate_ran_under(project, goal=origin)
    under_file(project, table)
    if holds_still:
        assert last.last_gate(None)
    else:
        with pytest.raises(ProbeError, match="goal of the config has changed"):
            last.last_gate(None)


def test_the_gates_own_table_stands_before_the_keys_for_all(project):
    under_file(
        project, {"alpha": 0.01, "one-stage": True, "gate": {"alpha": 0.1, "trial": False}, "trial": {}}
    )
    assert last.in_file() == {"alpha": 0.1, "trial": False, "one_stage": True}


def test_without_a_gate_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProbeError, match="probe gate PAIRS"):
        last.last_gate(None)


def test_other_weights_are_refused():
    run = make_run(model={"weights_sha256": "a", "tokenizer_sha256": "t"})
    check_gated_model(run, {"weights_sha256": "a", "tokenizer_sha256": "t", "adapter_sha256": None})
    with pytest.raises(ProbeError, match="weights changed"):
        check_gated_model(run, {"weights_sha256": "b", "tokenizer_sha256": "t"})


# --- may it train? --------------------------------------------------------------------------------------


def failed(*conditions: Condition) -> Verdict:
    return Verdict("fail", 1, conditions)


def test_a_passing_gate_trains_its_decision():
    decision, notes = auto.training_decision(make_run(), False, None)
    assert (decision.method, notes) == ("dpo", ())


def test_a_failing_condition_forbids_unless_the_method_answers_it():
    trivial = failed(condition("PB202"), condition("PB501", "inconclusive"), condition("PB3", "pass"))
    assert auto.training_decision(make_run("dpo", verdict=trivial), False, None)[0] is None
    assert auto.training_decision(make_run("sft", ("sft",), trivial), False, None)[0].method == "sft"
    for blocking in ("PB001", "PB301", "PB310"):
        assert (
            auto.training_decision(make_run("sft", ("sft",), failed(condition(blocking))), False, None)[0]
            is None
        )


def test_what_was_not_measured_is_answered_by_no_method():
    open_ = failed(condition("PB501", "inconclusive", measured=None))
    assert auto.training_decision(make_run("sft", ("sft",), open_), False, None)[0] is None


def test_a_gate_that_could_not_decide_trains_nothing_and_is_no_wrong_use():
    """It said that the gate should be run again, which said so again; "cannot say" is an answer."""
    open_ = failed(condition("PB240", "inconclusive"))
    run = dataclasses.replace(make_run(verdict=open_), decision=None)
    assert auto.training_decision(run, False, None) == (None, ())
    assert "the decision is none; open: " in auto.refusal(run)
    for given, forced in ((run, True), (dataclasses.replace(run, verdict=PASSED), False)):
        with pytest.raises(ProbeError, match="Name a method with --method"):
            auto.training_decision(given, forced, "a demo")


def test_what_does_not_gate_does_not_forbid():
    shown = Verdict("inconclusive", 1, (condition("PB201", gates=False),))
    assert auto.training_decision(make_run(verdict=shown), False, None)[0].method == "dpo"


def test_force_needs_a_reason_and_is_recorded():
    run = make_run(verdict=failed(condition("PB202")))
    with pytest.raises(ProbeError, match="--reason"):
        auto.training_decision(run, True, None)
    decision, (note,) = auto.training_decision(run, True, "a demo")
    assert decision.method == "dpo"
    assert (note.code, "a demo" in note.message) == ("PB706", True)


def test_a_forced_refusal_trains_the_runner_up_if_that_trains():
    refused = make_run("do-not-train", (), failed(condition("PB240")))
    assert auto.training_decision(refused, False, None)[0] is None
    decision, _ = auto.training_decision(refused, True, "r")
    assert (decision.method, decision.stages, decision.hyperparameters["learning_rate"]) == (
        "sft",
        ("sft",),
        2e-4,
    )
    with pytest.raises(ProbeError, match="neither trains"):
        auto.training_decision(make_run("do-not-train", (), runner_up="fix-data"), True, "r")


def test_the_refusal_names_what_is_open():
    run = make_run("dpo", verdict=failed(condition("PB202")))
    assert auto.refusal(run) == "not trained: the decision is dpo; open: c (fail)"


# --- the whole way --------------------------------------------------------------------------------------


def test_gate_then_train_on_a_tiny_model(project, tiny_model_dir):
    """Measured for real; the decision is set by hand, since 24 nonsense pairs justify none."""

    def probe(*argv: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            [sys.executable, "-m", "probe", *argv, "--model", str(tiny_model_dir)],
            cwd=project, env=environment, capture_output=True, text=True, timeout=280,
        )  # fmt: skip

    gated = probe("gate", "pairs.jsonl", "--out", "g")
    assert gated.returncode == 1, gated.stderr
    refused = probe("train", "--method", "auto")
    assert refused.returncode == 1 and "not trained" in refused.stderr
    run = load_run(project / "g")
    decided = dataclasses.replace(run, verdict=PASSED, decision=make_run().decision)
    save_run(decided, project / "g")
    trained = probe("train", "--method", "auto", "--steps", "2", "--out", "t")
    assert trained.returncode == 0, trained.stderr
    done = load_run(project / "t")
    assert done.decision.method == "dpo" and done.details["before_after"]
    assert done.details["training"]["stages"][0]["steps"] == 2
    Path("pairs.jsonl").write_text(Path("pairs.jsonl").read_text() + "\n")
    stale = probe("train", "--method", "auto")
    assert stale.returncode == 2 and "changed since" in stale.stderr


def test_an_overruled_gate_names_what_stood_against_it():
    decision = make_run("do-not-train", ()).decision
    told = auto.forced(decision, [condition("PB202"), condition("PB310")], "a test").message
    assert told == "the gate was overruled (c, c): a test"
    assert (
        auto.forced(decision, [], "a test").message
        == "the gate was overruled (decision do-not-train): a test"
    )


def test_a_gate_that_training_runs_is_the_one_that_the_file_asks_for(project, monkeypatch):
    """What the file sets reaches the probes and the judge; what it does not set stays as it is shipped."""
    table = {"alpha": 0.01, "trial_pairs": 64, "goal": "taste", "trial": False, "bias": True}
    under_file(project, {"gate": table})
    asked, judging = [], []
    monkeypatch.setattr(
        "probe.gate.measure.run_probes", lambda request: (asked.append(request), (make_run(), None))[1]
    )
    monkeypatch.setattr(auto, "judged", lambda run, options, today: (judging.append(options), run)[1])
    source = Source.of(project / "pairs.jsonl", None, None, False)
    run = auto._measured(GateRequest(source, ModelOptions(), full=True))
    (request,), (options,) = asked, judging
    assert (request.alpha, request.trial_pairs, request.off) == (0.01, 64, frozenset({"trial"}))
    assert (request.bound, request.beta) == (GateRequest(source, ModelOptions()).bound, 0.1)
    assert (options.goal, options.alpha, options.full) == ("taste", 0.01, True)
    assert {name: run.config[name] for name in table} == table
    assert run.config["origins"] == dict.fromkeys(table, "config file")


@pytest.mark.parametrize("full", [True, False])
def test_a_forced_runner_up_has_the_values_of_its_way_of_training(full):
    run = dataclasses.replace(make_run("do-not-train", (), runner_up="sft"), config={"full": full})
    decision, (finding,) = auto.training_decision(run, True, "a test")
    assert (decision.method, decision.stages, finding.code) == ("sft", ("sft",), "PB706")
    assert decision.hyperparameters["full"] is full
    assert auto.training_decision(run, False, None) == (None, ())
    with pytest.raises(ProbeError, match="needs --reason"):
        auto.training_decision(run, True, "")
    for other in ("none", "fix-data"):
        stuck = make_run("do-not-train", (), runner_up=other)
        with pytest.raises(ProbeError, match=f"runner-up {other}: neither trains"):
            auto.training_decision(stuck, True, "a test")


def test_without_a_named_file_a_gate_that_does_not_hold_is_an_error(project, monkeypatch, capsys):
    """With one, it is gated anew, saved, and noted as the last."""
    monkeypatch.setattr(auto, "last_gate", lambda pairs: (_ for _ in ()).throw(ProbeError("it is stale.")))
    monkeypatch.setattr(auto, "_measured", lambda request: make_run())
    with pytest.raises(ProbeError, match="it is stale"):
        auto.gated(None, lambda path: path)
    assert auto.gated(project / "pairs.jsonl", lambda path: path) == make_run()
    assert "it is stale. Gating" in capsys.readouterr().err
