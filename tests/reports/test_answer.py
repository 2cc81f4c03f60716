"""The paragraph that a report opens with: rules hold for every run, not only for those seen so far."""

import dataclasses
import html
import inspect
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from probe.cli import app
from probe.commands.gate import gate
from probe.gate.judge import verdict_of
from probe.gate.registry import PROBE_NAMES
from probe.gate.row import STAGES
from probe.records import (
    BiasRow,
    Condition,
    Decision,
    Estimate,
    Finding,
    Reason,
    Run,
    Verdict,
    run_from_json,
    run_to_json,
)
from probe.reports.advice import METHOD_NAMES, METHOD_WORDS
from probe.reports.advice import advised_findings as advised
from probe.reports.answer import PLANS, _after, answered, summary
from probe.reports.command_line import GATED, KEPT, NOT_CARRIED, SAMPLED
from probe.reports.decided import _because, decided
from probe.reports.next_step import next_command, next_told
from probe.reports.renderers import RENDERERS
from probe.reports.sentences import deciding_fault, given_prompt
from probe.reports.text import render
from probe.reports.view import measured_on
from probe.runs import load_run
from probe.scoring.options import ModelOptions

STORED = sorted((Path(__file__).parent / "stored").glob("*.json"))
SIDES = ("Alpha", "Omega")
VERDICTS = ("favours chosen", "favours rejected", "neutral", "undetermined", "unstable")
numbers = st.floats(-3, 3).map(lambda x: round(x, 3))
shares = st.floats(0, 1).map(lambda x: round(x, 3))


def estimate(name, bounds, units, n):
    low, value, high = sorted(bounds)
    return Estimate(name, value, low, high, n, None, "t", units)


@st.composite
def runs(draw):
    n, method = draw(st.integers(1, 500)), draw(st.sampled_from(sorted(STAGES)))
    three = lambda of: draw(st.tuples(of, of, of))  # noqa: E731
    found = [
        estimate("gap", three(numbers), "nats/token", n),
        estimate("win_rate", three(shares), "share", n),
        estimate("gap_prompt_corrected", three(numbers), "nats/token", n),
        estimate("surface_accuracy", three(shares), "share", n),
        estimate("trial_accuracy", three(shares), "share", n),
        estimate("trial_chosen_change", three(numbers), "nats/token", n),
        estimate("behaviour_up", three(shares), "share", n),
    ]
    kept = [e for e in found if draw(st.booleans())]
    messages = draw(st.lists(st.sampled_from(MESSAGES), max_size=4))
    findings = tuple(
        Finding(
            f"PB{i + 300}",
            draw(st.sampled_from(["error", "warning", "info"])),
            m,
            draw(st.sampled_from(REMEDIES)),
        )
        for i, m in enumerate(messages)
    )
    instead = draw(
        st.sampled_from(["", "write a system prompt; else SFT on documents", "relabel, or use cDPO"])
    )
    decision = Decision(
        method, STAGES[method], {}, (Reason("PB300", "why", "x; evidence: moderate"),), {"instead": instead}
    )
    judged = tuple(
        Condition(
            name, "all", None, 0.5, draw(st.sampled_from(RESULTS)), f"PB{300 + i}", "not measured", gates
        )
        for i, (name, gates) in enumerate((("length_accuracy", True), ("numerics", True), ("note", False)))
    )
    return Run(
        draw(st.sampled_from(sorted(PLANS))),
        "now",
        verdict=verdict_of(judged, draw(st.sampled_from(["fail", "warn"]))),
        decision=decision if draw(st.booleans()) else None,
        bias=(BiasRow("all", draw(st.sampled_from(VERDICTS)), draw(st.none() | st.integers(1, 900))),),
        estimates=tuple(kept),
        findings=findings,
        inputs={"pairs": {"path": "my pairs.jsonl", "n": n}, "sides": list(SIDES)},
        details={"unanswered": draw(st.sampled_from([[], ["numerics"]]))},
    )


RESULTS = ["pass", "fail", "inconclusive"]
SEVERITIES = ["error", "warning", "info"]
REMEDIES = [
    "mend it",
    "Use DPO-positive or an SFT term.",
    "Train on the chosen side by SFT first, then by DPO.",
]
MESSAGES = ["3 rows are empty", "DPO would push both sides down", "SFT first helps", "lengths differ"]


