"""`--help`: every option in a group and on one line; every command with its whole sentence; bare `probe`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from probe.cli import COMMANDS, app
from probe.commands.help_page import OPTION_GROUPS, OTHER, group_of

FOUND = typer.main.get_command(app).commands


def page(name, columns=80):
    """The help of a command, in this process: one start for all."""
    command = FOUND[name]
    context = type(command).context_class(
        command, info_name=name, terminal_width=columns, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_one_group_and_on_one_line(name):
    options = [p for p in FOUND[name].params if p.param_type_name == "option"]
    assert {p.name for p in options if group_of(name, p.name) == OTHER} == set()
    lines = page(name).splitlines()
    for option in FOUND[name].params:
        shown = option.name if option.param_type_name == "argument" else option.opts[0]
        off = [*getattr(option, "secondary_opts", ()), shown]
        (line,) = [line for line in lines if line.split()[:1] in [[word] for word in off]]
        assert len(line.split("  ")) >= 2 and len(line) <= 80
        following = lines[lines.index(line) + 1 :][:1]
        assert not following or not following[0].startswith(" " * 8), f"{line}\n{following}"


def test_no_parameter_has_two_groups():
    named = [name for names in OPTION_GROUPS.values() for name in names]
    assert len(named) == len(set(named))


def test_no_group_names_an_option_that_there_is_not():
    known = {p.name for command in FOUND.values() for p in command.params}
    own = {"version", "install_completion", "show_completion", "help"}
    assert {name.split(".")[-1] for names in OPTION_GROUPS.values() for name in names} <= known | own


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_list_of_commands_is_whole_at_any_width(probe, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = probe("--help")
    words = "".join(done.out.split())
    assert "..." not in words.replace("[ARGS]...", "")
    for sentence in COMMANDS.values():
        assert len(sentence.split()) > 3 and "".join(sentence.split()) in words
    if columns == 80:
        rows = done.out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        assert [row.split()[0] for row in rows] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_the_first_sentence_of_the_command_itself(name):
    told = " ".join(FOUND[name].help.split())
    assert told.startswith(f"{COMMANDS[name]}.")


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys; from probe.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "probe.cli" in done.stdout.split()
    assert not {f"probe.commands.{name}" for name in COMMANDS} & set(done.stdout.split())


def test_a_wrong_first_command_shows_the_help(probe):
    done = probe()
    assert done.code == 0 and done.err == ""
    assert done.out == probe("--help").out


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [("probe g", 1, "gate"), ("probe gate --no-t", 2, "--no-trial"), ("probe bias --mod", 2, "--model")],
)
def test_the_shell_completes_commands_and_options(words, index, expected):
    script = Path(sys.executable).with_name("probe")
    if not script.exists():
        pytest.skip("the command is not installed as a script")
    asked = {"_PROBE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    done = subprocess.run([script], capture_output=True, text=True, timeout=120, env={**os.environ, **asked})
    found = done.stdout.split()
    assert done.returncode == 0 and expected in found
    assert all(word.startswith(words.split()[-1]) for word in found)
