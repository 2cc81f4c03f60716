"""`probe label`: what is on the screen, and a session driven in a real terminal, killed and resumed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from probe.commands.label_keys import PressedKeys
from probe.commands.label_screen import question_lines
from probe.pairs.audit import AnswerLog, LabelAnswer, Question
from probe.pairs.identity import content_digest, handed_options
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair

PYTHON = sys.executable


def plain(question: Question, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=True, _environ={})
    return ["".join(s.text for s in line) for line in question_lines(question, console, width)]


def asked(chosen: str, rejected: str, left: str = "chosen", prompt: str | None = "why?") -> Question:
    return Question(Pair("1", prompt, chosen, rejected), "d", left)


class TestScreen:
    @pytest.mark.parametrize("width", [40, 59, 60, 80, 133])
    @pytest.mark.parametrize(
        "text", ["word " * 200, "x" * 500, "字" * 300, "a\tb\r\nc\n\nd", "\x1b[2J\x1b[H\x07\u202eevil\x9b31m"]
    )
    def test_every_line_has_the_width_and_moves_no_cursor(self, text: str, width: int) -> None:
        for line in plain(asked(text, "short", prompt=text), width):
            assert cell_len(line) == width
            assert line.isprintable()

    def test_sides_stand_as_shuffled_and_unmarked(self) -> None:
        straight, swapped = plain(asked("GOOD", "BAD"), 80), plain(asked("GOOD", "BAD", "rejected"), 80)
        assert [line.split() for line in straight][-1] == ["GOOD", "BAD"]
        assert [line.split() for line in swapped][-1] == ["BAD", "GOOD"]
        assert not {"chosen", "rejected"} & set(" ".join(straight + swapped).split())

    def test_long_answers_are_kept_whole(self) -> None:
        words = [f"w{i}" for i in range(900)]
        shown = " ".join(plain(asked(" ".join(words), "short"), 50)).split()
        assert [word for word in shown if word.startswith("w") and word != "why?"] == words

    @pytest.mark.parametrize("width", [40, 60, 80, 133])
    @pytest.mark.parametrize("kind", ["字", "/path_of_pages", "x=y;", "Zwei_Worte. "])
    def test_answers_without_spaces_are_kept_whole_beside_each_other(self, kind: str, width: int) -> None:
        """Both answers differ only at their ends, after as much as fills many lines."""
        shown = "".join(plain(asked(kind * 90 + "Ω", kind * 90 + "Λ"), width))
        assert (shown.count("Ω"), shown.count("Λ"), shown.count(kind[0])) == (1, 1, 180)

    def test_chat_turns_are_named(self) -> None:
        pair = Pair("1", ({"role": "user", "content": "hi"},), "yes", "no")
        assert "user: hi" in plain(Question(pair, "d", "chosen"), 80)[0]


def test_keys_are_split_from_whatever_a_read_gives() -> None:
    reads = iter(["\x1b[Cl\x1b[5~", "T ", "\x1bOD\x04", ""])
    assert list(PressedKeys(lambda: next(reads))) == ["right", "l", "pageup", "t", " ", "left", "q"]


def test_keys_pressed_for_one_pair_answer_no_other() -> None:
    reads, flushed = iter(["lll", "jr", ""]), []
    keys = PressedKeys(lambda: next(reads), lambda: flushed.append(True))
    assert next(keys) == "l" and not flushed
    keys.forget()
    assert list(keys) == ["j", "r"] and flushed == [True]


# --- a real terminal ------------------------------------------------------------------------------------


class Terminal:
    """`probe label` in an 80 × 24 tmux window of its own server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = ""

    def tmux(self, *words: str) -> str:
        made = subprocess.run(
            ["tmux", "-f", "/dev/null", "-L", self.socket, *words], capture_output=True, text=True, timeout=20
        )
        return made.stdout

    def start(self, *options: str, columns: int = 80, job: bool = False) -> None:
        """`job`: under a shell that controls jobs, in which it is stopped twice and brought back by Enter."""
        program = " ".join([PYTHON, "-m", "probe", "label", "pairs.jsonl", *options])
        if job:
            program = f"set -m; {program}" + "; echo STOPPED; read answer; fg %1" * 2
        command = f"trap : INT; {program}; echo ENDED $?; sleep 60"
        size = ("-x", str(columns), "-y", "24")
        self.stop()
        self.socket = f"probe-test-{os.getpid()}-{time.monotonic_ns()}"  # a server that dies may linger
        self.tmux("new-session", "-d", *size, "-c", str(self.directory), "bash", "-c", command)

    def stop(self) -> None:
        if self.socket:
            self.tmux("kill-server")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)

    def send(self, text: str) -> None:
        """All at once, as one read of the program."""
        self.tmux("send-keys", "-l", text)

    def state(self) -> str:
        """Whether the alternate screen is on, and whether the cursor is seen: 1 or 0 each."""
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait(self, text: str, seconds: float = 20) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in (shown := self.screen()):
                return shown
            time.sleep(0.05)
        raise AssertionError(f"{text!r} did not appear; the screen shows:\n{self.screen()}")

    def end(self) -> None:
        """Press q until the program has ended: a key that comes before its screen is not counted."""
        for _ in range(20):
            self.press("q")
            with contextlib.suppress(AssertionError):
                self.wait("ENDED 0", seconds=1)
                return
        raise AssertionError(f"it did not end; the screen shows:\n{self.screen()}")

    def rows(self, name: str = "ann") -> list[dict[str, object]]:
        log = self.directory / f".probe/labels/pairs/{name}.jsonl"
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [row for row in rows if "asked" not in row]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to the program itself, by default as a crash would end it."""
        shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(children[0]), number)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    rows = [
        {"prompt": f"question {i}?", "chosen": f"GOOD{i} " + "more " * 400, "rejected": f"BAD{i}"}
        for i in range(30)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Terminal(tmp_path)
    yield made
    made.stop()


def test_a_session_is_killed_resumed_and_judged(terminal: Terminal) -> None:
    """30 pairs, 29 answered as the file says: 29 of 30 passes (P(X ≥ 29 | .8) = .010)."""
    start = ("--name", "ann", "--n", "30")
    terminal.start(*start)
    answered = 0

    def answer(count: int) -> None:
        nonlocal answered
        for _ in range(count):
            shown = terminal.wait(f"pair {answered + 1} of 30")
            columns = shown.splitlines()[4].split()
            terminal.press("Left" if columns[0].startswith("GOOD") else "Right")
            answered += 1

    answer(10)
    terminal.wait("pair 11 of 30")
    terminal.press("t")
    terminal.wait("pair 12 of 30")
    terminal.press("u")
    assert "GOOD" in terminal.wait("pair 11 of 30")
    terminal.kill()
    terminal.wait("ENDED 137")
    saved = terminal.rows()
    assert [row.get("label") for row in saved] == ["chosen"] * 10 + ["tie", None]

    terminal.start(*start)
    shown = terminal.wait("pair 11 of 30")
    assert "min left" in shown and "lines 1-21 of" in shown
    terminal.press("Space", "Space", "b", "b", "Space", "j", "k")
    terminal.wait("lines 21-41 of")
    terminal.press("b")
    terminal.wait("lines 1-21 of")
    answer(2)
    terminal.wait("pair 13 of 30")
    terminal.press("q")
    terminal.wait("ENDED 0")
    assert "12 of 30 answers are saved" in " ".join(terminal.screen().split())

    terminal.start(*start, "--export", "audited.jsonl", "--format", "json=run2.json")
    answer(17)
    shown = terminal.wait("pair 30 of 30")
    terminal.press("r" if shown.splitlines()[4].startswith("GOOD") else "l")
    shown = terminal.wait("ENDED 0")
    run = json.loads(next((terminal.directory / ".probe/runs").glob("*/run.json")).read_text())
    assert run["verdict"]["status"] == "pass"
    (estimate,) = [e for e in run["estimates"] if e["name"] == "agreement"]
    assert (estimate["n"], round(30 * estimate["value"])) == (30, 29)
    audited = [json.loads(line) for line in (terminal.directory / "audited.jsonl").read_text().splitlines()]
    assert len(audited) == 30 and sum(row["label"] == "chosen" for row in audited) == 29
    assert all(row["chosen"].startswith("GOOD") for row in audited)


def test_ctrl_c_and_a_small_window(terminal: Terminal) -> None:
    terminal.start("--name", "ann", "--n", "5", columns=44)
    shown = terminal.wait("pair 1 of 5")
    assert all(len(line) <= 44 for line in shown.splitlines())
    terminal.press("s")
    terminal.wait("pair 2 of 5")
    terminal.press("C-c")
    terminal.wait("ENDED 130")
    assert [row["label"] for row in terminal.rows()] == ["skip"]


def test_after_a_stop_the_screen_is_back_and_keys_count_once(terminal: Terminal) -> None:
    """Ctrl-Z and `fg`, twice: the shell has its terminal meanwhile, and the pair is back afterwards."""
    terminal.start("--name", "ann", "--n", "9", job=True)
    for _ in range(2):
        terminal.wait("pair 1 of 9")
        assert terminal.state() == "1 0"
        terminal.press("C-z")
        terminal.wait("STOPPED")
        assert terminal.state() == "0 1"
        terminal.press("Enter")
    terminal.wait("pair 1 of 9")
    assert terminal.state() == "1 0"
    terminal.press("l")
    terminal.wait("pair 2 of 9")
    terminal.send("lll")
    terminal.wait("pair 3 of 9")
    terminal.press("q")
    terminal.wait("ENDED 0")
    assert len(terminal.rows()) == 2


def test_a_stop_that_nobody_could_end_is_none(terminal: Terminal) -> None:
    """Without job control Ctrl-Z changes nothing."""
    terminal.start("--name", "ann", "--n", "9")
    terminal.wait("pair 1 of 9")
    terminal.press("C-z")
    deadline = time.monotonic() + 20
    # What is pressed before the screen is back is dropped, and one more may be read.
    while not (gone_on := re.search(r"pair [2-9] of 9", terminal.screen())) and time.monotonic() < deadline:
        terminal.press("l")
        time.sleep(0.3)
    assert gone_on and terminal.state() == "1 0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_what_ends_the_program_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.start("--name", "ann", "--n", "9")
    terminal.wait("pair 1 of 9")
    terminal.kill(number)
    terminal.wait(f"ENDED {128 + number}")
    assert terminal.state() == "0 1" and "pair 1 of 9" not in terminal.screen()
    terminal.send("echoed")
    terminal.wait("echoed", 3)


def test_what_stops_it_from_outside_ends_in_the_pair_again(terminal: Terminal) -> None:
    terminal.start("--name", "ann", "--n", "9")
    terminal.wait("pair 1 of 9")
    terminal.kill(signal.SIGSTOP)
    terminal.tmux("resize-window", "-x", "70", "-y", "20")
    terminal.kill(signal.SIGCONT)
    terminal.wait("lines 1-17 of")  # painted for the new size
    terminal.press("l")
    terminal.wait("pair 2 of 9")


def test_u_takes_back_no_answer_to_another_file_or_seed(terminal: Terminal) -> None:
    """The log of `pairs.jsonl` is that of `pairs.v2.jsonl` too."""
    terminal.start("--name", "ann", "--n", "3")
    terminal.wait("pair 1 of 3")
    terminal.press("t")
    terminal.wait("pair 2 of 3")
    terminal.press("q")
    terminal.wait("ENDED 0")
    terminal.start("--name", "ann", "--n", "1", "--seed", "5")
    terminal.wait("pair 1 of 1")
    terminal.press("u", "j")
    terminal.end()
    assert [row.get("label") for row in terminal.rows()] == ["tie"]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"tools": []}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"chat_template_kwargs": {"thinking": True}}, {"tools": "[]", "chat_template_kwargs": {"a": 1}},
    ],
)  # fmt: skip
def test_exported_pairs_are_those_of_the_file(probe, tmp_path: Path, options: dict[str, object]) -> None:
    """What is handed to the chat template beside the messages is a part of the pair."""
    turn = [{"role": "user", "content": "why?"}]
    sides = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"id": "a", "prompt": turn, **sides, **options}) + "\n")
    (pair,) = read_pairs(path)
    answer = LabelAnswer(content_digest(pair), "a", "chosen", "chosen", 1.0, "")
    AnswerLog.open(tmp_path / ".probe/labels/pairs/ann.jsonl").add(answer)
    made = probe("label", "pairs.jsonl", "--report", "--n", "1", "--export", "out.jsonl")
    (again,) = read_pairs(tmp_path / "out.jsonl")
    assert content_digest(again) == content_digest(pair), made.err
    assert handed_options(again.meta) == handed_options(pair.meta)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.tsv"])
def test_an_export_under_another_form_s_name_is_refused(probe, tmp_path: Path, name: str) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    made = probe("label", "pairs.jsonl", "--report", "--export", name)
    assert made.code == 2 and "Call it out.jsonl." in made.err and not (tmp_path / name).exists()


def test_without_a_terminal_it_says_so(probe, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    made = probe("label", "pairs.jsonl")
    assert made.code == 2 and "no" in made.err and "terminal" in made.err
    made = probe("label", "pairs.jsonl", "--report")
    assert made.code == 2 and "nobody has labelled" in made.err
    assert "Traceback" not in made.err


def test_expecting_no_more_than_the_limit_is_refused(probe, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    made = probe("label", "pairs.jsonl", "--expect", "0.8")
    assert made.code == 2 and "--expect 0.8 is not above --agreement 0.8" in made.err