@given(runs())
@settings(max_examples=300)
def test_no_method_is_named_that_the_decision_does_not_name(run):
    if run.command != "gate":
        return
    said = {w.lower() for w in METHOD_NAMES.findall(" ".join(answered(run).summary))}
    own = (
        {w.lower() for w in METHOD_NAMES.findall(run.decision.method.replace("+", " "))}
        if run.decision
        else set()
    )
    assert said <= own, answered(run).summary


@given(runs())
@settings(max_examples=300)
def test_no_side_is_said_to_be_preferred_that_the_numbers_do_not_favour(run):
    gap, text = run.estimate("gap"), " ".join(answered(run).summary)
    for name, sign, verdict in ((SIDES[0], 1, "favours chosen"), (SIDES[1], -1, "favours rejected")):
        if f"prefers {name}" in text:
            assert gap is not None and sign * gap.value > 0 and run.bias[0].verdict == verdict
            (times,) = re.findall(r"tokens are (?:over )?(\d[\d.]*) times", text)
            assert float(times) >= 1


@given(runs())
@settings(max_examples=300)
def test_one_to_four_sentences_and_a_command_that_a_shell_can_read(run):
    made = answered(run)
    assert 1 <= len(made.summary) <= 4 and all(s.strip() and s.endswith(".") for s in made.summary)
    assert made.next is None or shlex.split(made.next)[0] == "probe"
    assert not made.next or next_told(made)
    if made.next and " train " in made.next:
        passed = run.verdict.exit_code == 0 or not run.details["unanswered"]
        assert run.decision is not None and run.decision.stages and passed
    assert (
        answered(made) == made
        and run_from_json(json.loads(json.dumps(run_to_json(made)))).summary == made.summary
    )


@given(runs())
@settings(max_examples=300)
def test_a_paragraph_says_how_verdict_and_decision_go_together(run):
    run = dataclasses.replace(run, command="gate")
    if run.decision is None:
        return
    said, status = answered(run).summary[0], run.verdict.status
    trained = run.verdict.exit_code == 0 or not run.details["unanswered"]
    if status == "inconclusive" and not run.decision.stages:
        assert ", because " in said or deciding_fault(run)
    assert said.startswith("Do not train yet") == bool(run.decision.stages and not trained)
    if run.decision.stages and trained and status != "pass":
        assert "although" in said


def test_sft_beside_a_form_says_why_the_form_is_no_matter():
    judged = (Condition("template_share", "all", None, 0.5, "fail", "PB215"),)
    form = Finding("PB215", "warning", "all 9 rejected responses contain a sign", "Vary it.")
    decision = Decision("sft", ("sft",), {}, (Reason("PB215", "why", "x"),), {"method": "do-not-train"})
    run = Run("gate", "now", verdict=verdict_of(judged, "fail"), decision=decision, findings=(form,))
    run = dataclasses.replace(run, details={"unanswered": []}, inputs={"pairs": {"path": "a.jsonl", "n": 9}})
    assert answered(run).summary[0] == (
        "Train by SFT on the chosen side, because all 9 rejected responses contain a sign, although template "
        "share fails: SFT does not read the rejected side, which alone has that form."
    )


def test_a_failure_that_the_decision_does_not_rest_on_is_the_reason_and_its_remedy_the_advice():
    form = Finding("PB215", "warning", "all contain a sign", "Vary the template.")
    judged = (
        Condition("length_accuracy", "all", None, 0.6, "pass", "PB201"),
        Condition("template_share", "all", None, 0.5, "fail", "PB215"),
        Condition("trial_accuracy", "all", None, 0.5, "inconclusive", "PB501", "not measured: off"),
    )
    decision = Decision("do-not-train", (), {}, (Reason("PB705", "why", "x"),), {"instead": "run the trial"})
    run = Run("gate", "now", verdict=verdict_of(judged, "fail"), decision=decision, findings=(form,))
    made = answered(dataclasses.replace(run, inputs={"pairs": {"path": "a.jsonl", "n": 9}}))
    assert made.summary[0] == (
        "Do not train on these pairs, because template share fails; instead: vary the template."
    )
    assert made.next == "probe sample a.jsonl"


