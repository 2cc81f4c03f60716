"""The pages of the five accounts say what docs/cases/cases.toml expects, in output that the command gave."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

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


def loads_no_model(command: str) -> bool:
    return command.split()[0] in ("autopsy", "data", "compare") or "--no-traits" in command


WITHOUT_MODEL = [(case, step) for case, step in STEPS if loads_no_model(step["run"])]


@pytest.mark.parametrize(("case", "step"), WITHOUT_MODEL, ids=[step["run"] for _, step in WITHOUT_MODEL])
def test_the_page_shows_what_a_command_without_a_model_prints_today(case, step, tmp_path):
    """What a model gives takes a quarter of an hour; this takes none, so the page cannot fall behind."""
    module = load_run_module()
    printed, _, _ = module.done(step["run"], tmp_path / "run", False)
    shown = "\n".join(module.excerpt(printed, [*step.get("codes", ()), *step.get("show", ())]))
    assert f"```text\n$ probe {step['run']}\n{shown}\n```" in page_of(case)


@pytest.mark.parametrize("case", CASES, ids=[case["slug"] for case in CASES])
def test_the_page_says_of_which_days_its_numbers_are(case):
    assert re.search(r"\nThe numbers that a model gave were measured (from|on) \d{4}-", page_of(case))


def test_the_days_are_those_of_the_runs_of_a_model():
    from probe.records import Run, Verdict

    made = [("gate", "2026-11-27T1"), ("levers", "2026-11-26T2"), ("effects", "2026-11-30T3")]
    measured = load_run_module().measured
    assert "from 2026-11-26 to 2026-11-27;" in measured(Run(c, day, Verdict("pass", 0)) for c, day in made)
    assert "measured on 2026-11-27;" in measured([Run("gate", "2026-11-27T1", Verdict("pass", 0))])


def test_a_step_keeps_the_dtype_that_its_command_names(monkeypatch, tmp_path):
    """The account of the float16 run was measured in float32: the later of two `--dtype` counts."""
    from probe.records import Run, Verdict

    module, ran = load_run_module(), []
    monkeypatch.setattr(module, "load_run", lambda _: Run("gate", "now", Verdict("pass", 0)))
    monkeypatch.setattr(
        module.subprocess,
        "run",
        lambda argv, **_: ran.append(argv) or SimpleNamespace(stdout="", returncode=0),
    )
    for dtype, command in (("float16", "gate pairs.jsonl --dtype float16"), ("float32", "gate pairs.jsonl")):
        module.done(command, tmp_path, False)
        assert ran[-1].count("--dtype") == 1 and ran[-1][ran[-1].index("--dtype") + 1] == dtype


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
