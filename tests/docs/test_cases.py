"""The pages of the five accounts say what docs/cases/cases.toml expects, in output that the command gave."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from probe.explain import explanations
from probe.gate.row import STAGES
from probe.records import Decision, Reason
from probe.reports.advice import in_words

PAGES = Path(__file__).parents[2] / "docs/cases"
CASES = tomllib.loads((PAGES / "cases.toml").read_text(encoding="utf-8"))["case"]
STEPS = [
    (case, step)
    for case in CASES
    for key in ("step", "effect", "lever")
    for step in case[key]
    if "run" in step
]


def load_run_module():
    spec = importlib.util.spec_from_file_location("cases_run", PAGES / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page_of(case) -> str:
    path = PAGES / f"{case['slug']}.md"
    if not path.exists():
        pytest.skip("the page has yet to be written by `make cases`")
    return path.read_text(encoding="utf-8")


def test_there_is_a_case_an_account_and_no_page_besides():
    assert len(CASES) == 5
    assert {path.stem for path in PAGES.glob("*.md")} <= {case["slug"] for case in CASES}


@pytest.mark.parametrize(("case", "step"), STEPS, ids=[step["run"] for _, step in STEPS])
def test_the_page_shows_the_command_the_decision_and_its_findings(case, step):
    page = page_of(case)
    shown = page.partition(f"$ probe {step['run']}\n")[2].partition("\n```")[0]
    if method := step.get("method"):
        words = method if STAGES[method] else in_words(decided(method, step))
        assert f"\nDECISION  {words}" in shown
    if step["run"].startswith("gate "):
        assert "exit code" in shown.splitlines()[-1]
    for code in (*step.get("codes", ()), *step.get("show", ())):
        assert code in explanations()
        assert code in shown


def decided(method, step):
    return Decision(method, (), {}, tuple(Reason(code, "", "") for code in step.get("codes", ())))


@pytest.mark.parametrize("case", CASES, ids=[case["slug"] for case in CASES])
def test_what_the_account_concluded_stands_beside_what_was_measured(case):
    page = page_of(case)
    for row in case["reading"]:
        assert f"| {row['account']} | {row['probe']} |" in page


REPORT = """\
probe 0.1.0
pairs.jsonl · 40 pairs

FAIL  1 of 2 conditions pass
DO  sft

✗ PB202  told apart
         → SFT
! PB330  longer
         → match
· PB327  few

why sft
  PB202  told apart

gap = chosen − rejected
group  n

conditions
result  condition

✗ fail · exit code 1
"""


def test_an_excerpt_keeps_verdict_reasons_and_the_findings_asked_for():
    lines = list(load_run_module().excerpt(REPORT, ["PB202", "PB327"]))
    assert lines[0] == "probe 0.1.0" and lines[-1] == "✗ fail · exit code 1"
    text = "\n".join(lines)
    assert "→ SFT\n[…]\n· PB327  few\n" in text and "longer" not in text
    assert "PB202  told apart\n\n[…]\n\nconditions" in text and "gap =" not in text


def test_a_case_that_comes_out_otherwise_is_told():
    from probe.records import Run, Verdict

    run = Run("gate", "now", Verdict("fail", 1))
    step = {"method": "sft", "codes": ["PB202"]}
    wrong = load_run_module().otherwise(step, run, 0)
    assert wrong == ["exit code 0, verdict 1", "decision None, not sft", "no PB202"]
    assert set(STAGES) >= {step["method"] for _, step in STEPS if "method" in step}
