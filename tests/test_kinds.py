"""A setting takes a value of its own kind: of every option in a config file, every argument in Python."""

import inspect
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import pytest
from typer.main import get_command

import probe
from probe import api, api_inputs, config
from probe.cli import app
from probe.commands.configured import use_file
from probe.errors import ProbeError
from probe.kinds import is_of, kinds_of

VALUES = {bool: True, int: 3, float: 0.25, str: "text", date: date(2027, 3, 31), list: ["text"]}
TAKEN = {bool: {bool}, int: {int}, float: {int, float}, str: {str}, Path: {str}}
COMMANDS = get_command(app).commands


def options():
    """(command, key, kinds) of every option that a file may hold."""
    for name, command in COMMANDS.items():
        for parameter in command.params:
            key = next((o[2:] for o in parameter.opts if o.startswith("--")), None)
            names = {parameter.name, (key or "").replace("-", "_")}
            if parameter.param_type_name == "option" and key and not names & config.NEVER_IN_FILE:
                yield name, key, kinds_of(command.callback.__annotations__[parameter.name])


OPTIONS = list(options())


def refusal(tmp_path, monkeypatch, text):
    """What is wrong with a config file, or nothing."""
    (tmp_path / "probe.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    context = SimpleNamespace(command=SimpleNamespace(commands=COMMANDS), obj=None, default_map=None)
    use_file(context)
    return str(context.obj) if isinstance(context.obj, ProbeError) else ""


def toml(value):
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else repr(value)
        if isinstance(value, str)
        else str(value)
    )


def test_every_option_has_a_kind():
    assert len(OPTIONS) > 150 and all(kinds for _, _, kinds in OPTIONS)


@pytest.mark.parametrize("given", VALUES, ids=lambda kind: kind.__name__)
def test_an_option_takes_its_own_kind_and_no_other(given, tmp_path, monkeypatch):
    for command, key, kinds in OPTIONS:
        value = VALUES[given]
        items = kinds - {list}
        own = given is list and str in items if list in kinds else any(given in TAKEN[kind] for kind in items)
        told = refusal(tmp_path, monkeypatch, f"[{command}]\n{key} = {toml(value)}\n")
        says = told.startswith(f'probe.toml [{command}]: "{key}" is ') and " Write " in told
        assert says is not own, (command, key, told)
        assert "\n" not in told


def test_a_list_of_one_is_told_how_it_is_written_and_what_it_takes(tmp_path, monkeypatch):
    told = refusal(tmp_path, monkeypatch, 'format = "json"\n')
    assert told == (
        "probe.toml: \"format\" is 'json'. Write a list: format = ['json'] (text, json, markdown, html, "
        "junit, github[=PATH])."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[data]\nformat = ["jsno"]\n', "probe.toml [data]: --format jsno: no such format. Did you"),
        ('format = ["x"]\n', "probe.toml: --format x: no such format. There are text, json"),
        ('fields = "prompt"\n', "probe.toml: --fields: 'prompt' is not a mapping"),
    ],
)  # fmt: skip
def test_a_word_from_a_file_is_refused_with_its_place(text, said, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    (tmp_path / "probe.toml").write_text(text)
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, ["data", "pairs.jsonl"]).exception
    assert isinstance(error, ProbeError) and str(error).startswith(said)
    typed = CliRunner().invoke(app, ["data", "pairs.jsonl", "--format", "y", "--fields", "x"]).exception
    assert str(typed).startswith("--")


def test_kinds_of_hints():
    assert kinds_of(Annotated[int | None, "help"]) == {int}
    assert kinds_of(list[str] | None) == {list, str}
    assert kinds_of("int") == kinds_of(dict[str, bool]) == kinds_of(inspect.Parameter) == frozenset()


@pytest.mark.parametrize(
    ("value", "kinds", "expected"),
    [
        (2.0, {int}, True),
        (2.5, {int}, False),
        (float("inf"), {int}, False),
        (float("nan"), {float}, True),
        (np.int64(3), {int}, True),
        (np.float32(0.5), {float}, True),
        (np.bool_(True), {int, float}, False),
        (np.bool_(True), {bool}, True),
        (1, {bool}, False),
        (datetime(2027, 3, 31), {date}, False),
        (Path("x"), {str, Path}, True),
        ([1, True], {list, int}, False),
        ([1, 2], {list, int}, True),
        ("1", {int, float, bool}, False),
    ],
)
def test_a_value_fits_its_own_kinds(value, kinds, expected):
    assert is_of(value, frozenset(kinds)) is expected


CALLS = [api.bias, api.data, api.show, api.negatives, api.trial, api.gate, api.autopsy]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_an_argument_in_python_takes_no_other_kind(call, tmp_path):
    hints = api_inputs._hints(call.__wrapped__)
    own = [p.name for p in inspect.signature(call).parameters.values() if p.kind is p.KEYWORD_ONLY]
    loads = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(call).parameters.values())
    for name in [*own, *(api_inputs.Loading.__annotations__ if loads else ())]:
        kinds = kinds_of(hints[name])
        wrong = (
            ([True, "3"] if bool not in kinds else [1, "no"]) if kinds and kinds <= {bool, int, float} else []
        )
        for value in wrong:
            with pytest.raises(ProbeError, match=f"{name}={value!r}: no such value can be taken. Give "):
                call(tmp_path / "none.jsonl", **{name: value})


@pytest.mark.parametrize(
    ("options", "said"),
    [({"permutations": True}, "permutations=True"), ({"steps": 0}, "steps=0: must be at least 1")],
)
def test_further_options_are_held_to_their_kinds_and_ranges(options, said, tmp_path):
    call = probe.trial if "steps" in options else probe.negatives
    with pytest.raises(ProbeError, match=said):
        call([{"prompt": "a", "chosen": "b", "rejected": "c"}], options=options)
