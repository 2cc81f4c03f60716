"""Settings: flag > file > default, and every way a file can be wrong."""

import re
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from probe import config
from probe.cli import app
from probe.commands.configured import configured, use_file
from probe.errors import ProbeError
from probe.files import writable


def make_app() -> typer.Typer:
    """Two commands that share `--alpha`, each printing what it was given."""
    app = typer.Typer()

    def bias(
        path: str,
        alpha: float = 0.05,
        max_length: Annotated[int | None, typer.Option()] = None,
        cached: Annotated[bool, typer.Option("--cached/--no-cached")] = True,
    ) -> None:
        print(path, alpha, max_length, cached, config.current()["origins"]["alpha"])

    def gate(path: str, alpha: float = 0.05, force: bool = False) -> None:
        print(path, alpha, force, config.section("gate.limits"))

    def data(path: str) -> None:
        print(path)

    app.command("bias")(configured(bias))
    app.command("data")(configured(data))
    app.command("gate")(configured(gate))

    @app.callback()
    def root(context: typer.Context) -> None:
        use_file(context)

    return app


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the app in a directory with the given probe.toml; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str, toml: str = "", name: str = "probe.toml") -> str:
        (tmp_path / name).write_text(toml)
        make_app()(list(argv), standalone_mode=False)
        return capsys.readouterr().out.strip()

    return call


def test_default_without_a_value(run):
    assert run("bias", "x") == "x 0.05 None True default"


def test_file_beats_default_and_says_so(run):
    toml = "alpha = 0.01\nmax-length = 9\ncached = false"
    assert run("bias", "x", toml=toml) == "x 0.01 9 False probe.toml"


def test_flag_beats_file_even_at_the_default_value(run):
    assert run("bias", "x", "--alpha", "0.05", toml="alpha = 0.01") == "x 0.05 None True flag"


def test_a_command_table_beats_the_top_and_stays_with_its_command(run):
    toml = "alpha = 0.01\n[gate]\nalpha = 0.2"
    assert run("gate", "x", toml=toml).startswith("x 0.2 ")
    assert run("bias", "x", toml=toml).startswith("x 0.01 ")


def test_pyproject_table_and_its_origin(run):
    toml = "[tool.probe]\nalpha = 0.01"
    assert run("bias", "x", toml=toml, name="pyproject.toml").endswith("pyproject.toml [tool.probe]")


def test_pyproject_without_our_table_is_no_config(run, tmp_path):
    assert run("bias", "x", toml="[project]\nname = 'a'", name="pyproject.toml").endswith("default")


def test_gate_limits_reach_the_command(run):
    toml = "[gate.limits]\nsurface_accuracy = 0.8\n[gate.groups.advice]\ntrial-accuracy = false"
    assert run("gate", "x", toml=toml) == "x 0.05 False {'surface_accuracy': 0.8}"


