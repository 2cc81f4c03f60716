"""The commands that a report tells: run as they are written, they measure what was measured, and go on."""

import dataclasses
import os
import re
import shlex
import subprocess

import pytest

import probe.api as probe_api
from probe.records import Condition, Decision, Finding, Reason, Run, Verdict
from probe.reports.answer import answered
from probe.reports.command_line import command_parts, show_command
from probe.reports.next_step import next_command
from probe.reports.renderers import RENDERERS
from probe.reports.text import render
from probe.shell import shell_word

PAIRS = {"path": "p.jsonl", "n": 40}
SERVER = {"endpoint": {"url": "http://h/v1", "model": "m", "says": {}}}


def a_run(command="bias", **more):
    inputs = {"pairs": PAIRS, **more.pop("inputs", {})}
    return Run(command, "now", more.pop("verdict", Verdict("measured", 0)), inputs=inputs, **more)


def typed(origin="flag", **values):
    return {**values, "origins": dict.fromkeys(values, origin)}


def failing(code, name="surface_accuracy", method="do-not-train", **more):
    condition = Condition(name, "all", None, 0.9, "fail", code, "limit")
    stages = () if method == "do-not-train" else (method,)
    decision = Decision(method, stages, {}, (Reason(code, "", ""),))
    finding = Finding(code, "error", "m", more.pop("remedy", "r"))
    verdict = Verdict("fail", 1, (condition,))
    return a_run("gate", decision=decision, findings=(finding,), verdict=verdict, **more)


# --- the options that are kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["flag", "argument"])
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("bound", 0.0, ["--bound", "0.0"]), ("seed", 0, ["--seed", "0"]), ("skip_bad", False, []),
     ("model", None, []), ("model", "../m", ["--model", "../m"]), ("skip_bad", True, ["--skip-bad"])],
)  # fmt: skip
def test_what_was_given_is_kept_and_what_was_not_is_not(origin, name, value, told):
    """`--bound 0` and `--seed 0` were lost, and so was everything that a call from Python named."""
    message = "not measured (trial: off); what was not run never passes"
    condition = Condition("trial_accuracy", "all", None, 0.5, "inconclusive", "PB501", message)
    decision = Decision("do-not-train", (), {}, (Reason("PB705", "", ""),))
    run = a_run("gate", verdict=Verdict("fail", 1, (condition,)), decision=decision)
    run = dataclasses.replace(run, config=typed(origin, **{name: value}))
    assert shlex.split(next_command(run)) == ["probe", "gate", "p.jsonl", *told]


@pytest.mark.parametrize("origin", ["default", "probe.toml"])
def test_what_the_next_command_has_by_itself_is_not_told(origin):
    assert next_command(a_run(config=typed(origin, model="m", template="raw"))) == "probe gate p.jsonl"


def test_a_gate_of_a_served_model_is_told_with_its_tokenizer():
    run = a_run(config=typed(model="http://h/v1", tokenizer="./tok"), inputs={"model": SERVER})
    assert next_command(run) == "probe gate p.jsonl --model http://h/v1 --tokenizer ./tok"
    seen = dataclasses.replace(run, inputs={"pairs": PAIRS, "model": {**SERVER, "tokenizer": "./tok"}})
    assert show_command(seen, "3") == "probe show p.jsonl --model ./tok --line 3"


@pytest.mark.parametrize(
    ("run", "command"),
    [(failing("PB201"), "sample"), (failing("PB215", "template_share"), "sample"),
     (failing("PB120", "flip_budget_share"), "levers"), (failing("PB501", "x"), "levers"),
     (dataclasses.replace(failing("PB501", "x", "dpo"), details={"unanswered": []}), "train")],
)  # fmt: skip
def test_no_server_is_asked_for_what_needs_the_weights(run, command):
    """NEXT was `probe sample … --model URL`, which ended in "this needs the weights"."""
    assert shlex.split(next_command(run))[1] == command
    served = dataclasses.replace(run, inputs={**run.inputs, "model": SERVER})
    assert next_command(served) == f"probe explain {run.findings[0].code}"


# --- from Python ------------------------------------------------------------------------------------------