def test_a_number_that_a_decision_rests_on_is_no_note():
    budget = Estimate("flip_budget_share", 0.7, 0.6, 0.8, 40, None, "t", "share")
    judged = Condition("flip_budget_share", "all", budget, 0.5, "fail", "PB120", "", gates=False)
    reasons = (Reason("PB120", "why", "x; evidence: moderate"),)
    for decision, said in ((Decision("do-not-train", (), {}, reasons), "decides"), (None, "note")):
        run = Run("gate", "now", verdict=Verdict("fail", 1, (judged,)), decision=decision)
        assert f"{said}  " in render(run) and f"{said}  " in render(run, everything=True)
        assert ("1 number to note" in render(run)) == (said == "note")


@given(runs())
@settings(max_examples=150)
def test_the_report_fits_a_screen_before_all(run):
    for command in ("bias", "data", "gate"):
        text = render(answered(dataclasses.replace(run, command=command)))
        assert len(text.splitlines()) <= 40


def test_every_method_has_words():
    assert set(METHOD_WORDS) == set(STAGES)


@pytest.mark.parametrize("name", sorted(RENDERERS.keys() - {"junit", "github"}))
def test_the_same_sentences_in_every_format(name, bias_run):
    made = answered(bias_run)
    shown = " ".join(html.unescape(RENDERERS[name](made)).replace("\\", "").split())
    first = made.summary[0].split("[")[0]
    assert first in shown and "probe gate" in shown


def test_the_side_that_wins_is_the_one_the_sentence_is_about():
    gap = Estimate("gap", -0.5, -0.7, -0.3, 20, 0.001, "t", "nats/token")
    wins = Estimate("win_rate", 0.1, 0.0, 0.3, 20, 0.001, "t", "share")
    run = Run(
        "bias",
        "now",
        bias=(BiasRow("all", "favours rejected"),),
        estimates=(gap, wins),
        inputs={"sides": SIDES},
    )
    assert (
        "prefers Omega, the rejected side, in 18 of 20 pairs: on average its tokens are 1.6 times as likely"
        in answered(run).summary[0]
    )
    assert "(0.50 [0.30, 0.70] nats/token)" in answered(run).summary[0]


def test_an_accepted_finding_says_so_and_why(bias_run):
    run = dataclasses.replace(
        bias_run, details={"accepted": [{"code": "PB101", "group": None, "reason": "belief set"}]}
    )
    assert "~ PB101" in render(run) and "~ PB101" in render(run, everything=True)
    for name, show in RENDERERS.items():
        if name != "json":
            assert "accepted: belief set" in " ".join(show(run).split()), name


def test_a_comment_opens_with_under_sixty_lines(gate_run):
    lines = RENDERERS["markdown"](answered(gate_run)).splitlines()
    opened = [line for i, line in enumerate(lines) if not _folded_at(lines, i)]
    assert len(opened) < 60 and "<details>" in "".join(lines)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_comment_on_a_real_run_is_short_and_has_no_empty_column(path):
    lines = RENDERERS["markdown"](answered(load_run(path))).splitlines()
    assert len([line for i, line in enumerate(lines) if not _folded_at(lines, i)]) < 60
    heads = [line for line, below in pairwise(lines) if below.startswith("| ---")]
    assert not [head for head in heads if "|  |" in head]


def _folded_at(lines, i):
    before = "\n".join(lines[: i + 1])
    return before.count("<details>") > before.count("</details>")


FAILED = "the sides are told apart in 100% of 40 pairs"


@pytest.mark.parametrize("goal", ["auto", "fact"])
def test_what_two_beliefs_differ_in_is_a_fact_of_the_design(goal):
    found = Finding("PB202", "error", FAILED, "SFT on the chosen side.")
    decision = Decision("do-not-train", (), {}, (Reason("PB505", "why", "x"),))
    run = Run("gate", "now", decision=decision, findings=(found,), config={"goal": goal})
    (told,) = advised(run)
    if goal == "fact":
        assert told.severity == "info" and "fact of the design" in told.message and not told.remedy
    else:
        assert told.severity == "error" and told.remedy == "If you train anyway: SFT on the chosen side."


