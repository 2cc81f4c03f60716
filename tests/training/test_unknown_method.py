"""An unknown method is an error wherever it can be named, with what can be, and no model is loaded."""

import dataclasses
import json

import pytest

import probe as api
from probe import __main__
from probe.errors import ProbeError
from probe.records import Decision, Reason, Run
from probe.runs import save_run
from probe.training.methods import METHODS

SAID = f"'ppo' is not a method. Use {', '.join(METHODS)}"
STAGES = ", or stages such as sft+dpo."


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A project with a pair file and a saved gate that decided on an unknown method; no model is loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("probe.scoring.session.Session.open", loads)
    rows = [{"prompt": f"Say {i}:", "chosen": f" yes {i}", "rejected": f" no {i}"} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    decision = Decision("sft+ppo", ("sft", "ppo"), {}, (Reason("", "why", "source"),))
    run = Run("gate", "2026-11-26T00:00:00Z", decision=decision)
    save_run(run, tmp_path / "gated")
    save_run(dataclasses.replace(run, decision=None), tmp_path / "other")
    (tmp_path / ".probe").mkdir()
    (tmp_path / ".probe/last.json").write_text(json.dumps({"run": "gated"}))


def loads(*_):
    raise AssertionError("a model was to be loaded")


def said(capsys, monkeypatch, *command):
    monkeypatch.setattr("sys.argv", ["probe", *command])
    assert __main__.main() == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def offered(command):
    """Stages are offered where they can be named; one step of a planned run is of one loss."""
    return "." if command.startswith("negatives") else STAGES


@pytest.mark.parametrize(
    "command",
    [
        "train pairs.jsonl --method ppo",
        "train pairs.jsonl --method sft+ppo",
        "trial pairs.jsonl --method ppo",
        "trial pairs.jsonl --methods dpo,ppo",
        "negatives pairs.jsonl --method ppo",
        "negatives pairs.jsonl --method ppo --no-numerics",
    ],
)
def test_a_command(command, capsys, monkeypatch):
    assert said(capsys, monkeypatch, *command.split()).endswith(SAID + offered(command))


@pytest.mark.parametrize("command", ["train", "trial", "negatives"])
def test_a_config_file(command, tmp_path, capsys, monkeypatch):
    (tmp_path / "probe.toml").write_text(f'[{command}]\nmethod = "ppo"\n')
    assert said(capsys, monkeypatch, command, "pairs.jsonl").endswith(SAID + offered(command))


@pytest.mark.parametrize(
    "command",
    [
        "gate gated",
        "gate other --levers gated",
        "gate other --baseline gated",
        "report gated",
        "report other gated",
        "export gated --to trl",
        "compare gated other",
        "train --method auto",
        "sample --replace-trivial gated",
    ],
)
def test_a_saved_run(command, capsys, monkeypatch):
    line = said(capsys, monkeypatch, *command.split())
    assert "decision.stages" in line and line.endswith(f"{SAID}.")


def test_the_python_interface():
    for options in ({"method": "ppo"}, {"methods": ("dpo", "ppo")}):
        with pytest.raises(ProbeError, match="'ppo' is not a method"):
            api.trial("pairs.jsonl", options=options)
