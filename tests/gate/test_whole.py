"""A whole gate on answers with a label each: which options are refused, and what is then measured."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from probe import api
from probe.commands.gate import gate as gate_command
from probe.commands.trial import trial as trial_command
from probe.errors import ProbeError
from probe.gate import whole
from probe.gate.accept import Accepted
from probe.gate.settings import GateOptions
from probe.probes.gated import GateRequest
from probe.records import Estimate, Run
from probe.scoring.options import ModelOptions
from probe.scoring.source import Source

SOURCE, HOW = Source.of(Path("answers.jsonl"), None, None, False), ModelOptions()
# A value of each option that is not its default.
OTHER = {
    "sides": "a,b", "plan": True, "levers": Path("run.json"),
    "baseline": Path("run.json"), "budget": "5m", "device_memory": "24GiB", "goal": "taste",
    "one_stage": True, "full": True, "bound": 0.2, "beta": 0.2, "trial_pairs": 64, "thorough": True,
    "methods": "dpo,sft", "pairs": 64, "samples": 0, "proxy": "m", "export_trimmed": Path("x"),
    "learning_rate": 1e-4, "batch": 4, "options": object(),
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """What was asked of the measuring, which measures nothing here."""
    asked = []
    monkeypatch.setattr(whole, "answers_decided", lambda *given: asked.append(given) or "run")
    monkeypatch.setattr(whole, "_judged_answers", lambda run, judging: run)
    return asked


def gated(given=None, off=frozenset()):
    return whole.gate_answers(SOURCE, HOW, GateOptions(alpha=0.1), given or {}, seed=3, off=off)


def tried(**given):
    return whole.answers_tried(SOURCE, HOW, {"method": "dpo", **given}, alpha=0.1, seed=3, steps=7)


@pytest.mark.parametrize("name", [name for name in whole.GATES_PAIRS if name != "off"])
def test_a_gate_of_answers_refuses_each_option_for_pairs_by_its_name(name, measured):
    with pytest.raises(ProbeError, match=f"--{name.replace('_', '-')} does nothing. Leave it out"):
        gated({name: OTHER[name]})
    assert gated({name: whole.GATES_PAIRS[name]}) == "run" and len(measured) == 1


@pytest.mark.parametrize("name", list(whole.TRIES_PAIRS))
def test_a_trial_of_answers_refuses_each_option_for_pairs_by_its_name(name, measured):
    with pytest.raises(ProbeError, match=f"--{name.replace('_', '-')} does nothing. Leave it out"):
        tried(**{name: OTHER[name]})
    assert tried(**{name: whole.TRIES_PAIRS[name]}) == "run" and len(measured) == 1


def test_of_the_probes_only_the_trial_can_be_off(measured):
    assert gated() == "run" and gated(off=frozenset({"trial"})) == "run"
    assert [options.trial_steps for _, _, options, _ in measured] == [12, 0]
    assert {(options.alpha, options.seed) for _, _, options, _ in measured} == {(0.1, 3)}
    for off in ({"bias"}, {"bias", "trial"}):
        with pytest.raises(ProbeError, match="for which --no-PROBE but --no-trial does nothing"):
            gated(off=frozenset(off))


def test_a_trial_of_answers_is_one_of_kto(measured):
    assert tried() == tried(method="kto") == "run"
    assert [(o.alpha, o.seed, o.trial_steps) for _, _, o, _ in measured] == [(0.1, 3, 7)] * 2
    with pytest.raises(ProbeError, match="trains on by kto, and --method is sft"):
        tried(method="sft")


@pytest.mark.parametrize(
    ("table", "ways"),
    [
        (whole.GATES_PAIRS, (gate_command, api.gate)),
        (whole.TRIES_PAIRS, (trial_command, api.trial)),
    ],
)
def test_the_defaults_are_those_of_the_command_and_of_python(table, ways):
    """An option left alone is never refused, so both have the defaults that are compared with."""
    for way in ways:
        known = {p.name: p.default for p in inspect.signature(way).parameters.values()}
        known |= {"pairs": known["most"]} if "most" in known else {}
        named = [n for n in table if known.get(n, inspect.Parameter.empty) is not inspect.Parameter.empty]
        assert len(named) >= 6
        assert {name: known[name] or None for name in named} == {name: table[name] or None for name in named}


def test_a_run_judged_again_says_that_its_file_has_changed(tmp_path, gate_run):
    """It is judged by what was measured then; the same file, or one that is gone, is no change."""
    from dataclasses import replace

    from probe.files import sha256_file
    from probe.gate.whole import with_changed_pairs

    path = tmp_path / "pairs.jsonl"
    path.write_text("as it was\n")
    facts = gate_run.inputs["pairs"] | {"path": str(path), "sha256": sha256_file(path)}
    run = replace(gate_run, inputs=gate_run.inputs | {"pairs": facts})

    def told(one):
        return [f.message for f in with_changed_pairs(one).findings if f.code == "PB708"]

    assert told(run) == []
    path.write_text("another\n")
    assert told(run) == [f"{path} has changed since it was measured: this judges what it held then"]
    assert len(told(with_changed_pairs(run))) == 1
    path.unlink()
    assert told(run) == []


TABLES = {
    "[gate.groups.advice]": {"groups": {"advice": {"gap": 0.1}}},
    "[gate.limits] template-share": {"limits": {"surface_accuracy": 0.8, "template_share": 0.1}},
    "[[accept]] PB205": {"accepted": (Accepted("PB205", "known"),)},
}


@pytest.mark.parametrize("told", TABLES)
@pytest.mark.parametrize("saved", [False, True])
def test_a_table_for_pairs_alone_is_refused_for_answers_and_not_ignored(told, saved, measured, monkeypatch):
    run = Run(command="unpaired", created="", details={})
    monkeypatch.setattr(whole, "saved_run", lambda path: run)
    judging = GateOptions(**TABLES[told])
    with pytest.raises(ProbeError, match=re.escape(f"for which {told} of the config does nothing. Take it")):
        if saved:
            whole.gate_saved(Path("run.json"), judging)
        else:
            whole.gate_answers(SOURCE, HOW, judging, {}, seed=3, off=frozenset())
    own = GateOptions(limits={"surface_accuracy": 0.8, "signal_accuracy": False})
    assert whole.gate_answers(SOURCE, HOW, own, {}, seed=3, off=frozenset()) == "run"


def test_limits_for_a_group_that_no_pair_has_stop_a_gate_before_the_model(tmp_path):
    path = tmp_path / "pairs.jsonl"
    row = '{"prompt": "a", "chosen": "b", "rejected": "c"'
    request = GateRequest(Source.of(path, None, None, False), HOW)
    judging = GateOptions(groups={"advise": {"gap": 0.1}})
    told = {"}": "none of its pairs names a group", ', "group": "advice"}': "its groups are advice"}
    for more, why in told.items():
        path.write_text(f"{row}{more}\n")
        said = rf"^\[gate.groups.advise\]: {path} has no pair .*; {why}\. Correct"
        with pytest.raises(ProbeError, match=said):
            whole.gate_pairs(request, judging)
    whole.check_named_groups(request.source, ["advice"])


def test_limits_for_a_group_that_a_saved_run_did_not_measure_stop_its_judgement(monkeypatch):
    measured = (Estimate("gap", 0.1, 0.0, 0.2, 40, None, "t", "nats/token", group="advice"),)
    monkeypatch.setattr(whole, "saved_run", lambda path: Run("gate", "", estimates=measured))
    judging = GateOptions(groups={"advise": {"gap": 0.1}})
    with pytest.raises(
        ProbeError, match=r"^\[gate.groups.advise\]: run.json has nothing .* are advice\. Correct"
    ):
        whole.gate_saved(Path("run.json"), judging)
    assert whole.gate_saved(Path("run.json"), GateOptions(groups={"advice": {"gap": 0.3}})).verdict.conditions


@pytest.mark.parametrize(("level", "alpha", "refused"), [
    (0.05, 0.05, False), (0.05, 0.01, True), (0.01, 0.01, False), (0.01, 0.05, False), (0.01, 0.2, True),
])  # fmt: skip
def test_measured_answers_are_judged_at_no_other_level(level, alpha, refused, measured, monkeypatch):
    """An alpha that changed nothing would be taken for one that did."""
    run = Run(command="unpaired", created="", details={}, config={"alpha": level})
    monkeypatch.setattr(whole, "saved_run", lambda path: run)
    if refused:
        with pytest.raises(ProbeError, match=f"--alpha {alpha:g} does nothing .* at {level:g}"):
            whole.gate_saved(Path("run.json"), GateOptions(alpha=alpha))
    else:
        assert whole.gate_saved(Path("run.json"), GateOptions(alpha=alpha)) is not None
