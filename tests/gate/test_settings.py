"""What a path given to the gate is: a saved run, or a pair file."""

import inspect
from dataclasses import MISSING, fields, replace
from datetime import date

import pytest

from probe import api, config
from probe.commands.gate import gate as gate_command
from probe.errors import ProbeError
from probe.gate import settings, whole
from probe.gate.settings import GateOptions, is_run, judged
from probe.probes.gated import THOROUGH, Effort, GateRequest, extent
from probe.runs import save_run
from probe.scoring.options import ModelOptions
from probe.scoring.source import Source

KEY = '"schema_version"'


@pytest.mark.parametrize(
    ("name", "text", "run"),
    [
        ("run.json", None, True),  # it is not there, and is told so as a run
        ("other.json", None, False),
        ("pairs.jsonl", None, False),
        ("run.json", "{" + KEY, True),
        ("other.json", "{" + KEY, True),
        ("run.json", "[]", False),
        ("pairs.jsonl", "{" + KEY, False),
        ("other.json", KEY.rjust(200), True),
        ("other.json", KEY.rjust(201), False),
    ],
)
def test_a_saved_run_is_known_by_how_it_begins(tmp_path, name, text, run):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert is_run(path) is run


def test_a_directory_is_a_run_where_it_holds_one(tmp_path):
    assert not is_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert is_run(tmp_path)


@pytest.mark.parametrize(("word", "code"), [("fail", 1), ("warn", 0)])
def test_what_stays_open_fails_unless_it_may_only_warn(gate_run, word, code):
    """The same run: without a trial its condition is open."""
    left = [e for e in gate_run.estimates if not e.name.startswith("trial")]
    states = {**gate_run.details.get("probes", {}), "trial": "off"}
    run = replace(
        gate_run, estimates=tuple(left), findings=(), details={**gate_run.details, "probes": states}
    )
    found = judged(run, GateOptions(inconclusive=word), date(2026, 11, 27))
    assert (found.verdict.status, found.verdict.exit_code) == ("inconclusive", code)


def test_another_word_is_no_setting():
    with pytest.raises(ProbeError, match="--inconclusive"):
        GateOptions(inconclusive="maybe")


@pytest.mark.parametrize("way", [gate_command, api.gate])
def test_the_defaults_are_those_of_the_command_and_of_python(way):
    known = {name: p.default for name, p in inspect.signature(way).parameters.items()}
    own = {f.name: f.default for f in fields(GateOptions) if f.default is not MISSING and f.name in known}
    shared = {name: value for name, value in own.items() if name in known}
    assert len(shared) >= 7 and shared == {name: known[name] for name in shared}


@pytest.mark.parametrize("goal", ["auto", "taste", "fact", "correctness"])
def test_the_goal_that_was_named_is_the_one_that_decides(gate_run, goal, monkeypatch):
    asked = []
    monkeypatch.setattr(
        settings,
        "decide",
        lambda run, _, *, goal, one_stage, tuning: asked.append((goal, one_stage, tuning)) or run,
    )
    for one_stage, full in ((True, False), (False, True)):
        judged(gate_run, GateOptions(goal=goal, one_stage=one_stage, full=full), date(2026, 11, 27))
    assert asked == [(goal, True, "lora"), (goal, False, "full")]


FILE, TYPED, OFF = "probe.toml", config.FLAG, frozenset({"trial"})


@pytest.mark.parametrize(
    ("origins", "off", "asked", "expected"),
    [
        ({"quick": FILE}, frozenset(), (False, True), (OFF, Effort())),
        ({"quick": FILE, "trial": TYPED}, frozenset(), (False, True), (frozenset(), Effort())),
        ({"quick": FILE, "trial": TYPED}, OFF, (False, True), (OFF, Effort())),  # --no-trial
        ({"quick": FILE, "thorough": TYPED}, frozenset(), (True, True), (frozenset(), THOROUGH)),
        ({"quick": TYPED, "thorough": FILE}, frozenset(), (True, True), (OFF, Effort())),
        ({"quick": TYPED, "trial": FILE}, frozenset(), (False, True), (OFF, Effort())),
        ({"quick": TYPED, "trial": TYPED}, frozenset(), (False, True), "--trial --quick"),
        ({"quick": TYPED, "thorough": TYPED}, frozenset(), (True, True), "--thorough --quick"),
        ({"quick": FILE, "thorough": FILE}, frozenset(), (True, True), "--thorough --quick"),
        ({}, frozenset(), (True, True), "--thorough --quick"),
    ],
)
def test_what_is_typed_goes_before_the_opposite_in_a_file(origins, off, asked, expected):
    with config.using({name: (True, origin) for name, origin in origins.items()}):
        if isinstance(expected, str):
            with pytest.raises(ProbeError, match=expected):
                extent(off, thorough=asked[0], quick=asked[1])
        else:
            assert extent(off, thorough=asked[0], quick=asked[1]) == expected


@pytest.mark.parametrize("name", ["baseline", "levers"])
def test_what_is_no_run_is_told_before_anything_is_measured(name, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "prepared", lambda *_: 1 / 0)
    asked = GateRequest(Source.of(tmp_path / "pairs.jsonl", None, None, False), ModelOptions())
    path = tmp_path / "none.json"
    judging = GateOptions(baseline=path if name == "baseline" else None)
    with pytest.raises(ProbeError, match="No such file"):
        whole.gate_pairs(asked, judging, levers=path if name == "levers" else None)


def test_a_baseline_needs_the_gaps_that_are_compared(tmp_path, monkeypatch, bias_run):
    """It had been told afterwards that the baseline is to be measured again, which changes nothing."""
    monkeypatch.setattr(whole, "prepared", lambda *_: 1 / 0)
    source = Source.of(tmp_path / "pairs.jsonl", None, None, False)
    asked = GateRequest(source, ModelOptions(), off=frozenset({"bias"}))
    with pytest.raises(ProbeError, match="which --no-bias leaves out"):
        whole.gate_pairs(asked, GateOptions(baseline=save_run(bias_run, tmp_path)))
