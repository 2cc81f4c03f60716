"""No step is silent: what says nothing for a while is said to be running."""

import io
import os
import pty
import subprocess
import sys
import time

import pytest

from probe.progress import _of, alive, progress
from probe.streams import Outlet


def test_a_silent_step_is_told_again_and_again(capsys):
    with alive("surface", silence=0.1):
        time.sleep(0.55)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5 and all(line.startswith("surface: running for ") for line in lines)


def test_a_step_that_tells_of_itself_is_left_alone(capsys):
    with alive("scoring", silence=5.0), progress("scoring", 10) as advance:
        for _ in range(10):
            advance(1)
    assert "running for" not in capsys.readouterr().err


def test_it_ends_with_the_block_also_on_an_error(capsys):
    try:
        with alive("trial", silence=0.05):
            raise ValueError
    except ValueError:
        pass
    time.sleep(0.2)
    assert "running for" not in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_of_seconds_moves_and_is_wiped_out(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with alive("trial", silence=0.02, expected=0.2):
        time.sleep(0.4)
    drawn = [line for line in terminal.getvalue().split("\r\x1b[2K") if line]
    full = [line.count("#") for line in drawn]
    assert full == sorted(full) and full[0] < full[-1] == 24 and "\n" not in terminal.getvalue()
    assert all(line.startswith("trial  ") and "s of about 1 s" in line for line in drawn)
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_a_bar_that_counts_units_has_the_terminal_for_itself(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with alive("bias", silence=0.02), progress("scoring", 4) as advance:
        for _ in range(4):
            time.sleep(0.05)
            advance(1)
    assert "bias  " not in terminal.getvalue().split("scoring")[1]


def test_the_expected_seconds_stand_in_the_line(capsys):
    with alive("negatives", silence=0.05, expected=42.4):
        time.sleep(0.2)
    assert "s of about 42 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spent", "expected", "told"),
    [
        (3, None, ""),
        (3, 40.2, " of about 40 s"),
        (44, 40.2, " of about 40 s"),
        (45, 40.2, "; about 40 s were expected"),
        (0.9, 0.1, " of about 1 s"),
    ],
)
def test_more_seconds_than_expected_are_no_part_of_them(spent, expected, told):
    assert _of(spent, expected) == told


DRAWS = """
import sys, time
from probe.progress import alive, progress
from probe.streams import Outlet
from probe.streams import guarded
with guarded():
    with alive("trial", silence=0.02, expected=0.2):
        time.sleep(0.1)
        print("a note", file=sys.stderr)
        time.sleep(0.1)
        with progress("scoring", 2) as advance:
            advance(1)
            advance(1)
    print("the end", file=sys.stderr)
"""


def test_a_real_terminal_is_given_no_escape_code_as_text():
    """Behind the outlets of a command too, and a note that comes while a bar is drawn has its own line."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", DRAWS], stderr=theirs, stdout=theirs, check=True, timeout=120)
        seen = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "trial  #" in seen and "\\x1b" not in seen
    assert "\r\x1b[2Ka note\r\n" in seen and seen.endswith("the end\r\n")


def test_nothing_is_drawn_over_a_line_that_has_not_ended():
    """`print` writes a text and then its line end: between the two another thread may draw."""
    terminal = Terminal()
    outlet = Outlet(terminal)
    outlet.write("a note")
    outlet.draw("bar")
    outlet.write("\n")
    outlet.draw("bar")
    outlet.write("the end\n")
    assert terminal.getvalue() == "a note\n\r\x1b[2Kbar\r\x1b[2Kthe end\n"
