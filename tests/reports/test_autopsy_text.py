"""The command `probe autopsy` and its report: exit codes, JSON, widths, plain ASCII."""

import json
import math
from pathlib import Path

import pytest

from probe.probes.autopsy.diagnose import diagnose, to_run
from probe.probes.autopsy.log import make_log
from probe.records import Run
from probe.reports.answer import answered
from probe.reports.curves import draw, in_columns, panels
from probe.reports.renderers import RENDERERS
from probe.reports.text import render

NAN_RUN = [
    {
        "step": s,
        "loss": 0.3812 if s == 10 else 0.0,
        "grad_norm": math.nan,
        "logps/chosen": math.nan,
        "epoch": s / 100,
    }
    for s in range(10, 210, 10)
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"best_metric": math.inf, "log_history": NAN_RUN}), encoding="utf-8")
    return path


def run_of(rows: list[dict[str, float]]) -> Run:
    log = make_log("checkpoint-9/trainer_state.json", rows)
    return to_run(log, diagnose(log))


def test_the_command_says_what_happened_and_exits_0(probe, log: Path) -> None:
    done = probe("autopsy", str(log))
    assert (done.code, done.err) == (0, "")
    assert "NUMERICS since step 10" in done.out
    assert "step 2 was the first to fail" in " ".join(done.out.split())
    assert "probe explain PB850" in done.out


def test_json_opens_with_the_diagnosis_and_is_a_run(probe, log: Path) -> None:
    done = probe("autopsy", str(log), "--format", "json")
    told = json.loads(done.out)
    assert next(iter(told)) == "diagnosis"
    assert told["diagnosis"] == told["details"]["autopsy"]
    assert (told["diagnosis"]["main"], told["diagnosis"]["since_step"]) == ("numerics", 10)
    assert (told["command"], told["schema_version"], told["verdict"]["exit_code"]) == ("autopsy", 1, 0)


def test_a_saved_autopsy_reads_back_as_the_same_autopsy(probe, log: Path, tmp_path: Path) -> None:
    """The log inside run.json has null for NaN; its diagnosis is the same."""
    first = probe("autopsy", str(log), "--out", str(tmp_path / "out"), "--format", "json")
    again = probe("autopsy", str(tmp_path / "out"), "--format", "json")
    one, two = (json.loads(done.out)["diagnosis"] for done in (first, again))
    assert (one["main"], one["since_step"]) == (two["main"], two["since_step"])


@pytest.mark.parametrize("words", [("no/such/log.json",), (__file__,), (".", "--format", "pdf")])
def test_bad_input_is_one_line_and_exit_2(probe, words: tuple[str, ...]) -> None:
    done = probe("autopsy", *words)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [
        {"step": i, "loss": 2.0 / i, "eval_loss": 1.0 + i / 50, "grad_norm": 1e9 * i} for i in range(1, 41)
    ]
    shown = render(run_of(rows), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert "OVERFIT" in shown


def test_ascii_only_is_ascii() -> None:
    shown = render(run_of(NAN_RUN), ascii_only=True)
    assert shown.isascii()
    assert "NUMERICS" in shown


def test_tags_qualify_a_healthy_curve() -> None:
    rows = [{"step": i, "loss": 2.0 - 0.001 * i, "grad_norm": 0.0} for i in range(20)]
    assert "HEALTHY curves, but: frozen" in render(run_of(rows))


def test_no_run_is_called_healthy_of_which_that_cannot_be_told() -> None:
    for rows in ([{"step": i, "loss": 2.0 - 0.01 * i} for i in range(3)], [{"step": 1, "loss": 2.0}] * 2):
        run = run_of(rows)
        assert run.details["autopsy"]["main"] == "healthy"
        for form in ("text", "markdown", "html"):
            shown = RENDERERS[form](answered(run))
            assert "HEALTHY" not in shown and "cannot tell" in shown.lower(), form


def test_a_panel_by_hand() -> None:
    """Four entries on a grid of 4 × 3: 3 is the top row, 1 the bottom one, 2 lies between; NaN is an x."""
    rows = [{"step": s, "loss": v} for s, v in ((0, 3.0), (1, 2.0), (2, 1.0), (3, math.nan))]
    drawn = draw(panels(rows)[0], width=14, height=3)
    assert [line[9:].rstrip() for line in drawn[1:]] == ["│•", "│ •", "│  •x", "└────", " 0  3"]
    assert [line[:9].strip() for line in drawn[1:4]] == ["3", "", "1"]


def test_only_what_was_logged_twice_gets_a_panel() -> None:
    rows = [{"step": 1, "loss": 1.0, "reward": 0.5}, {"step": 2, "loss": 0.9}]
    assert [panel.title for panel in panels(rows)] == ["loss"]


def test_named_evaluation_sets_are_drawn() -> None:
    rows = [{"step": s, "loss": 1.0 / s, "eval_own_loss": 1.0, "eval_general_loss": 2.0} for s in (1, 2, 3)]
    assert [[s.name for s in panel.series] for panel in panels(rows)] == [["training"], ["general", "own"]]


def test_panels_stand_side_by_side_where_they_fit() -> None:
    drawn = [["ab", "cd"], ["ef", "gh"], ["ij", "kl"]]
    assert in_columns(drawn, 6) == ["ab  ef", "cd  gh", "", "ij", "kl"]
    assert in_columns(drawn, 3) == ["ab", "cd", "", "ef", "gh", "", "ij", "kl"]
    assert in_columns([], 80) == []
