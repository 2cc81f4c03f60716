"""Runs side by side: matched pairs, paired differences, and what may not be matched."""

import dataclasses
import sys
from math import comb

import pytest

from probe.__main__ import main
from probe.reports.compare_tables import runs as runs_table
from probe.runs import save_run
from probe.stats.paired_runs import differences, distinctions, matched_rows, run_name, side_by_side

CREATED = "2026-11-21T12:00:00Z"


def with_gaps(run, gaps, **inputs):
    rows = [
        {**row, "gap": gap} for row, gap in zip(run.details["pairs"], gaps, strict=False) if gap is not None
    ]
    return dataclasses.replace(run, details={"pairs": rows}, inputs={**run.inputs, **inputs})


def moved(run, by):
    return with_gaps(run, [row["gap"] + by(i) for i, row in enumerate(run.details["pairs"])])


def test_mcnemar_by_hand(bias_run):
    """Of 12 pairs 7 turn to chosen, 1 turns away, 4 stay: p = 2·(C(8,0)+C(8,1))/2⁸, change 6/12."""
    before = with_gaps(bias_run, [-1] * 7 + [1] + [1] * 4)
    after = with_gaps(bias_run, [1] * 7 + [-1] + [1] * 4)
    win = next(e for e in differences(matched_rows(before, after)[0], 0.05) if e.name == "win rate")
    assert win.p == pytest.approx(2 * (comb(8, 0) + comb(8, 1)) / 2**8)
    assert win.value == pytest.approx(6 / 12)
    assert win.low < 0 and win.value < win.high  # p is .0703


def test_swapping_the_runs_negates_every_difference(bias_run):
    other = moved(bias_run, lambda i: 0.3 - 0.1 * (i % 5))
    there, back = (
        differences(matched_rows(a, b)[0], 0.05) for a, b in ((bias_run, other), (other, bias_run))
    )
    for one, two in zip(there, back, strict=True):
        assert one.value == pytest.approx(-two.value, abs=1e-12)
        assert one.p == pytest.approx(two.p)
        assert (one.low is None) == (two.high is None)
        assert one.low is None or one.low == pytest.approx(-two.high, abs=1e-9)
    assert sum(one.low is not None for one in there) > len(there) / 2


def test_a_run_does_not_differ_from_itself(bias_run):
    assert all(
        e.value == 0 and not (e.p or 1) < 1 for e in differences(matched_rows(bias_run, bias_run)[0], 0.05)
    )


def test_only_pairs_of_both_runs_are_compared_and_the_rest_is_counted(bias_run):
    fewer = with_gaps(bias_run, [None] * 4 + [0.5] * 20)
    pairs, note = matched_rows(bias_run, fewer)
    assert len(pairs) == 20 and "20 pairs" in note and "4 in one run only" in note


def test_line_numbers_do_not_match_pairs_of_another_file(bias_run):
    numbered = [{**row, "id": str(row["line"])} for row in bias_run.details["pairs"]]
    one = dataclasses.replace(bias_run, details={"pairs": numbered})
    changed = {**one.inputs, "pairs": {**one.inputs["pairs"], "sha256": "cd" * 32}}
    two = dataclasses.replace(one, inputs=changed)
    assert len(matched_rows(one, one)[0]) == 24
    assert matched_rows(one, two)[0] == []
    named = dataclasses.replace(bias_run, inputs=changed)
    assert len(matched_rows(bias_run, named)[0]) == 24
    assert side_by_side([one, two], created=CREATED).details["differences"] == []


def test_what_sets_the_runs_apart_is_named(bias_run):
    model = {**bias_run.inputs["model"], "template": "qa"}
    other = dataclasses.replace(bias_run, inputs={**bias_run.inputs, "model": model})
    assert distinctions([bias_run, other]) == [{"template": "chat"}, {"template": "qa"}]
    assert distinctions([bias_run, bias_run]) == [{}, {}]


def test_groups_share_the_error_rate(bias_run):
    other = moved(bias_run, lambda i: 0.1 * (i % 4))
    pooled = [
        dataclasses.replace(one, details={"pairs": [{**row, "group": None} for row in one.details["pairs"]]})
        for one in (bias_run, other)
    ]
    wide = differences(matched_rows(bias_run, other)[0], 0.05)[0]
    narrow = differences(matched_rows(*pooled)[0], 0.05)[0]
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json", "junit", "github"])
def test_the_command_sets_runs_side_by_side(bias_run, tmp_path, monkeypatch, capfdbinary, form):
    for name, run in (("a", bias_run), ("b", moved(bias_run, lambda i: -0.3 - 0.02 * (i % 3)))):
        save_run(run, tmp_path / name)
    monkeypatch.setattr(
        sys, "argv", ["probe", "report", str(tmp_path / "a"), str(tmp_path / "b"), "--format", form]
    )
    assert main() == 0
    out = capfdbinary.readouterr().out.decode()
    assert "B − A: gap" in out.replace("B - A", "B − A")
    if form in ("text", "markdown", "html"):
        assert "−0.32" in out.replace("-0.32", "−0.32") and "hormones and hunger" in out