@given(runs())
@settings(max_examples=200)
def test_advice_for_another_decision_says_so(run):
    for finding in advised(run):
        if run.decision and METHOD_NAMES.findall(finding.remedy):
            named = {w.lower() for w in METHOD_NAMES.findall(finding.remedy)}
            own = {w.lower() for w in METHOD_NAMES.findall(run.decision.method.replace("+", " "))}
            assert named <= own or finding.remedy.startswith(
                ("If you train anyway: ", "If you train by another method: ")
            )


def test_several_runs_are_told_by_their_gaps_and_what_is_clear_of_zero():
    def row(name, value, low, high, group="all"):
        return {"name": name, "value": value, "low": low, "high": high, "units": "nats/token", "group": group}

    runs = [{"run": name, "gap": {"value": value}} for name, value in (("A", 0.5), ("B", 0.2), ("C", 0.49))]
    rows = [
        row("B − A: gap", -0.3, -0.4, -0.2),
        row("C − A: gap", -0.01, -0.1, 0.1),
        row("x", 1, 0.5, 2, "odd"),
    ]
    made = answered(Run("report", "now", details={"runs": runs, "differences": rows}))
    assert made.summary == (
        "3 runs side by side: the mean gap is +0.50 in A, +0.20 in B, +0.49 in C (nats/token).",
        "Clear of 0: B − A: gap −0.30 [−0.40, −0.20].",
    )
    assert "3 runs, 1 of 2 differences clear of 0: B − A: gap" in render(made)


def test_what_a_decision_rests_on_is_told_first_of_the_equally_grave_in_every_format(gate_run):
    """Text, page and comment take their findings from one list."""
    told = [Finding(code, "warning", f"{code} was found", "") for code in ("PB330", "PB201", "PB215")]
    grave = Finding("PB301", "error", "PB301 was found", "")
    reasons = (Reason("PB215", "why", "x"),)
    run = dataclasses.replace(
        gate_run, findings=(*told, grave), decision=Decision("do-not-train", (), {}, reasons)
    )
    assert [f.code for f in advised(run)] == ["PB301", "PB215", "PB330", "PB201"]
    for text in (render(run), *(RENDERERS[name](run) for name in ("html", "markdown"))):
        places = [text.index(f"{code} was found") for code in ("PB301", "PB215", "PB330")]
        assert places == sorted(places)


def effects_run(effects=(), attributes=({"attribute": "numbers"},), findings=()):
    return Run(
        "effects",
        "now",
        findings=findings,
        details={"effects": list(effects), "attributes": list(attributes)},
    )


def test_effects_open_with_what_is_taught_and_what_the_sides_differ_in():
    verdicts = {"lists": "taught", "harm": "its contrary", "x": "not shown"}
    rows = [{"trait": trait, "verdict": verdict} for trait, verdict in verdicts.items()]
    differ = Finding("PB251", "info", "chosen and rejected differ in numbers (d +2.39)", "Match the sides.")
    assert summary(effects_run(rows, findings=(differ,))) == (
        "By this model's own log-probs the pairs teach lists, and teach the contrary of harm.",
        "Chosen and rejected differ in numbers (d +2.39). Match the sides.",
    )
    assert summary(effects_run(rows[2:])) == (
        "By this model's own log-probs none of 1 trait is shown to be taught.",
        "No attribute that is counted by rule is shown to differ between the sides.",
    )
    assert summary(effects_run(rows[:1], attributes=()))[0].endswith("the pairs teach lists.")


