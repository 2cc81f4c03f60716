"""What leaves the process: escaped, and with the exit code that the verdict has, whatever the streams do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.__main__ import main
from probe.errors import ProbeError
from probe.escape import inert
from probe.reports.renderers import RENDERERS
from probe.runs import save_run
from probe.streams import Outlet

HOSTILE = "a\x1b[2J\x1b]0;t\x07\n::error::x\r\u202eb"


def shell(command, **env):
    env = {**os.environ, "PROBE": f"{sys.executable} -m probe", **env}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=120)


@pytest.fixture(scope="module")
def failed(gate_run, tmp_path_factory):
    """A saved run whose verdict is a failure: judging it again exits with 1."""
    return save_run(gate_run, tmp_path_factory.mktemp("failed"))


STREAMS = {
    "head": "| head -c 10 >/dev/null",
    "a reader that never reads": "| true",
    "stdout closed": ">&-",
    "stderr closed": "2>&- >/dev/null",
    "stdin closed": "<&- >/dev/null",
    "all closed": ">&- 2>&- <&-",
    "stderr full": "2>/dev/full >/dev/null",
}


@pytest.mark.parametrize("redirect", STREAMS.values(), ids=STREAMS)
def test_the_exit_code_is_the_verdicts_whatever_the_streams_do(redirect, failed):
    done = shell(f"{{ $PROBE gate {failed} {redirect}; echo ${{PIPESTATUS[0]}} >&3; }} 3>&1")
    assert done.stdout.splitlines()[-1] == "1"
    done = shell(f"{{ $PROBE report {failed} {redirect}; echo ${{PIPESTATUS[0]}} >&3; }} 3>&1")
    assert done.stdout.splitlines()[-1] == "0"
    done = shell(f"{{ $PROBE report {failed}.none {redirect}; echo ${{PIPESTATUS[0]}} >&3; }} 3>&1")
    assert done.stdout.splitlines()[-1] == "2"


@pytest.mark.parametrize("redirect", ["a reader that never reads", "stdout closed"])
def test_so_it_is_in_every_format_and_no_word_is_said(redirect, failed):
    """Whoever stops reading wants no more of it: nothing is written on stderr either."""
    loop = f"for f in {' '.join(RENDERERS)}; do {{ $PROBE gate {failed} --format $f {STREAMS[redirect]}; "
    done = shell(loop + "echo $f ${PIPESTATUS[0]} >&3; }; done 3>&1")
    assert done.stdout.splitlines() == [f"{name} 1" for name in RENDERERS]
    assert done.stderr == ""


@pytest.mark.parametrize("format", ["text", "json", "html"])
def test_a_report_that_is_lost_is_no_success(format, failed):
    done = shell(f"$PROBE report {failed} --format {format} >/dev/full")
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert shell(f"$PROBE gate {failed} --format {format} >/dev/full").returncode == 1


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["probe", *map(str, arguments)])
    code = main()
    out, err = capsys.readouterr()
    return code, out, err


def raw_controls(text):
    return {c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028"}


ERRORS = [
    ("bias", HOSTILE), ("data", HOSTILE), ("report", HOSTILE), ("explain", HOSTILE), (HOSTILE,),
    ("bias", "--" + HOSTILE), ("autopsy", HOSTILE), ("export", HOSTILE, "--to", HOSTILE),
    ("gate", HOSTILE, "--goal", HOSTILE), ("rollback", HOSTILE), ("bias", "x.jsonl", "--format", HOSTILE),
    ("data", "x.jsonl", "--fields", HOSTILE), ("bias", "x.jsonl", "--alpha", HOSTILE),
]  # fmt: skip


@pytest.mark.parametrize("arguments", ERRORS, ids=str)
def test_an_error_is_one_line_of_harmless_characters(arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert not raw_controls(err)


def test_ids_and_keys_of_a_file_are_escaped_in_its_errors(monkeypatch, capsys, tmp_path):
    import json

    rows = [
        {"id": HOSTILE, "prompt": "p", "chosen": "a", "rejected": "b"},
        {"id": HOSTILE, "prompt": "p", "chosen": "a", "rejected": "c"},
        {HOSTILE: 1},
        {"prompt": "p", "chosen": "a", "rejected": {HOSTILE: 1}},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run(monkeypatch, capsys, "gate", path)
    assert (code, out) == (2, "")
    assert not raw_controls(err)
    assert all(line.removeprefix("probe: ").startswith(str(path)) for line in err.splitlines())


def test_a_message_with_several_lines_says_so():
    assert str(ProbeError("a\nb")) == "a↵b"
    assert str(ProbeError("a", "b")) == "a\nb"


COMMANDS = ("::error::x", "  ::error::x", "\t::stop-commands::x", "##[error]x", "a ##[group]b", "::::")


@pytest.mark.parametrize("text", COMMANDS)
@pytest.mark.parametrize("before", ["", "words\n", " "])
def test_no_line_of_a_ci_log_is_a_command(text, before, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    outlet = Outlet(sys.stderr)
    for part in (before, text, "\n"):
        outlet.write(part)
    shown = capsys.readouterr().err
    assert not is_command(shown)
    assert "error" not in text or "error" in shown


def is_command(log):
    """What the runner takes for one: a line that begins, after white space, with `::`; `##[` anywhere."""
    return any(line.strip().startswith("::") or "##[" in line for line in log.split("\n"))


@given(st.text(alphabet=":#[ \na\t\x85", max_size=30))
def test_inert_text_holds_no_command(text):
    assert not is_command(inert(text))
    assert inert(inert(text)) == inert(text)


@pytest.mark.parametrize("format", ["text", "markdown", "html", "junit", "json"])
def test_no_report_gives_a_command(format, gate_run, tmp_path, monkeypatch, capsysbinary):
    import dataclasses

    traps = tuple(dataclasses.replace(f, message="##[error]x ::error::y") for f in gate_run.findings)
    path = save_run(dataclasses.replace(gate_run, findings=traps), tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(sys, "argv", ["probe", "report", str(path), "--format", format])
    assert main() == 0
    log = capsysbinary.readouterr().out.decode()
    assert format == "json" or not is_command(log)
    assert not any(line.strip().startswith("::") for line in log.splitlines())


def test_an_encoding_without_the_character_loses_no_report(failed):
    done = shell(f"$PROBE explain PB101; $PROBE gate {failed}", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert "Traceback" not in done.stderr


def test_closed_descriptors_are_not_taken_by_files(tmp_path):
    """Else a database could be opened as descriptor 1, and a print would land in it."""
    code = (
        "import os, sys\nfrom probe.streams import guarded\n"
        "with guarded() as codes:\n"
        f"    number = os.open({str(Path(tmp_path) / 'x')!r}, os.O_CREAT | os.O_RDWR)\n"
        "    codes[0] = 0 if number > 2 else 9\n"
        "sys.exit(codes[0])"
    )
    assert shell(f'{sys.executable} -c "$CODE" >&- 2>&- <&-', CODE=code).returncode == 0
