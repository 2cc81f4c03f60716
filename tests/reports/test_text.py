"""The terminal report: golden text, width, purity, hostile text."""

import dataclasses
import math
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text

from probe.records import Estimate, Finding, Run, Verdict, run_from_json, run_to_json
from probe.reports.text import render
from probe.reports.text_training import sparkline

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=["bias", "gate"])
def run(request, bias_run, gate_run):
    return {"bias": bias_run, "gate": gate_run}[request.param]


def golden(name, text, update):
    path = GOLDEN / name
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_golden_text(run, width, update_golden):
    golden(f"{run.command}-{width}.txt", render(run, width=width), update_golden)


def test_golden_ascii(run, update_golden):
    golden(f"{run.command}-80-ascii.txt", render(run, width=80, ascii_only=True), update_golden)


def test_golden_color(run, update_golden):
    golden(f"{run.command}-80-color.txt", render(run, width=80, color=True), update_golden)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("everything", [False, True])
def test_no_line_is_wider_than_the_terminal(run, width, ascii_only, everything):
    text = render(run, width=width, ascii_only=ascii_only, everything=everything)
    assert [line for line in text.splitlines() if cell_len(line) > width] == []


def test_colour_adds_nothing_to_the_words(run):
    colored = Text.from_ansi(render(run, width=80, color=True)).plain
    assert colored.splitlines() == render(run, width=80).rstrip("\n").splitlines()


def test_plain_text_holds_no_escape_and_ascii_is_ascii(run):
    assert "\x1b" not in render(run) and "\u202e" not in render(run) and "\r" not in render(run)
    assert render(run, ascii_only=True).isascii()


def test_hostile_text_is_shown_not_obeyed(run):
    assert r"<script>alert(1)</script> \x1b[31mred\x07 \u202etrap\u202c | `tick`" in render(
        run, width=120, everything=True
    )


def test_the_same_saved_run_gives_the_same_bytes(run):
    again = run_from_json(run_to_json(run))
    assert render(again, color=True) == render(run, color=True)


def test_environment_does_not_matter(run, monkeypatch):
    plain = render(run, width=80, color=True)
    for name, value in {"COLUMNS": "40", "TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert render(run, width=80, color=True) == plain


def test_verdict_stands_before_findings_and_findings_before_tables(gate_run):
    text = render(gate_run)
    places = [
        text.index(part)
        for part in ("FAIL", "✗ PB201", "! PB101", "why: train in two stages", "\nconditions\n", "gap =")
    ]
    assert places == sorted(places)
    assert text.rstrip().endswith("✗ fail · exit code 1")


def test_further_numbers_are_those_of_the_whole_file_and_shown_once(gate_run):
    def share(name, group):
        return Estimate(name, -0.2, -0.4, 0.1, 24, None, "", "share", group)

    names = ("agreement", "advice"), ("agreement", "causes"), ("agreement", "all"), ("kappa", "all")
    told = ("word n-grams_accuracy", "all"), ("gap_change", "all"), ("win_rate", "advice")
    estimates = tuple(share(*name) for name in (*names, *told))
    run = dataclasses.replace(gate_run, estimates=estimates)
    rows = render(run, width=120).split("also measured")[1].split("\n\n")[0].splitlines()[2:]
    assert [row.split()[:2] for row in rows[:-1]] == [["agreement", "all"], ["kappa", "all"]]
    assert rows[-1] == "2 more rows: --all" and "[−40%, 10%]" in rows[0]
    assert render(run, width=120, everything=True).count("agreement") == 3


def test_cut_texts_take_the_room_that_is_left(gate_run):
    what = "one training step on a few pairs: forward, backward, update, forward"
    run = dataclasses.replace(
        gate_run, details={"costs": [{"probe": "numerics", "what": what, "seconds": 1.0}]}
    )
    assert what in render(run, width=100) and what not in render(run, width=60)


def test_clean_checks_give_way_where_the_file_is_one_part_of_many(gate_run):
    rows = [{"check": f"check {i}", "code": f"PB30{i}", "count": 0, "share": 0.0} for i in range(9)]
    finding = Finding("PB308", "warning", "found", "mend it")
    for command, shown in (("sample", range(9)), ("data", range(9))):
        run = dataclasses.replace(gate_run, command=command, findings=(finding,), details={"data": rows})
        lines = [
            line
            for line in render(run, everything=command == "data").splitlines()
            if line.startswith("check ") and "PB30" in line
        ]
        assert [line[:7] for line in lines] == [f"check {i}" for i in shown]


def test_an_empty_run_still_says_something():
    assert "MEASURED  0 errors, 0 warnings" in render(Run("data", "2026-11-21T10:52:00Z"))


def test_a_value_that_is_no_number_shows_however_narrow_the_line():
    values = [1.0] * 500
    values[123] = math.nan
    assert sparkline(values, 20).count("×") == 1
    assert sparkline([0.0, 1.0, 2.0], 10) == "▁▅█"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_width_takes_the_group_from_rows_that_differ_in_it(gate_run, width):
    """At 60 columns four conditions of one name had stood below each other, of no group."""
    groups = ["causes", "advice", "x", "all"]
    (condition,) = (c for c in gate_run.verdict.conditions if c.name == "triviality")
    judged = tuple(dataclasses.replace(condition, group=group, gates=False) for group in groups)
    (row, *_) = gate_run.details["before_after"]
    changed = [{**row, "group": group} for group in groups]
    (estimate, *_) = gate_run.estimates
    more = tuple(
        dataclasses.replace(estimate, name="gap_sum", group=group, method="m" * 20) for group in groups
    )
    run = dataclasses.replace(
        gate_run, verdict=Verdict("fail", 1, judged), estimates=more,
        details={"before_after": changed},
    )  # fmt: skip
    text = render(run, width=width, everything=True)
    for title in ("conditions", "before → after training", "also measured"):
        rows = text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()[1:]
        told = [[group for group in groups if f" {group[:4]}" in row] for row in rows]
        assert sorted(map(tuple, told)) == [("advice",), ("all",), ("causes",), ("x",)], rows
