"""`probe gate run.json`: what is printed, saved and returned says one thing, quickly and without torch."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import date

import pytest

from probe.__main__ import main
from probe.gate.registry import PROBE_NAMES
from probe.gate.settings import GateOptions, judged
from probe.records import BiasRow, Estimate, Finding, Run, run_from_json
from probe.reports.renderers import RENDERERS
from probe.runs import save_run

TODAY = date(2026, 11, 21)
NAMES = (
    "flip_budget_share",
    "surface_accuracy",
    "length_accuracy",
    "signal_accuracy",
    "trial_accuracy",
    "agreement",
)
CODES = ("PB001", "PB301", "PB202", "PB503", "PB120", "PB599", "PB101")


def generated(seed: int) -> tuple[Run, GateOptions]:
    """A run and options drawn by seed: any mixture of what the gate may meet."""
    draw = random.Random(seed)
    if seed % 10 == 0:  # a file with nothing wrong, which chance would hardly make
        return large_run(60 + seed), GateOptions(inconclusive="warn" if seed % 20 else "fail")
    estimates = []
    for name in draw.sample(NAMES, draw.randint(0, len(NAMES))):
        low, value, high = sorted(draw.random() for _ in range(3))
        if draw.random() < 0.5:  # narrow, as in a large file
            low, high = value - 0.01, value + 0.01
        estimates.append(Estimate(name, value, low, high, draw.choice([5, 60, 900]), None, "t", "share"))
    findings = [
        Finding(code, draw.choice(["info", "warning", "error"]), f"{code} was found", "mend it")
        for code in draw.sample(CODES, draw.choice([0, 0, 1, 2]))
    ]
    run = Run(
        "gate",
        "2026-11-21T12:00:00Z",
        bias=(BiasRow("all", draw.choice(["neutral", "favours rejected"])),),
        estimates=tuple(estimates),
        findings=tuple(findings),
        inputs={"pairs": {"path": "p.jsonl", "n": 60}, "model": {"name": "m", "parameters": 1e9}},
        details={"probes": {p: "done" if draw.random() < 0.8 else "off" for p in PROBE_NAMES}},
    )
    limits = {name: False for name in NAMES if draw.random() < 0.3}
    return run, GateOptions(inconclusive=draw.choice(["fail", "warn"]), limits=limits)


@pytest.mark.parametrize("seed", range(200))
def test_verdict_line_json_junit_and_exit_code_agree(seed):
    run, options = generated(seed)
    run = judged(run, options, TODAY)
    code, status = run.verdict.exit_code, run.verdict.status
    assert run_from_json(json.loads(RENDERERS["json"](run))).verdict == run.verdict
    text = RENDERERS["text"](run).splitlines()
    assert text[-1].endswith(f"{status} · exit code {code}")
    assert any(line.startswith(status.upper()) for line in text)
    suite = ET.fromstring(RENDERERS["junit"](run)).find("testsuite")
    assert (int(suite.get("failures")) > 0) == (code != 0)
    assert RENDERERS["github"](run).startswith("::error" if code else "::notice")
    gating = {c.result for c in run.verdict.conditions if c.gates}
    assert (status == "fail") == ("fail" in gating)
    assert (status == "pass") == (bool(gating) and gating <= {"pass", "accepted"})
    assert (
        code
        == {"fail": 1, "pass": 0, "inconclusive": int(options.inconclusive == "fail" or not gating)}[status]
    )


def test_the_generated_runs_reach_every_status():
    runs = [judged(*generated(seed), TODAY) for seed in range(200)]
    assert {r.verdict.status for r in runs} == {"pass", "fail", "inconclusive"}
    assert {r.decision.method for r in runs} >= {"do-not-train", "fix-data", "dpo"}


def large_run(n: int) -> Run:
    """A gate's run over `n` pairs, as `probe gate` saves it."""
    draw = random.Random(0)
    keys = ("gap", "gap_sum", "gap_byte", "chosen_tokens", "rejected_tokens")
    rows = [
        {"id": f"p{i}", "line": i + 1, "group": f"g{i % 8}", "cluster": i}
        | {key: draw.gauss(0, 9) for key in keys}
        for i in range(n)
    ]
    values = {
        "flip_budget_share": 0.2,
        "surface_accuracy": 0.6,
        "length_accuracy": 0.55,
        "signal_accuracy": 0.75,
        "trial_accuracy": 0.7,
    }
    estimates = tuple(
        Estimate(name, v, v - 0.01, v + 0.01, n, None, "t", "share") for name, v in values.items()
    )
    inputs = {"pairs": {"path": "p.jsonl", "n": n, "sha256": "1" * 64}, "model": {"parameters": 135e6}}
    details = {"pairs": rows, "probes": dict.fromkeys(PROBE_NAMES, "done")}
    return Run("gate", "2026-11-21T12:00:00Z", estimates=estimates, inputs=inputs, details=details)


