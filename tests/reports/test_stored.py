"""The reports of the bundled sets and the five accounts at 80 columns, as golden files.

What needs a model is rendered from stored runs (`stored.py` writes them), a gate judged again; `data` is
measured here.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.cells import cell_len

from probe.gate.settings import GateOptions, judged
from probe.probes.data.run import DataRequest, check_data
from probe.reports.answer import answered
from probe.reports.renderers import RENDERERS
from probe.reports.tables import tables as all_tables
from probe.reports.text import BRIEF, render
from probe.runs import load_run
from probe.stats.paired_runs import side_by_side

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STORED = sorted((HERE / "stored").glob("*.json"))
TODAY = date(2026, 11, 21)
SETS = sorted(path.stem for path in (ROOT / "pairs").glob("*.jsonl"))


def held(name, run, update):
    """The report is the golden one, and one of a command that has a short report fits a screen."""
    text = render(answered(run))
    golden = HERE / "golden" / f"set-{name}.txt"
    if update:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert run.command not in BRIEF or len(lines) <= 40


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_the_report_of_a_stored_run(path, update_golden):
    run = load_run(path)
    held(path.stem, judged(run, GateOptions(), TODAY) if run.command == "gate" else run, update_golden)


@pytest.mark.parametrize("name", SETS)
def test_the_report_of_a_checked_file(name, update_golden, monkeypatch):
    monkeypatch.chdir(ROOT)
    held(
        f"data-{name}", check_data(DataRequest(Path("pairs", f"{name}.jsonl"), templates=True)), update_golden
    )


def test_every_bundled_set_has_its_runs_and_no_golden_is_left_over():
    stored = {path.stem for path in STORED}
    assert {f"bias-{name}" for name in SETS} <= stored
    golden = {path.stem.removeprefix("set-") for path in (HERE / "golden").glob("set-*.txt")}
    assert golden == stored | {f"data-{name}" for name in SETS}


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_intervals_are_headed_by_the_level_that_they_have(path, form):
    run = load_run(path)
    plain = RENDERERS[form](run, everything=True) if form == "text" else RENDERERS[form](run)
    other = replace(run, config={**run.config, "alpha": 0.01})
    told = RENDERERS[form](other, everything=True) if form == "text" else RENDERERS[form](other)
    assert "99% CI" not in plain and "95% CI" not in told
    assert ("99% CI" in told) == ("95% CI" in plain)


def test_runs_beside_each_other_say_which_level_each_has():
    one = next(run for run in map(load_run, STORED) if run.command == "bias")
    two = replace(one, config={**one.config, "alpha": 0.01, "bound": 0.3})

    def tables(*runs):
        return {table.key: table for table in all_tables(side_by_side(runs, created="now"))}

    same, apart = tables(two, two)["runs"], tables(one, two)["runs"]
    assert "99% CI" in [column.name for column in same.columns]
    assert "CI" in [column.name for column in apart.columns]
    assert apart.rows[1][-1] == "alpha 0.01, bound 0.3" and same.rows[1][-1] == ""
