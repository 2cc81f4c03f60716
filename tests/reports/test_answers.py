"""Reports on answers with a label each: what their rows are called, in every form of report."""

import html
import re
from dataclasses import replace

import pytest

from probe.gate.unpaired import judged_unpaired
from probe.records import Decision, Estimate, Finding, Run
from probe.reports.answer import answered
from probe.reports.renderers import RENDERERS
from probe.reports.view import sides, unit
from probe.training.unpaired_run import ANSWER_REMEDIES

FACTS = {"path": "answers.jsonl", "sha256": None, "n": 80, "dropped": 3, "unit": "answer"}
WORD = re.compile(r"\b(?:pairs?|chosen|rejected)\b", re.IGNORECASE)
GOOD = {"surface_accuracy": 0.5, "signal_accuracy": 0.8, "gap": 0.1, "trial_gap_change": 0.2}


def checked(unwanted=40, findings=(), **values):
    found = tuple(
        Estimate(name, v, v - 0.05, v + 0.05, 80, None, "t", "nats/token" if "gap" in name else "share")
        for name, v in {**GOOD, **values}.items()
    )
    return Run(
        "unpaired", "2026-11-28T10:00:00Z", estimates=found, findings=findings, inputs={"pairs": FACTS},
        config={"bound": 0.1}, details={"unpaired": {"wanted": 40, "unwanted": unwanted, "pairs": 40}},
    )  # fmt: skip


def trained(method):
    row = {
        "name": "gap", "group": "all", "before": 0.1, "after": 0.2, "change": 0.1, "low": 0.05, "high": 0.15,
        "p": 0.01, "units": "nats/token",
    }  # fmt: skip
    return Run(
        "train", "2026-11-28T10:00:00Z", decision=Decision(method, (method,), {}, ()),
        findings=tuple(Finding(code, "warning", "told", text) for code, text in ANSWER_REMEDIES.items()),
        inputs={"pairs": FACTS}, details={"training": {"guard": []}, "before_after": [row]},
    )  # fmt: skip


RUNS = {
    "kto": judged_unpaired(checked()),
    "no signal": judged_unpaired(checked(signal_accuracy=0.3)),
    "worse": judged_unpaired(checked(trial_gap_change=-0.2)),
    "surface": judged_unpaired(checked(surface_accuracy=0.99)),
    "wanted alone": judged_unpaired(checked(unwanted=0)),
    "conflicts": judged_unpaired(checked(findings=(Finding("PB361", "error", "both labels", "Decide."),))),
    "trained by kto": trained("kto"),
    "trained by sft": trained("sft"),
}


def read(form, run):
    """What a reader sees of a report; a page's explanations of codes and terms speak of pairs, too."""
    text = RENDERERS[form](answered(run))
    if form == "html":
        text = re.sub(r"<(style|script).*?</\1>", "", text, flags=re.S).partition("What the codes mean")[0]
        text = html.unescape(re.sub(r"<[^>]+>", " ", text)).partition("What the terms mean")[0]
    return text


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("form", ["text", "markdown", "html", "github"])
def test_no_row_of_answers_is_called_a_pair(form, name):
    told = read(form, RUNS[name])
    assert [told[max(m.start() - 40, 0) : m.end() + 20] for m in WORD.finditer(told)] == []
    assert form == "github" or "80 answers, 3 dropped" in told


def test_an_older_run_of_answers_is_known_by_its_command():
    before = replace(RUNS["kto"], inputs={"pairs": {k: v for k, v in FACTS.items() if k != "unit"}})
    assert (unit(before), sides(before)) == ("answer", ("wanted", "unwanted"))
    assert (unit(replace(before, command="gate")), sides(replace(before, command="gate"))[0]) == (
        "pair",
        "chosen",
    )
