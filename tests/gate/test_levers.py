"""A gate that says "do not train" names the lever that was measured on the same pairs and model."""

import copy
import dataclasses

import pytest

from probe.errors import ProbeError
from probe.gate.decide import decide
from probe.gate.judge import JudgeSettings, judge
from probe.gate.levers import with_levers
from probe.gate.registry import PROBE_NAMES
from probe.records import Estimate, Finding, Run
from probe.runs import save_run

INPUTS = {
    "pairs": {"sha256": "ab" * 32, "n": 100},
    "model": {
        "weights_sha256": "cd" * 32,
        "template": "chat",
        "tokenizer_sha256": "12" * 32,
        "dtype": "float32",
    },
    "scores": {"max_length": 2048, "flags": [{"flag": "truncated_chosen", "count": 1}]},
}
WORKS = Finding("PB530", "info", "system turns 9 of 31 wrongly ranked pairs", "Try it.")
LEVER = Estimate("lever:system", 0.3, 0.2, 0.4, 100, 0.001, "t", "nats/token")


def gate_run():
    signal = Estimate("signal_accuracy", 0.5, 0.45, 0.55, 100, None, "t", "share")
    probes = dict.fromkeys(PROBE_NAMES, "done")
    return Run("gate", "2026-11-26T00:00:00Z", estimates=(signal,), inputs=INPUTS, details={"probes": probes})


def levers_run(command="levers", inputs=INPUTS, findings=(WORKS,), **config):
    rows = [{"lever": "system"}]
    return Run(
        command,
        "2026-11-26T00:00:00Z",
        estimates=(LEVER,),
        findings=findings,
        inputs=inputs,
        config=config,
        details={"levers": rows},
    )


def saved(run, tmp_path):
    return save_run(run, tmp_path / "levers")


def instead(run):
    decided = decide(judge(run, JudgeSettings()), JudgeSettings())
    assert decided.decision.method == "do-not-train"
    return decided.decision.runner_up["instead"]


def test_do_not_train_names_the_measured_lever(tmp_path):
    general = instead(gate_run())
    taken = with_levers(gate_run(), saved(levers_run(), tmp_path))
    assert instead(taken) == f"system turns 9 of 31 wrongly ranked pairs; else {general}"
    assert taken.estimate("lever:system") and taken.details["levers"]
    again = with_levers(taken, tmp_path / "levers")
    assert (again.estimates, again.findings) == (taken.estimates, taken.findings)


def test_a_lever_that_did_nothing_is_not_named(tmp_path):
    taken = with_levers(gate_run(), saved(levers_run(findings=()), tmp_path))
    assert instead(taken) == instead(gate_run())


def test_a_lever_changes_no_condition(tmp_path):
    taken = with_levers(gate_run(), saved(levers_run(), tmp_path))
    assert judge(taken, JudgeSettings()).verdict == judge(gate_run(), JudgeSettings()).verdict


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("pairs", "sha256"), "ef" * 32, "pair file"),
        (("model", "weights_sha256"), "ef" * 32, "model"),
        (("model", "adapter_sha256"), "ef" * 32, "model"),
        (("model", "template"), "raw", "template"),
        (("model", "dtype"), "float16", "precision"),
        (("model", "quantization"), "nf4", "precision"),
        (("model", "tokenizer_sha256"), "ef" * 32, "tokenizer"),
        (("scores", "max_length"), 70, "max-length"),
    ],
)
def test_levers_of_something_else_are_refused(path, value, told, tmp_path):
    inputs = copy.deepcopy(INPUTS)
    inputs[path[0]][path[1]] = value
    with pytest.raises(ProbeError, match=f"another {told}"):
        with_levers(gate_run(), saved(levers_run(inputs=inputs), tmp_path))


def test_swapped_sides_and_other_commands_are_refused(tmp_path):
    with pytest.raises(ProbeError, match="--fields"):
        with_levers(gate_run(), saved(levers_run(fields="chosen=rejected,rejected=chosen"), tmp_path))
    with pytest.raises(ProbeError, match="run of probe bias"):
        with_levers(gate_run(), saved(dataclasses.replace(levers_run(), command="bias"), tmp_path))