@pytest.mark.parametrize(
    ("answers", "margins", "because"),
    [((0.79, 0.51), (0.75, 0.50), "79% [51%, 99%] of the answers that a short training moved"),
     ((0.79, 0.49), (0.75, 0.60), "a short training raises the margin of 75% [60%, 99%] of unseen pairs"),
     (None, (0.75, 0.60), "a short training raises the margin"), (None, (0.75, 0.5), "")],
)  # fmt: skip
def test_training_is_reasoned_by_what_was_shown_and_never_by_what_was_not(answers, margins, because):
    def measured(name, at):
        return Estimate(name, at[0], at[1], 0.99, 24, None, "t", "share")

    names = {"behaviour_up": answers, "trial_accuracy": margins}
    estimates = tuple(measured(name, at) for name, at in names.items() if at)
    doubt = Finding("PB501", "warning", "the margin is not shown to be better than chance", "r")
    decision = Decision("sft", ("sft",), {}, (Reason("PB501", "t", "evidence: good"),))
    run = Run("gate", "now", Verdict("pass", 0), decision, estimates=estimates, findings=(doubt,))
    told = decided(run)
    assert told.startswith("Train"), told
    assert (f", because {because}" in told) if because else ("because" not in told)
    assert "not shown" not in told


@pytest.mark.parametrize("code", ["PB501", "PB705"])
def test_what_costs_no_training_is_also_the_next_command(code):
    """The paragraph says to try a system prompt in its place: so does the command, until it was tried."""
    condition = Condition("trial_accuracy", "all", None, 0.5, "inconclusive", "PB501", "12 of the 20 pairs")
    decision = Decision(
        "do-not-train", (), {}, (Reason(code, "why", "x"),), {"instead": "try a system prompt"}
    )
    run = Run(
        "gate", "now", Verdict("inconclusive", 1, (condition,)), decision,
        inputs={"pairs": {"path": "p.jsonl", "n": 24}},
    )  # fmt: skip
    assert next_command(run) == "probe levers p.jsonl"
    tried = Estimate("lever_system", 0.1, 0.0, 0.2, 24, None, "t", "share")
    assert next_command(dataclasses.replace(run, estimates=(tried,))) == f"probe explain {code}"


def trial_of(*findings):
    """A trial in which half of the margins rose, the chosen side lost and most answers moved away."""
    estimates = (
        Estimate("trial_accuracy", 0.5, 0.24, 0.76, 40, 1.0, "t", "share"),
        Estimate("trial_chosen_change", -0.3, -0.4, -0.2, 40, 0.01, "t", "nats/token"),
        Estimate("behaviour_up", 0.2, 0.1, 0.35, 40, 0.01, "t", "share"),
    )
    run = Run("trial", "now", Verdict("measured", 0), estimates=estimates, findings=findings)
    return " ".join(summary(run))


@pytest.mark.parametrize(
    ("code", "message", "once"),
    [("PB501", "the margin rises in 50% [24%, 76%], not better than chance", "50%"),
     ("PB503", "unseen chosen responses change by -0.300 nats/token", "nats/token"),
     ("PB510", "of the prompts whose samples moved, 8 moved up and 32 down", "moved")],
)  # fmt: skip
def test_a_trial_tells_a_fact_once_and_then_what_to_do(code, message, once):
    told = trial_of(Finding(code, "warning", message, "Use more or clearer pairs."))
    assert told.count(once) == 1 and told.endswith(" Use more or clearer pairs.") and message[1:] not in told


def test_a_trial_tells_what_its_first_sentence_has_not():
    told = trial_of(Finding("PB505", "warning", "the model learns the length", "Match the lengths."))
    assert "The model learns the length. Remedy: match the lengths." in told
    alone = Run(
        "trial", "now", Verdict("measured", 0), findings=(Finding("PB503", "warning", "it falls", "Stop."),)
    )
    assert "It falls. Remedy: stop." in " ".join(summary(alone))


@pytest.mark.parametrize(
    ("margins", "judge", "told"),
    [
        ((0.71, 0.58), (0.64, 0.49), True),
        ((0.71, 0.58), (0.64, 0.51), False),
        ((0.55, 0.4), (0.64, 0.49), True),
    ],
)
def test_answers_that_were_drawn_and_not_judged_are_said_to_be_so(margins, judge, told):
    """Nothing is known then of what the model writes, whether margins rose or not."""
    estimates = (
        Estimate("trial_accuracy", *margins, 0.9, 45, None, "t", "share"),
        Estimate("behaviour_judge", *judge, 0.8, 45, None, "t", "share"),
        Estimate("behaviour_up", None, None, None, 45, None, "not judged", "share"),
    )
    text = " ".join(summary(Run("trial", "now", Verdict("measured", 0), estimates=estimates)))
    clause = (
        "; what the model then writes is not judged, since a judge of its answers is right on 64% [49%, 80%]"
    )
    assert (clause in text) is told