def test_ten_thousand_pairs_are_judged_soon_and_without_torch(tmp_path):
    """Processor time of the whole process, the interpreter's start included: others may share the machine."""
    save_run(large_run(10_000), tmp_path)
    code = (
        "import sys, time; sys.argv = ['probe', 'gate', 'run.json'];"
        "from probe.__main__ import main; code = main();"
        "assert not {'torch', 'transformers', 'scipy'} & set(sys.modules), sorted(sys.modules);"
        "print(time.process_time(), file=sys.stderr); sys.exit(code)"
    )
    done = [
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        for _ in range(3)
    ]
    assert {d.returncode for d in done} == {0}, done[0].stderr
    assert min(float(d.stderr.splitlines()[-1]) for d in done) < 1.5  # .3 to .5 on a quiet machine
    assert "PASS" in done[0].stdout


def test_exit_code_and_report_agree(probe, tmp_path):
    save_run(large_run(100), tmp_path / "wide")
    good = probe("gate", "wide")
    assert (good.code, "exit code 0" in good.out) == (0, True)
    (tmp_path / "probe.toml").write_text("[gate.limits]\nsurface-accuracy = 0.4\n")
    bad = probe("gate", "wide/run.json", "--format", "json", "--format", "junit=report.xml")
    assert bad.code == 1
    assert json.loads(bad.out)["verdict"]["status"] == "fail"
    assert ET.parse(tmp_path / "report.xml").find("testsuite").get("failures") != "0"
    for argv, word in [
        (("gate", "none.json"), "none.json"),
        (("gate", "wide", "--goal", "tast"), "--goal"),
        (("gate", "wide", "--inconclusive", "pass"), "--inconclusive"),
        (("gate", "wide", "--format", "pdf"), "pdf"),
        (("gate", "wide", "--baseline", "none.json"), "none.json"),
    ]:
        done = probe(*argv)
        assert (done.code, done.out) == (2, "") and word in done.err


def test_a_baseline_of_the_same_run_passes_and_of_another_file_fails(probe, tmp_path):
    save_run(large_run(100), tmp_path / "now")
    same = probe("gate", "now", "--baseline", "now", "--all")
    assert same.code == 0 and "gap_change" in same.out.replace(" ", "_")
    save_run(large_run(90), tmp_path / "then")
    other = probe("gate", "now", "--baseline", "then")
    assert other.code == 1 and "PB703" in other.out


@pytest.mark.parametrize(
    "typed", [["--model", "org/other"], ["--no-trial"], ["--beta", "0.9"], ["--budget", "5s"], ["--plan"]]
)
def test_a_saved_run_is_not_measured_again_by_options(typed, tmp_path, monkeypatch, capsys):
    """It would be read as the verdict on the model that was named."""
    run, _ = generated(1)
    save_run(run, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["probe", "gate", "run.json", *typed])
    assert main() == 2
    assert f"{typed[0]} does nothing. Leave it out, or give the pair file." in capsys.readouterr().err
    (tmp_path / "probe.toml").write_text("[gate]\nbeta = 0.9\n")  # a file is for all commands
    monkeypatch.setattr(sys, "argv", ["probe", "gate", "run.json", "--alpha", "0.1"])
    assert main() in (0, 1)