@pytest.fixture
def pair_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = (f'{{"prompt": "q {i}?", "chosen": "yes {i}", "rejected": "no {i} no"}}' for i in range(8))
    (tmp_path / "p.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return "p.jsonl"


def test_the_next_command_of_a_call_names_the_model_that_was_measured(pair_path, tiny_model_dir):
    """It was `probe gate p.jsonl`, which measures the embedded model."""
    run = probe_api.bias(pair_path, str(tiny_model_dir), sides="a,b", template="qa")
    words = shlex.split(run.next)
    assert words[:3] == ["probe", "gate", pair_path]
    options = {("--sides", "a,b"), ("--model", str(tiny_model_dir)), ("--template", "qa")}
    assert set(zip(words[3::2], words[4::2], strict=True)) == options
    shown = shlex.split(show_command(run, "3"))
    assert options | {("--line", "3")} == set(zip(shown[3::2], shown[4::2], strict=True))


def test_no_command_is_told_that_cannot_name_a_loaded_model_or_pairs_in_memory():
    loaded = {"given": True, "name": "m"}
    for inputs in ({"model": loaded}, {"pairs": {"path": "list in memory", "in_memory": True}}):
        run = a_run(inputs=inputs)
        assert next_command(run) is None and show_command(run, "3") is None
    assert next_command(a_run("data", inputs={"model": {"name": "m"}})) == "probe gate p.jsonl"


def test_a_call_is_not_made_again_by_the_words_of_its_script(pair_path, tiny_model_dir, monkeypatch):
    """Again read `probe a b`, the arguments of the script that had called."""
    monkeypatch.setattr("sys.argv", ["script.py", "words-of-a-script"])
    run = probe_api.bias(pair_path, str(tiny_model_dir))
    for name, show in RENDERERS.items():
        assert "words-of-a-script" not in show(run), name
    assert "Again: " not in RENDERERS["markdown"](run)
    made = dataclasses.replace(run, environment={**run.environment, "argv": ["probe", "bias", "it's"]})
    assert "probe bias" in RENDERERS["markdown"](made)


# --- no circles -------------------------------------------------------------------------------------------


BROKEN = Finding("PB321", "error", "m", "r", lines=(3,))


def test_after_the_broken_rows_were_dropped_comes_the_gate_of_what_is_left():
    """It was the same `probe data p.jsonl --fix` again."""
    before = a_run("data", findings=(BROKEN,), config=typed(fields="prompt=q"))
    assert next_command(before) == "probe data p.jsonl --fields prompt=q --fix p.fixed.jsonl"
    after = dataclasses.replace(before, config=typed(fields="prompt=q", fix="-y.jsonl"))
    assert next_command(after) == "probe gate ./-y.jsonl --fields prompt=q"
    worse = (BROKEN, Finding("PB330", "error", "m", "r"))
    assert next_command(dataclasses.replace(after, findings=worse)) == "probe explain PB330"


@pytest.mark.parametrize(
    ("code", "remedy", "asked", "told"),
    [("PB310", "Read the pairs named.", 12, "probe explain PB310"),
     ("PB311", "Label 9 more pairs, with a larger --n.", 12, "probe label p.jsonl --seed 4 --n 21"),
     ("PB311", "Label 1 more pair, with a larger --n.", 12, "probe label p.jsonl --seed 4 --n 13"),
     ("PB311", "Label 90 more pairs, with a larger --n.", 12, "probe explain PB311"),
     ("PB311", "Label more pairs, with a larger --n.", 12, "probe explain PB311"),
     ("PB315", "Label this group again.", 12, "probe explain PB315")],
)  # fmt: skip
def test_a_finished_audit_is_not_asked_for_again(code, remedy, asked, told):
    """`probe label` as it was asks nothing more: only a larger sample of the same seed goes on."""
    run = failing(code, "agreement", remedy=remedy, config=typed(seed=4), details={"label_sample": asked})
    assert next_command(run) == told


# --- how they are written ---------------------------------------------------------------------------------

ODD = ["-x.jsonl", "my pairs.jsonl", "it's.jsonl", "é è.jsonl", "a\tb\n.jsonl", "日本.jsonl", "\udce9.jsonl"]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_a_shell_reads_from_a_report_what_was_meant(name, ascii_only):
    """Not `-x.jsonl` as an option, not `\\xe9`, no line that ends inside a quoted path."""
    pair = {"id": "1", "line": 3, "gap": -0.5, "prompt": "q", "chosen": {}, "rejected": {}}
    config = typed(model="./" + "long directory/" * 9, template="Q: {prompt}\n  A:", sides="ä, b,c")
    run = answered(a_run(inputs={"pairs": {"path": name, "n": 9}}, details={"worst": [pair]}, config=config))
    text = render(run, width=60, ascii_only=ascii_only)
    assert text.isascii() or not ascii_only
    for lead, told in (("NEXT", run.next), ("worst pair:", show_command(run))):
        found = re.search(rf"^{lead}\s+(probe (?:.*\\\n)*.*)$", text, re.M)
        said = subprocess.run(
            ["bash", "-c", "probe() { printf '%s\\0' \"$@\"; }; " + found[1]], capture_output=True, check=True
        )
        words = shlex.split(told)[1:]
        assert said.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
        assert words[1] == (f"./{name}" if name.startswith("-") else name)
    assert shell_word("plain/é.jsonl", ascii_only=False) == "'plain/é.jsonl'"


def test_a_command_breaks_between_its_options():
    parts = command_parts("probe gate p.jsonl --sides 'a b,c' --skip-bad")
    assert parts == ["probe gate", "p.jsonl", "--sides 'a b,c'", "--skip-bad"]


def test_blanks_of_a_template_are_shown_on_the_page():
    """HTML folds two blanks into one unless it is told not to."""
    run = answered(a_run(config=typed(template="Q:  {prompt}")))
    page = RENDERERS["html"](run)
    assert "Q:  {prompt}" in page and re.search(r"code \{ white-space: pre-wrap", page)