def left_open(message, **config):
    """A gate without a finding whose trial has no result, for the reason in `message`."""
    condition = Condition("trial_accuracy", "all", None, 0.5, "inconclusive", "PB501", message)
    decision = Decision("do-not-train", (), {}, (Reason("PB705", "why", "x"),), {"instead": "run the trial"})
    return Run(
        "gate", "now", verdict_of((condition,), "fail"), decision, config=config,
        inputs={"pairs": {"path": "p.jsonl", "n": 40}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "again"),
    [
        ("off", True), ("not run", True), ("could not measure: All pairs share a prompt. Give more.", False),
        ("not measured: it needs the weights, and an endpoint gives log-probs", False),
        ("not run, since the numerics failed", False),
    ],
)  # fmt: skip
def test_no_gate_is_to_be_made_again_that_would_measure_no_more(state, again):
    run = left_open(f"not measured (trial: {state}); what was not run never passes")
    assert next_command(run) == ("probe gate p.jsonl" if again else "probe explain PB501")


def test_a_code_that_stands_for_several_is_not_told_as_one():
    """`probe explain PB0` lists codes. NEXT is the first error of them, else what the decision rests on."""
    run = left_open(
        "not measured (numerics: not measured: it needs the weights); what was not run never passes"
    )
    numerics = dataclasses.replace(run.verdict.conditions[0], name="numerics", code="PB0")
    run = dataclasses.replace(run, verdict=verdict_of((numerics,), "fail"))
    assert next_command(run) == "probe explain PB705"
    found = Finding("PB003", "error", "x", "y")
    assert next_command(dataclasses.replace(run, findings=(found,))) == "probe explain PB003"


def test_what_could_not_be_measured_is_told_with_its_cause_and_what_helps():
    why = "All pairs share one prompt, so none can be held out. Give pairs of two prompts or more."
    run = answered(
        left_open(f"not measured (trial: could not measure: {why}); what was not run never passes")
    )
    assert "; instead: give pairs of two prompts or more" in run.summary[0]
    assert "All pairs share one prompt" in " ".join(render(run).split())


def test_a_gate_that_is_made_again_keeps_every_option_but_those_that_must_not():
    """Each option of the command is carried, or stands on the list of those that are not."""
    options = set(inspect.signature(gate).parameters) - {"how", "off"}
    options |= {field.name for field in dataclasses.fields(ModelOptions)} | set(PROBE_NAMES)
    assert options == set(GATED) | set(NOT_CARRIED) and not set(GATED) & set(NOT_CARRIED)
    switches = ("skip_bad", "trust_remote_code", "no_cache", "thorough", "full", "one_stage")
    typed = {name: True if name in switches else "x" for name in options}
    run = left_open("not measured (trial: off); what was not run never passes", **typed)
    origins = dict.fromkeys(typed, "flag")
    words = shlex.split(next_command(dataclasses.replace(run, config={**typed, "origins": origins})))
    assert {w for w in words if w.startswith("--")} == {f"--{name.replace('_', '-')}" for name in GATED}


@pytest.mark.parametrize("whole", [True, False])
def test_a_number_of_left_out_pairs_is_told_with_what_it_is_of(whole):
    """A gate that stopped early, or has no bias, has read a sample: its number is not that of the file."""
    run = left_open("not measured (trial: off); what was not run never passes")
    scores = {"excluded_why": {"both sides are the same tokens": 24}}
    bias = (BiasRow("all", "neutral", None),) if whole else ()
    told = measured_on(dataclasses.replace(run, bias=bias, inputs={**run.inputs, "scores": scores}))
    of = "" if whole else " of the pairs that the model read"
    assert f"24 left out{of}: both sides are the same tokens" in told


