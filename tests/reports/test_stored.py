"""The reports of the bundled sets and the five accounts at 80 columns, as golden files.

What needs a model is rendered from stored runs (`stored.py` writes them), a gate judged again; `data` is
measured here.
"""

from datetime import date
from pathlib import Path

import pytest
from rich.cells import cell_len

from probe.gate.settings import GateOptions, judged
from probe.probes.data.run import DataRequest, check_data
from probe.reports.answer import answered
from probe.reports.text import BRIEF, render
from probe.runs import load_run

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