def test_show_config_names_value_and_origin(run):
    shown = run("bias", "x", "--max-length", "7", "--show-config", toml="alpha = 0.01")
    rows = [line.split() for line in shown.splitlines()[1:]]
    assert ["alpha", "0.01", "probe.toml"] in rows
    assert ["max-length", "7", "flag"] in rows
    assert ["cached", "True", "default"] in rows


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("alhpa = 1", ["probe.toml", '"alhpa"', '"alpha"']),
        ("[gate]\nmax_length = 1", ["probe.toml [gate]", '"max_length"']),
        ("[limits]\nsurface_accuracy = 1", ["probe.toml: [limits]", "Write [gate.limits] or [data.limits]."]),
        ("[groups.a]\ntrial_accuracy = 1", ["Write [gate.groups]."]),
        ("[gate.limits]\nsurface_acuracy = 1", ["[gate.limits]", '"surface-accuracy"']),
        ("[gate.groups.a]\ntrial = 1", ["[gate.groups.a]", '"trial-accuracy"']),
        ("[data.limits]\ntruncatd = 0.1", ["[data.limits]", '"truncated"']),
        ("[gate.limits]\nsurface_accuracy = true", ["surface_accuracy", "false"]),
        ("[gate.limits]\nsurface_accuracy = 'x'", ["surface_accuracy", "'x'"]),
        ("alpha = 'x'", ["probe.toml", '"alpha"', "'x'"]),
        ("max-length = 1.5", ["probe.toml", '"max-length"']),
        ("bias = 3", ["probe.toml", '"bias"', "[bias]"]),
        ("[gate]\nforce = true", ['"force"', "command line"]),
        ("[[accept]]\ncode = 'PB1'", ["entry 1", '"reason"']),
        ("[[accept]]\ncode = 'PB1'\nreason = 'r'\nuntill = 3", ["entry 1", '"until"']),
        ("[[accept]]\ncode = 'PB1'\nreason = 'r'\nuntil = '2027'", ['"until"', "a day"]),
        ("[accept]\ncode = 'PB1'", ["[[…accept]]"]),
        ("[tool.probe]\nalpha = 1", ["[tool.probe]"]),
        ("alpha = ", ["probe.toml", "TOML"]),
        ("max-length = 1\nmax_length = 2", ['"max_length" is given twice', "Keep one"]),
        ("[gate.limits]\nsurface-accuracy = 0.8\nsurface_accuracy = 0.9", ["[gate.limits]", "given twice"]),
        (f"[[accept]]\ncode = 'PB202'\nreason = 'r'\nlimit = 1{'0' * 400}", ["entry 1", "a finite number"]),
    ],
)
def test_a_wrong_file_is_told_by_place_and_key(run, toml, words):
    with pytest.raises(ProbeError) as error:
        run("bias", "x", toml=toml)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_nearest_file_above_counts(tmp_path):
    (tmp_path / "probe.toml").write_text("alpha = 0.2")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert config.find_config(below).table == {"alpha": 0.2}
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.probe]\nalpha = 0.1")
    assert config.find_config(below).table == {"alpha": 0.1}


@pytest.mark.parametrize("name", ["probe.toml", "pyproject.toml"])
def test_a_mark_of_the_byte_order_is_no_fault(run, name):
    text = "alpha = 0.01" if name == "probe.toml" else "[tool.probe]\nalpha = 0.01"
    assert " 0.01 " in run("bias", "x", toml=f"\ufeff{text}", name=name)