@pytest.mark.parametrize("also", [False, True])
def test_a_method_is_told_with_what_chose_it_and_not_with_what_speaks_for_any(also):
    """A trial that learns speaks for DPO too; two stages are for what the model prefers the other way."""
    estimates = (
        Estimate("trial_accuracy", 0.73, 0.6, 0.85, 60, 0.01, "t", "share"),
        Estimate("flip_budget_share", 0.9, 0.8, 0.95, 60, 0.01, "t", "share"),
    )
    reasons = (Reason("PB501", "", ""), *([Reason("PB120", "", "")] if also else []))
    run = Run("gate", "now", estimates=estimates)
    text = _because(run, Decision("sft+dpo", ("sft", "dpo"), {}, reasons))
    assert text.startswith("a short training raises the margin of 73%")
    assert ("in 90% [80%, 95%] of them the model prefers the rejected side" in text) is also


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (0.019, 0.0201, "from +0.019 to +0.020 nats/token"),  # it said +0.02 to +0.02, beyond chance
        (-0.5, 0.25, "from −0.50 to +0.25 nats/token"),
        (0.1, 0.1, "from +0.10 to +0.10 nats/token"),
    ],
)
def test_a_gap_that_moved_is_told_by_two_numbers_that_differ(before, after, told):
    row = {
        "group": "all",
        "name": "gap",
        "before": before,
        "after": after,
        "change": 0.1,
        "low": 0.0,
        "high": 1,
    }
    assert told in _after(Run("train", "now", details={"before_after": [row]}))


@pytest.mark.parametrize(
    ("lost", "told"), [(2, "probe data p.jsonl --fix p.fixed.jsonl"), (5, "probe explain {}")]
)
@pytest.mark.parametrize("code", ["PB300", "PB301"])
def test_what_most_rows_lack_is_explained_and_not_dropped(code, lost, told):
    """A comma behind every line: `--fix` was advised, which left 1 pair of 28."""
    broken = Finding(code, "error", "m", "r", lines=tuple(range(1, lost + 1)))
    pairs = {"path": "p.jsonl", "n": 10 - lost * (code == "PB300"), "dropped": lost * (code == "PB300")}
    run = Run("data", "now", findings=(broken,), inputs={"pairs": pairs})
    assert next_command(run) == told.format(code)


@pytest.mark.parametrize(("added", "round_"), [(1.79, True), (1.2, False)])
def test_a_preference_that_the_prompt_alone_makes_is_the_other_way_round_without(added, round_):
    """A gap of 1.45 was told to be "1.79 smaller" without the prompt."""
    estimates = tuple(
        Estimate(name, -value, -value - 0.2, -value + 0.2, 40, None, "t", "nats/token")
        for name, value in (("gap", 1.45), ("gap_prompt_corrected", added))
    )
    run = Run("bias", "now", estimates=estimates, bias=(BiasRow("all", "favours rejected", None),))
    told = given_prompt(run)
    assert f"the preference is {added:.2f}" in told
    assert told.endswith("smaller, which is the other way round.") is round_


@pytest.mark.parametrize(("command", "code"), [("negatives", "PB201"), ("gate", "PB201")])
def test_new_negatives_come_from_the_model_that_was_measured(command, code):
    """NEXT named the model alone: `sample` then asked the base, at another revision and template."""
    typed = {
        "model": "m", "adapter": "a", "revision": "v2", "template": "raw", "quantize": "nf4", "fields": "a=b",
        "trust_remote_code": True, "max_length": 9, "device": "cpu",
    }  # fmt: skip
    trivial = Condition("surface_accuracy", "all", None, 0.9, "fail", code, "limit")
    decision = Decision("do-not-train", (), {}, (Reason(code, "", ""),))
    run = Run(
        command, "now", Verdict("fail", 1, (trivial,)), decision,
        findings=(Finding(code, "error", "m", "r"),), inputs={"pairs": {"path": "p.jsonl", "n": 9}},
        config={**typed, "origins": dict.fromkeys(typed, "flag")},
    )  # fmt: skip
    words = shlex.split(next_command(run))
    options = {w for w in words if w.startswith("--")}
    assert words[1] == "sample" and options == {f"--{name.replace('_', '-')}" for name in SAMPLED}
    assert options <= {name for p in get_command(app).commands["sample"].params for name in p.opts}
    asked = {"skip_bad": True, "origins": {"skip_bad": "flag"}}
    for dropped, told in ((1, "data"), (0, "sample")):  # `sample` reads every row
        pairs = {"path": "p.jsonl", "n": 9, "dropped": dropped}
        made = next_command(dataclasses.replace(run, config=asked, inputs={"pairs": pairs}))
        assert shlex.split(made)[:2] == ["probe", told]


