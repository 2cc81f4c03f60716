"""Run files that are right JSON and no run: one line and exit code 2 from whatever reads them."""

import copy
import json
import random
import sys

import pytest

from probe.__main__ import main
from probe.records import run_to_json
from probe.runs import load_run, save_run

WRONG = [None, True, "x", [], {}, [1], [{}], 10**400, 1e308, -1, ["a", "b", "c"], {"low": "x"}]
FORMATS = ("text", "markdown", "html", "json", "junit", "github")


def places(value, at=()):
    """The place of every value inside `value`, of lists the first two items only."""
    yield at
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    )
    for key, item in items:
        yield from places(item, (*at, key))


def changed(data, at, value):
    data = copy.deepcopy(data)
    inner = data
    for key in at[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return data


def variants(run, most):
    data = run_to_json(run)
    every = [(at, value) for at in places(data) if at for value in (*WRONG, KeyError)]
    for at, value in random.Random(0).sample(every, most):
        yield at, value, changed(data, at, value)


@pytest.mark.parametrize("name", ["bias_run", "gate_run"])
def test_a_tampered_run_is_shown_or_refused_in_one_line(
    name, request, tmp_path, monkeypatch, capsys, record_property
):
    record_property("tried", 220)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.json"
    codes = set()
    for i, (at, value, data) in enumerate(variants(request.getfixturevalue(name), 220)):
        path.write_text(json.dumps(data))
        command = ("report", path, "--format", FORMATS[i % 6]) if i % 3 else ("gate", path)
        monkeypatch.setattr(sys, "argv", ["probe", *map(str, command)])
        code = main()
        out, err = capsys.readouterr()
        codes.add(code)
        assert code in (0, 1, 2), (at, value, err)
        assert "Traceback" not in err
        if code == 2:
            assert (out, err.count("\n")) == ("", 1), (at, value, err)
            assert str(path) in err or "config.alpha" in err or "gate.limits" in err
    assert codes == {0, 1, 2} or name == "bias_run"


@pytest.mark.parametrize("shape", FORMATS)
def test_a_run_without_one_key_of_its_inputs_is_shown_or_refused(
    shape, bias_run, tmp_path, monkeypatch, capsys
):
    """Each key alone: a run of an older version, or of another tool, says less of its inputs."""
    path = tmp_path / "run.json"
    data = run_to_json(bias_run)
    for at in (at for at in places(data["inputs"]) if at):
        path.write_text(json.dumps(changed(data, ("inputs", *at), KeyError)))
        monkeypatch.setattr(sys, "argv", ["probe", "report", str(path), "--format", shape])
        assert main() in (0, 1, 2), (at, capsys.readouterr().err)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema_version": 1, "created": NaN}', "1e999", "[1e999]", "null", '"a"', ""]
)
def test_json_that_is_no_run(text, tmp_path, monkeypatch, capsys):
    path = tmp_path / "run.json"
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["probe", "report", str(path)])
    assert main() == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_what_is_saved_is_loaded(bias_run, gate_run, tmp_path):
    for run in (bias_run, gate_run):
        save_run(run, tmp_path)
        assert run_to_json(load_run(tmp_path)) == run_to_json(run)