def test_a_newer_schema_is_refused_with_advice(tmp_path, monkeypatch, capsys):
    (tmp_path / "run.json").write_text('{"schema_version": 99}')
    monkeypatch.setattr(sys, "argv", ["probe", "report", str(tmp_path)])
    assert main() == 2
    err = capsys.readouterr().err
    assert "schema 99 is newer" in err and "pip install -U" in err


def test_a_run_of_an_older_probe_is_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "run.json").write_text(
        '{"schema_version": 1, "command": "bias", "created": "2026-01-01T00:00:00Z", "someday": {}}'
    )
    monkeypatch.setattr(sys, "argv", ["probe", "report", str(tmp_path)])
    assert main() == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


@pytest.mark.parametrize("sides", [["yes", "no"], None])
def test_the_names_of_the_sides_are_those_of_the_first_run(bias_run, sides):
    run = dataclasses.replace(bias_run, inputs={**bias_run.inputs, "sides": sides})
    assert side_by_side([run, run], created=CREATED).inputs == ({"sides": sides} if sides else {})


def test_a_verdict_beside_another_is_in_the_names_of_its_own_run(bias_run):
    """`favours chosen` of the second run was told by the first one's names: of sides in the other order that
    is the side that it does not favour."""
    turned = dataclasses.replace(bias_run, inputs={**bias_run.inputs, "sides": ["insulin", "CICO"]})
    plain = dataclasses.replace(bias_run, inputs={**bias_run.inputs, "sides": None})
    shown = side_by_side([bias_run, turned, plain], created=CREATED)
    verdicts = [row[-2] for row in runs_table(shown).rows]
    assert verdicts == ["favours CICO", "favours insulin", "favours chosen"]
    assert [row["apart"]["sides"] for row in shown.details["runs"]] == [
        ["CICO", "insulin"], ["insulin", "CICO"], None,
    ]  # fmt: skip
    assert shown.inputs == {}


def test_a_trend_needs_two_runs_that_measured_the_number(bias_run):
    def measured(value):
        estimates = () if value is ... else (dataclasses.replace(bias_run.estimate("gap"), value=value),)
        return dataclasses.replace(bias_run, estimates=estimates)

    def trend_of(*values):
        runs = [measured(value) for value in values]
        return {row["name"]: row for row in side_by_side(runs, created=CREATED).details["trend"]}

    assert trend_of(0.1, None) == trend_of(0.1, ...) == trend_of(None, None) == {}
    row = trend_of(..., 0.1, 0.3)["gap"]
    assert [point["value"] for point in row["points"]] == [None, 0.1, 0.3]
    assert [point["run"] for point in row["points"]] == ["A", "B", "C"] and row["units"] == "nats/token"


def test_intervals_of_win_rates_hold_all_together(bias_run):
    """The whole and each group share alpha, for win rates as for gaps."""
    rows = [{**row, "group": f"g{i % 2}"} for i, row in enumerate(bias_run.details["pairs"])]
    first = dataclasses.replace(bias_run, details={"pairs": rows})
    other = moved(first, lambda i: 0.5 - 0.2 * (i % 5))
    pairs = matched_rows(first, other)[0]
    ends = {e.name: (e.low, e.high) for e in differences(pairs, 0.05) if e.group == "all"}
    alone = [({**a, "group": None}, {**b, "group": None}) for a, b in pairs]
    expected = {e.name: (e.low, e.high) for e in differences(alone, 0.05 / 3)}
    assert ends == {name: pytest.approx(both) for name, both in expected.items()}


def test_pairs_of_other_texts_are_left_out_and_counted(bias_run):
    rows = bias_run.details["pairs"]
    before, after = (
        dataclasses.replace(
            bias_run,
            details={
                **bias_run.details,
                "pairs": [{**row, "text": f"{row['id']}{k * (i < 3)}"} for i, row in enumerate(rows)],
            },
        )
        for k in (1, 2)
    )
    pairs, note = matched_rows(before, after)
    assert len(pairs) == len(rows) - 3 and note.endswith("3 with other texts left out")
    assert "in one run only" not in note
    none = dataclasses.replace(
        after, details={**after.details, "pairs": [{**row, "text": "other"} for row in rows]}
    )
    assert matched_rows(before, none) == (
        [], "no pair has the same text in both runs; only their own numbers can be compared"
    )  # fmt: skip


def test_runs_are_named_by_letters_however_many_there_are():
    assert [run_name(i) for i in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