def test_what_next_carries_its_command_takes():
    takes = {
        name: {option for p in command.params for option in p.opts}
        for name, command in get_command(app).commands.items()
    }
    for command, kept in (*KEPT.items(), ("gate", GATED)):
        assert {f"--{name.replace('_', '-')}" for name in kept} <= takes[command], command


@pytest.mark.parametrize(
    ("result", "end"),
    [
        ("pass", "at least 80% is shown."),
        ("fail", "less than the 80% that is asked for."),
        ("inconclusive", "whether it is at least 80% cannot be said yet."),
    ],
)
def test_a_label_report_opens_with_what_people_said(result, end):
    found = Estimate("agreement", 0.9, 0.8, 0.96, 60, None, "exact", "share")
    condition = Condition("agreement", "all", found, 0.8, result, "PB310", sense=">=")
    run = Run("label", "now", estimates=(found,), verdict=Verdict(result, 0, (condition,)))
    assert answered(run).summary == (
        f"People who saw the sides blind preferred the one that the file calls chosen in 54 of 60 answers "
        f"(90% [80%, 96%]): {end}",
    )


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_a_headline_is_not_said_twice(form):
    run = answered(Run("levers", "now", details={"levers_told": "the model ranks every pair right"}))
    assert run.summary == ("The model ranks every pair right.",)
    assert RENDERERS[form](run).lower().count("the model ranks every pair right") == 1
    assert 'class="answer"' not in RENDERERS["html"](run)


@pytest.mark.parametrize(
    ("gap", "low", "high", "times", "told"),
    [(-0.0032, -0.0061, -0.0003, "1.003 times", "(0.0032 [0.0003, 0.01] nats/token)"),
     (0.00012, 0.00006, 0.0002, "1.0001 times", "(0.0001 [0.0001, 0.0002] nats/token)"),
     (0.04, -0.001, 0.08, "1.04 times", "(0.04 [−0.0010, 0.08] nats/token)"),
     (0.5, 0.3, 0.7, "1.6 times", "(0.50 [0.30, 0.70] nats/token)")],
)  # fmt: skip
def test_a_small_preference_is_told_by_digits_that_show_it(gap, low, high, times, told):
    """It read "1.00 times as likely … (0.00 [0.00, 0.00] nats/token)" beside a headline of −0.0032."""
    verdict = "favours chosen" if gap > 0 else "favours rejected"
    names = ("gap", "gap_prompt_corrected")
    estimates = tuple(Estimate(name, gap, low, high, 40, None, "t", "nats/token") for name in names)
    run = Run("bias", "now", estimates=estimates, bias=(BiasRow("all", verdict, None),))
    text = summary(run)[0]
    assert f"tokens are {times} as likely" in text and told in text
    assert "0.00 [0.00" not in given_prompt(run)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([("sft", 0, 6)], "The weights are those of the start: no later state had a lower held-out loss"),
        ([("sft", 0, 6), ("dpo", 0, 3)], "The weights are those of the start: "),
        ([("sft", 6, 6), ("dpo", 0, 3)], "Trained: sft, then dpo. In dpo the weights stayed as they were: "),
        ([("sft", 4, 6), ("dpo", 3, 3)], "Trained: sft (weights of step 4 of 6), then dpo."),
        ([("sft", 6, 6)], "Trained: sft."),
        ([], "Trained: sft."),
    ],
)
def test_a_training_says_which_weights_it_ended_with(ends, said):
    """The report said "Trained: dpo" of an adapter that was as it had started."""
    stages = [{"method": name, "best_step": best, "steps": steps} for name, best, steps in ends]
    methods = tuple(name for name, *_ in ends) or ("sft",)
    run = Run(
        "train", "now", decision=Decision("+".join(methods), methods, {}, ()),
        details={"training": {"log_history": [{"loss": 1.0, "step": 1}], "stages": stages}},
    )  # fmt: skip
    assert summary(run)[0].startswith(said)
