"""The live view: what scoring shows on a terminal while it goes, and that nothing of it is left."""

import io

from rich.console import Console

from probe.progress import progress
from probe.reports.tally import LARGEST_GROUPS, Tally


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def shown(tally, width=80, **console):
    file = io.StringIO()
    Console(file=file, width=width, _environ={}, **console).print(tally)
    return file.getvalue()


def test_the_table_holds_running_means_the_whole_file_last():
    tally = Tally(("CICO", "insulin"))
    for group, gap in [("advice", 1.0), ("advice", -0.5), ("causes", 0.25)]:
        tally.add(group, gap)
    lines = shown(tally).splitlines()
    assert lines[0].startswith("so far, no verdict yet") and "(CICO)" in lines[0]
    assert [line.split()[:4] for line in lines[-3:]] == [
        ["advice", "2", "1", "+0.25"],
        ["causes", "1", "1", "+0.25"],
        ["all", "3", "2", "+0.25"],
    ]


def test_nothing_is_shown_before_the_first_pair():
    assert shown(Tally(("chosen", "rejected"))).strip() == ""


def test_it_fits_a_small_terminal_however_many_groups():
    tally = Tally(("chosen", "rejected"))
    for i in range(500):
        tally.add(f"a group with quite a long name, number {i % 50}", 0.1)
    text = shown(tally, width=60)
    assert len(text.splitlines()) <= LARGEST_GROUPS + 4 and max(map(len, text.splitlines())) <= 60


def test_pairs_without_groups_make_one_row():
    tally = Tally(("chosen", "rejected"))
    tally.add("all", 0.5)
    assert sum(line.startswith("all ") for line in shown(tally).splitlines()) == 1


def test_a_group_name_cannot_steer_the_terminal():
    tally = Tally(("chosen", "rejected"))
    tally.add("\x1b[2Jtrap", 0.5)
    assert "\x1b[2J" not in shown(tally, force_terminal=True) and r"\x1b[2Jtrap" in shown(tally)


def test_the_live_view_is_drawn_and_wiped(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    tally = Tally(("chosen", "rejected"))
    with progress("scoring", 2, below=tally) as advance:
        tally.add("advice", 1.0)
        advance(2)
    drawn = terminal.getvalue()
    assert "scoring" in drawn and "advice" in drawn
    # At the end every drawn line is erased, and the cursor stands where it was.
    rows = drawn.rsplit("scoring", 1)[1].split("\x1b[?25h")[0].count("\n")
    assert drawn.count("\x1b[2K", drawn.rindex("scoring")) >= rows


def test_without_a_terminal_there_are_lines_and_no_table(monkeypatch):
    plain = io.StringIO()
    monkeypatch.setattr("sys.stderr", plain)
    with progress("scoring", 2, below=Tally(("chosen", "rejected"))) as advance:
        advance(2)
    assert plain.getvalue().startswith("scoring: 2/2 pairs") and "\x1b" not in plain.getvalue()
