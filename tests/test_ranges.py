"""Every number that a flag or a config takes has a range, held before anything is read or loaded."""

import math
import re
from importlib import import_module
from inspect import signature
from typing import get_args, get_type_hints

import pytest

from probe import __main__, ranges
from probe.cli import COMMANDS
from probe.gate.conditions import LIMIT_KEYS
from probe.probes.data.limits import DATA_LIMITS
from probe.training.recipes import Recipe


def numbers():
    """(command, parameter) of every option that is a number."""
    for command in COMMANDS:
        function = getattr(import_module(f"probe.commands.{command}"), command)
        hints = get_type_hints(function)
        for name in signature(function).parameters:
            if {hints[name], *get_args(hints[name])} & {int, float}:
                yield command, name


FLAGS = {"most": {"trial": "pairs"}}
NUMBERS = list(numbers())


@pytest.mark.parametrize(("command", "name"), NUMBERS)
def test_every_number_has_a_range(command, name):
    assert name in ranges.RANGES
    default = signature(getattr(import_module(f"probe.commands.{command}"), command)).parameters[name].default
    assert default is None or ranges.RANGES[name].holds(default)


def outside(name):
    known = ranges.RANGES[name]
    whole = any(name == n and int in kinds(c, n) for c, n in NUMBERS)
    values = [known.low - 1, known.low if known.open_low else known.low - 1]
    values += [known.high + 1] if math.isfinite(known.high) else []
    return [f"{v:.12g}" for v in values] + ([] if whole else ["nan", "inf", "-inf", "1e400"])


def kinds(command, name):
    hint = get_type_hints(getattr(import_module(f"probe.commands.{command}"), command))[name]
    return {hint, *get_args(hint)}


def probe(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["probe", *map(str, arguments)])
    code = __main__.main()
    return code, *capsys.readouterr()


@pytest.mark.parametrize(("command", "name"), NUMBERS)
def test_a_number_outside_its_range_ends_the_command_at_once(command, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flag = f"--{FLAGS.get(name, {}).get(command, name).replace('_', '-')}"
    needed = ["a", "b"] if command == "compare" else ["none.jsonl"]
    for value in outside(name):
        code, out, err = probe(monkeypatch, capsys, command, *needed, f"{flag}={value}")
        assert (code, out) == (2, ""), (value, err)
        assert err.count("\n") == 1
        assert name.replace("_", "-") in err or flag in err
        assert "No such file" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["abacus", "cuda:x", "", "cpu "])
def test_a_device_that_is_none(value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert probe(monkeypatch, capsys, "bias", "none.jsonl", "--device", value)[0] == 2
    assert probe(monkeypatch, capsys, "train", "none.jsonl", "--schedule", "sinus")[0] == 2


FLOATS = [(command, name) for command, name in NUMBERS if float in kinds(command, name)]
# Of keys that differ after the colon alone, the first of each family.
LIMITED = list({key.name.partition(":")[0]: key.name for key in reversed(LIMIT_KEYS)}.values())
CONFIGS = [
    *(f"[{command}]\n{name.replace('_', '-')} = -1\n" for command, name in NUMBERS),
    *(f"[{command}]\n{name.replace('_', '-')} = nan\n" for command, name in FLOATS),
    *(f'[gate.limits]\n"{name}" = {value}\n' for name in LIMITED for value in (-0.1, "inf", "nan")),
    *(f'[gate.groups.g]\n"{name}" = 2\n' for name in LIMITED if name != "gap" and ":" not in name),
    *(f"[data.limits]\n{name} = {value}\n" for name in DATA_LIMITS for value in (-1, "nan")),
    '[[accept]]\ncode = "PB202"\nreason = "r"\nlimit = nan\n',
]  # fmt: skip


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_with_a_number_outside_its_range(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "probe.toml").write_text(text)
    command = text.split("]")[0].strip("[").split(".")[0].replace("accept", "gate")
    needed = ["a", "b"] if command == "compare" else ["none.jsonl"]
    code, out, err = probe(monkeypatch, capsys, command, *needed)
    assert (code, out) == (2, "")
    assert "probe.toml" in err
    assert re.search("must be|finite", err)


def test_the_recipes_are_in_their_ranges():
    for name in ranges.RANGES.keys() & set(Recipe.__dataclass_fields__):
        value = Recipe.__dataclass_fields__[name].default
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert ranges.RANGES[name].holds(value), name
