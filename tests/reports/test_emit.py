"""Where a run goes: files beside run.json, stdout, the step summary, the note for `probe train`."""

import dataclasses
import io
import json
import sys

import pytest

from probe.errors import ProbeError
from probe.records import run_to_json
from probe.reports.answer import answered
from probe.reports.emit import emit, parse_formats, show_run
from probe.reports.renderers import RENDERERS


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_text_goes_to_stdout_and_wrote_to_stderr(bias_run, tmp_path, capsys):
    emit(bias_run, None, tmp_path / "out", rows=[{"id": "a"}, {"id": "b"}])
    out, err = capsys.readouterr()
    assert "favours CICO" in out and "Wrote" not in out
    assert err.startswith("Wrote") and "run.json" in err and "scores.jsonl" in err
    assert (tmp_path / "out/scores.jsonl").read_text().splitlines() == ['{"id": "a"}', '{"id": "b"}']


def test_json_on_stdout_is_the_saved_run_and_nothing_else(bias_run, tmp_path, capsysbinary):
    emit(bias_run, ["json"], tmp_path / "out")
    out = capsysbinary.readouterr().out
    assert json.loads(out) == run_to_json(answered(bias_run))
    assert out == (tmp_path / "out/run.json").read_bytes()


def test_a_format_with_a_path_leaves_stdout_to_the_text(bias_run, tmp_path, capsys):
    emit(bias_run, ["json=sub/copy.json"], tmp_path / "out")
    assert "favours CICO" in capsys.readouterr().out
    assert json.loads((tmp_path / "sub/copy.json").read_text())["command"] == "bias"


def test_all_holds_for_a_text_that_goes_to_a_file(bias_run, tmp_path, capsys):
    """It had held for the terminal alone; the file ended in "everything else: --all"."""
    for everything in (False, True):
        emit(bias_run, ["text=all.txt"], tmp_path / "out", everything=everything)
        text = (tmp_path / "all.txt").read_text()
        assert ("everything else: --all" in text, "leaning most to" in text) == (not everything, everything)


def test_directories_are_new_each_time(bias_run, capsys):
    first, second = emit(bias_run, None, None), emit(bias_run, None, None)
    assert first != second and "bias-cico_insulin" in first.name


def test_an_unknown_format_names_the_near_one():
    with pytest.raises(ProbeError, match="Did you mean json"):
        parse_formats(["jsn"])
    with pytest.raises(ProbeError, match="There are text"):
        parse_formats(["zzz=file"])


def test_only_a_judged_run_is_noted_for_training(bias_run, gate_run, tmp_path, capsys):
    emit(bias_run, None, None)
    assert not (tmp_path / ".probe/last.json").exists()
    directory = emit(dataclasses.replace(gate_run, command="gate"), None, None)
    note = json.loads((tmp_path / ".probe/last.json").read_text())
    assert note["run"] == str((directory / "run.json").resolve())
    assert note["pairs"]["sha256"] == "ab" * 32


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_survives_any_terminal_encoding(bias_run, tmp_path, monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    emit(bias_run, ["text", "json"], tmp_path / "out")
    sys.stdout.flush()
    text = raw.getvalue().split(b"{\n", 1)[0]
    assert text.isascii() == (encoding != "utf-8")
    assert b"favours CICO" in text


def test_every_format_is_a_pure_function_of_the_run(gate_run):
    for name, render in RENDERERS.items():
        assert render(gate_run) == render(gate_run), name


def test_the_step_summary_is_appended_to(bias_run, gate_run, tmp_path, monkeypatch, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    emit(bias_run, ["json"], None)
    show_run(gate_run, parse_formats(None))
    show_run(gate_run, parse_formats(None), summary=False)
    text = summary.read_text()
    assert text.startswith("before\n## probe bias") and text.count("## probe") == 2


def test_a_summary_that_cannot_be_written_loses_nothing_else(bias_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    directory = emit(bias_run, None, None)
    assert (directory / "report.html").exists()
    assert "step summary was not written" in capsys.readouterr().err
