"""bench/gate.py: medians by version and size, pairs that can be made, no model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import gate


def row(version, n, passed, cost):
    return {"version": version, "pairs": n, "pass": passed, "gate": cost}


def test_passes_are_medians_of_ratios():
    rows = [row("after", 40, 2.0, 20.0), row("after", 40, 1.0, 30.0), row("after", 40, 1.0, 12.0)]
    found = gate.table([*rows, row("before", 200, 2.0, 100.0)])
    assert found["after"]["passes"] == {"40": 12.0} and found["after"]["seconds"] == {"40": 20.0}
    assert found["before"]["passes"] == {"200": 50.0}


def test_made_pairs_are_repeatable_and_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "HH", tmp_path / "absent")
    for name in ("a", "b"):
        gate.write_pairs(tmp_path / name, 50)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    rows = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert len({r["prompt"] for r in rows}) == 50 and all(r["chosen"] != r["rejected"] for r in rows)


def test_a_bill_is_held_against_what_the_gate_took():
    rows = [
        {
            "pairs": 40,
            "wall": 120.0,
            "billed": {"trial": 90.0, "bias": 10.0},
            "billed_most": {"trial": 100.0},
        },
        {"pairs": 200, "wall": 40.0, "billed": {"trial": 90.0}, "billed_most": {"trial": 95.0}},
        {"pairs": 200, "wall": 140.0, "billed": {"trial": 90.0}, "billed_most": {"trial": 95.0}},
        {"pairs": 40, "wall": 40.0, "billed": {}},
    ]
    assert gate.bill_lines(rows) == [
        "40 pairs: billed 100 s, took 120 s, within 1.5 times",
        "200 pairs: billed 90 to 95 s, took 40 s, not within 1.5 times",
        "200 pairs: billed 90 to 95 s, took 140 s, within 1.5 times",
    ]


def test_goals_speak_of_passes_and_of_how_the_cost_grows():
    found = {"passes": {"40": 41.0, "2000": 4.0}, "seconds": {"40": 400.0, "2000": 1000.0, "20000": 2500.0}}
    assert list(gate.goal_lines(found)) == [
        "40 pairs: 41 passes, goal 40: not reached",
        "2000 pairs: 4 passes, goal 4: reached",
        "20000 pairs: 2.50 times the seconds of 2000, goal 2: not reached",
    ]
    assert list(gate.goal_lines({})) == []