@pytest.mark.parametrize("text", ["[tool.probe]\nalpha = 0.01", "[tool.probe.gate]\nalpha = 0.01"])
def test_what_belongs_into_the_other_file_is_told(run, text):
    with pytest.raises(ProbeError, match=r"\[tool.probe\] is for pyproject.toml.* stand at the top"):
        run("bias", "x", toml=text)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("./m", "../m"), ("../m", "../../m"), ("there/m", "../there/m"), ("org/name", "org/name"),
        ("/abs/m", "/abs/m"), ("~/m", "~/m"), ("http://host/v1", "http://host/v1"),
    ],
)  # fmt: skip
def test_a_file_names_places_from_where_it_lies(given, seen, tmp_path, monkeypatch, capsys):
    """They had been taken from the directory of the command, one below."""
    app = typer.Typer()

    def bias(model: str = "x", baseline: Path | None = None, watch: list[Path] | None = None) -> None:
        print(model, baseline, *(watch or ()), sep="\n")

    app.command("bias")(configured(bias))

    @app.callback()
    def root(context: typer.Context) -> None:
        use_file(context)

    (tmp_path / "there/m").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    (tmp_path / "probe.toml").write_text(f'model = "{given}"\nbaseline = "{given}"\nwatch = ["{given}"]\n')
    monkeypatch.chdir(tmp_path / "below")
    app(["bias"], standalone_mode=False)
    told = capsys.readouterr().out.splitlines()
    assert told == [seen, str(Path(seen)), str(Path(seen))]
    monkeypatch.chdir(tmp_path)
    app(["bias"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[0] == given
    app(["bias", "--model", "./own"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[0] == "./own"


@pytest.mark.parametrize("option", ["--model", "--adapter", "--tokenizer", "--revision"])
def test_an_empty_name_is_told_by_its_option(option, probe, tmp_path):
    """As of a shell variable that is not set; it had been "no config.json in this directory"."""
    (tmp_path / "pairs.jsonl").write_text("")
    done = probe("bias", "pairs.jsonl", option, "")
    assert (done.code, done.line) == (2, f"probe: {option} is empty. Name one, or leave it out.")
    (tmp_path / "probe.toml").write_text(f'[bias]\n{option[2:]} = ""\n')
    done = probe("bias", "pairs.jsonl")
    assert done.code == 2 and f'probe.toml [bias]: "{option[2:]}" is empty.' in done.line


def test_two_files_in_one_place_are_refused(tmp_path):
    (tmp_path / "probe.toml").write_text("")
    (tmp_path / "pyproject.toml").write_text("[tool.probe]")
    with pytest.raises(ProbeError, match="Keep one"):
        config.find_config(tmp_path)


def test_outside_the_command_line_nothing_is_set():
    config.activate(config.Config())
    assert config.current() == {"origins": {}}
    assert config.section("gate.limits") == {}


def test_a_command_leaves_no_settings_and_no_protected_inputs_to_what_runs_next(tmp_path):
    """Else the next call from Python reports this command's model as its own, and cannot write its files."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 3)
    from probe.cli import app

    for argv in (
        ["data", str(pairs)],
        ["data", str(pairs), "--show-config"],
        ["data", str(pairs), "--near", "2"],
    ):
        assert CliRunner().invoke(app, argv).output
        assert config.current() == {}
        assert writable(pairs) == pairs


def test_every_real_command_starts_under_a_config(probe, tmp_path):
    """An unknown key ends any command with 2 and one line."""
    (tmp_path / "probe.toml").write_text("nonsense = 1")
    done = probe("report", "run.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1 and '"nonsense"' in done.err


def test_the_project_root_is_not_configured_by_accident():
    assert config.find_config(Path(__file__).parent).path is None


def test_every_long_option_is_a_key_by_its_own_name(tmp_path):
    """`--all` is the parameter `everything`, and a file is written from the help."""
    from typer.main import get_command

    from probe.cli import app
    from probe.commands.configured import _written

    commands = get_command(app).commands
    names = {name: [p.name for p in command.params] for name, command in commands.items()}
    written = {name: _written(command.params) for name, command in commands.items()}
    for name, command in commands.items():
        for parameter in command.params:
            for option in (o[2:] for o in parameter.opts if o.startswith("--")):
                if option.replace("-", "_") in config.NEVER_IN_FILE or parameter.name in config.NEVER_IN_FILE:
                    continue
                file = config.ConfigFile(tmp_path / "probe.toml", {name: {option: 1}})
                assert config.defaults_for(file, names, {}, written)[name] == {parameter.name: 1}


def test_a_moment_is_no_day(tmp_path):
    """TOML has both; a moment beside a day had ended in a traceback after everything was measured."""
    text = '[[accept]]\ncode = "PB202"\nreason = "r"\nuntil = 2027-03-31T00:00:00\n'
    (tmp_path / "probe.toml").write_text(text)
    with pytest.raises(ProbeError, match=r'"until" is .*It takes a day'):
        config.defaults_for(config.find_config(tmp_path), {"gate": []}, {})


def switches_off():
    """Command and parameter of every option that leaves something out, as `--no-trial` does."""
    commands = typer.main.get_command(app).commands
    return [(name, p.name) for name in commands for p in commands[name].params if p.secondary_opts]


def test_what_an_option_leaves_out_is_false_in_a_file_and_the_message_says_so(probe, tmp_path):
    found = switches_off()
    assert ("gate", "trial") in found and ("train", "guard") in found
    for command, name in found:
        key = name.replace("_", "-")
        (tmp_path / "probe.toml").write_text(f"[{command}]\nno-{key} = true\n")
        refused = probe(command, "x.jsonl", "--show-config")
        assert refused.code == 2 and f"Write {key} = false." in refused.line, refused.err
        (tmp_path / "probe.toml").write_text(f"[{command}]\n{key} = false\n")
        assert re.search(rf"{key} +False +probe\.toml", probe(command, "x.jsonl", "--show-config").out)


def test_show_config_calls_an_option_as_it_is_typed(probe):
    """A file takes the parameter's name too, which nobody is told of: `--all` had been `everything`."""
    for command in ("bias", "data", "gate", "trial", "report"):
        shown = probe(command, "x.jsonl", "--show-config").out
        assert re.search(r"^all +False", shown, re.MULTILINE) and "everything" not in shown
    assert re.search(r"^no-model +False", probe("unpaired", "x.jsonl", "--show-config").out, re.MULTILINE)
