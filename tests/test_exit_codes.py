"""Exit codes and one-line errors; each code once through a real process."""

import json
import signal
import subprocess
import sys
import time

import pytest

PAIR = {"prompt": "Why?", "chosen": "Because it is so.", "rejected": "No idea at all."}


def process(*arguments, cwd):
    command = [sys.executable, "-m", "probe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.fixture
def file(tmp_path):
    def write(*rows):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
        return path

    return write


def one_line(done, *parts):
    assert (done.code, done.out) == (2, "")
    for part in parts:
        assert part in done.line


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, ("explain", "PB101")), (1, ("data", "--check", "pairs.jsonl")), (2, ("bais",))],
)
def test_codes_of_a_process(file, tmp_path, code, words):
    """Success, a verdict that fails, a wrong command; a crash and Ctrl-C stand below."""
    file({**PAIR, "chosen": ""})
    done = process(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert ("bais" in done.stderr) is (code == 2)
    assert code != 2 or "Did you mean 'bias'? See " in done.stderr


def test_a_bad_flag(probe, file):
    one_line(probe("bias", file(PAIR), "--no-such-flag"), "--no-such-flag", "probe bias --help")


def test_a_missing_file(probe, tmp_path):
    one_line(probe("bias", tmp_path / "none.jsonl"), "none.jsonl", "No such file")


def test_an_empty_file(probe, file):
    one_line(probe("bias", file("")), "holds no pairs")


def test_every_line_bad(probe, file):
    done = probe("bias", file("{}\n", "[]\n", "nonsense\n"))
    assert done.code == 2
    assert [f"pairs.jsonl:{line}: " in done.err for line in (1, 2, 3)] == [True] * 3


def test_twenty_bad_lines_are_shown_and_the_rest_counted(probe, file):
    done = probe("bias", file(PAIR, *["{}\n"] * 33))
    assert done.code == 2
    assert done.err.count("pairs.jsonl:") == 21
    assert "13 more" in done.err


def test_an_unknown_model(probe, file, tmp_path):
    one_line(probe("bias", file(PAIR), "--model", tmp_path / "nothing"), "nothing", "no such directory")
    one_line(
        probe("bias", file(PAIR), "--model", "nobody/nothing"),
        "nobody/nothing",
        "not a local directory, not a GGUF file",
    )


def test_pickled_weights_are_refused(probe, file, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    one_line(probe("bias", file(PAIR), "--model", tmp_path / "model"), "no safetensors", "can run code")


@pytest.mark.parametrize(
    ("flag", "value"), [("--format", "pdf"), ("--dtype", "int3"), ("--device", "abacus")]
)
def test_values_that_are_none(probe, file, flag, value):
    one_line(probe("bias", file(PAIR), flag, value), value)


def test_a_code_that_is_none(probe):
    one_line(probe("explain", "PB999"), "PB999")


def test_a_crash_is_three_never_one(tmp_path):
    code = (
        "import sys, probe.explain\n"
        "def broken(): raise RuntimeError('boom')\n"
        "probe.explain.explanations = broken\n"
        "import probe.commands.explain as e; e.explanations = broken\n"
        "from probe.__main__ import main\n"
        "sys.argv = ['probe', 'explain', 'PB101']\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert "boom" in done.stderr


def _hear_ctrl_c():
    """A job that a shell put in the background ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _files(store):
    return list(store.parent.glob(f"{store.name}*")) if store.exists() else []


def test_ctrl_c_is_130_and_keeps_what_was_scored(tmp_path, tiny_model_dir):
    rows = [{**PAIR, "prompt": f"Why is {i} a number? " * 8} for i in range(20_000)]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "probe", "bias", path, "--model", tiny_model_dir, "--templates", "none"]
    store = tmp_path / ".probe" / "scores.sqlite"
    with subprocess.Popen(
        list(map(str, command)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    ) as running:
        try:
            while running.poll() is None and sum(f.stat().st_size for f in _files(store)) < 100_000:
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=100)
        finally:
            running.kill()
    assert running.returncode == 130
    assert out == ""
    assert "interrupted" in err and "the same command goes on" in err
    assert store.stat().st_size > 0
