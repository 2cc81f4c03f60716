"""Markdown, JUnit, GitHub annotations and JSON: valid, escaped, of one mind with the verdict."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from probe.records import Condition, Finding, Run, Verdict, run_from_json, run_to_json
from probe.reports import github, junit, markdown
from probe.reports.answer import answered
from probe.reports.renderers import RENDERERS
from probe.reports.text import render

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[1] / "docs/schema/run-1.json").read_text())
CREATED = "2026-11-21T10:52:00Z"


@pytest.fixture(params=["bias", "train"])
def run(request, bias_run, gate_run):
    return {"bias": bias_run, "train": gate_run}[request.param]


def test_saved_runs_follow_the_published_schema(run):
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(json.loads(RENDERERS["json"](run)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("verdict", "status"), "perhaps"),
        (("findings", 0, "code"), "E1"),
        (("estimates", 0, "p"), 1.5),
        (("inputs", "pairs", "sha256"), "zz"),
    ],
)
def test_the_schema_refuses_what_is_no_run(gate_run, path, value):
    from jsonschema import Draft202012Validator

    data = run_to_json(gate_run)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not Draft202012Validator(SCHEMA).is_valid(data)


def test_the_schema_names_every_field_of_the_records(gate_run):
    data = run_to_json(gate_run)
    named = {"": SCHEMA, **SCHEMA["$defs"]}
    rows = {
        "": data,
        "estimate": data["estimates"][0],
        "finding": data["findings"][0],
        "condition": data["verdict"]["conditions"][0],
        "verdict": data["verdict"],
        "decision": data["decision"],
        "reason": data["decision"]["reasons"][0],
        "bias_row": data["bias"][0],
    }
    assert {k: set(v) - set(named[k]["properties"]) for k, v in rows.items()} == {k: set() for k in rows}


def test_junit_is_valid(run):
    etree = pytest.importorskip("lxml.etree", reason="lxml validates XML Schema; it is not installed")
    schema = etree.XMLSchema(etree.parse(str(HERE / "data/junit.xsd")))
    schema.assertValid(etree.fromstring(junit.render(run).encode()))


def test_junit_counts_its_cases(gate_run):
    suite = ET.fromstring(junit.render(gate_run)).find("testsuite")
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases) == 5
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == 3
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped")) == 1


def test_every_code_that_junit_prints_is_explained(capsys, gate_run):
    """Conditions that were not measured name a family of codes; `probe explain` lists it."""
    from probe.commands.explain import explain
    from probe.gate.conditions import CONDITIONS

    rows = [Condition(rule.name, "all", None, rule.limit, "inconclusive", rule.code) for rule in CONDITIONS]
    run = dataclasses.replace(gate_run, verdict=Verdict("inconclusive", 1, tuple(rows)))
    printed = set(re.findall(r"probe explain (PB\d+)", junit.render(run)))
    assert printed == {rule.code for rule in CONDITIONS}
    for code in printed:
        explain(code)
        assert code in capsys.readouterr().out


results = st.lists(st.sampled_from(["pass", "fail", "inconclusive", "accepted"]), max_size=6)
statuses = st.sampled_from(["measured", "pass", "fail", "inconclusive"])


@settings(max_examples=200)
@given(results, statuses, st.text())
def test_every_format_agrees_with_the_verdict(kinds, status, name):
    code = 0 if status in ("measured", "pass") else 1
    kinds = [kind for kind in kinds if code or kind != "fail"]
    conditions = tuple(Condition(name or "x", "all", None, 0.5, kind, "PB101") for kind in kinds)
    run = Run("gate", CREATED, Verdict(status, code, conditions))
    failed = bool(ET.fromstring(junit.render(run)).findall(".//failure"))
    errors = [line for line in github.render(run).splitlines() if line.startswith("::error")]
    assert failed == bool(errors) == bool(run_to_json(run)["verdict"]["exit_code"]) == bool(code)
    text = render(run)
    assert status.upper() in text and (
        not conditions or f"exit code {code}" in text.rstrip().splitlines()[-1]
    )


COMMAND = re.compile(r"::(error|warning|notice) [a-zA-Z]+=[^:\n]*(,[a-zA-Z]+=[^:,\n]*)*::[^\r\n]+")


@given(st.text(), st.text())
def test_no_text_can_start_another_workflow_command(message, path):
    finding = Finding("PB301", "error", message, "mend", lines=(3,))
    run = Run("data", CREATED, findings=(finding,), inputs={"pairs": {"path": path, "n": 1}})
    lines = github.render(run).split("\n")
    assert len(lines) == 3 and lines[-1] == ""
    assert all(COMMAND.fullmatch(line) for line in lines[:-1])


def test_annotations_escape_what_github_reads(bias_run):
    assert github.command("error", "50% of\r\nlines", file="a,b:c%.jsonl", line="7") == (
        "::error file=a%2Cb%3Ac%25.jsonl,line=7::50%25 of%0Alines"
    )
    assert "::warning file=pairs/cico_insulin.jsonl,line=1,title=PB101::" in github.render(bias_run)


def test_markdown_shows_hostile_text_as_text(gate_run):
    parser = MarkdownIt("gfm-like", {"linkify": False})
    html = parser.render(markdown.render(gate_run))
    assert "<script" not in html and "<b>markup" not in html and "\x1b" not in html and "\u202e" not in html
    assert html.count("<table>") == html.count("</table>") == 11
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_markdown_escapes_round_trip_through_a_parser(text):
    parser = MarkdownIt("gfm-like", {"linkify": False})
    shown = markdown.visible(text)
    html = parser.render("x " + markdown.escaped(text) + " x").replace("@<!-- -->", "@")
    plain = re.sub(r"</?p>\n?", "", html)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(entity, sign)
    assert plain.strip().split() == f"x {shown} x".split()


def test_markdown_calls_nobody():
    assert markdown.escaped("ask @someone") == "ask @<!-- -->someone"


def test_renderers_give_the_same_bytes_for_the_same_saved_run(run):
    again = run_from_json(json.loads(json.dumps(run_to_json(run))))
    assert all(show(again) == show(run) for show in RENDERERS.values())


def noting(gate_run, **changes):
    """A run with a condition that only describes, past its limit, and one that is open."""
    past = gate_run.verdict.conditions[2]
    judged = (
        dataclasses.replace(past, gates=False),
        dataclasses.replace(past, gates=False, measured=None, result="inconclusive", name="open one"),
        Condition("decision", "all", None, None, "fail", "PB120", "Sides alike."),
    )
    return dataclasses.replace(gate_run, verdict=Verdict("fail", 1, judged), **changes)


def test_every_format_calls_a_condition_that_only_describes_a_note(gate_run):
    """No CI shows "fail" for what fails no gate, nor a warning of what was not measured for information."""
    run = noting(gate_run, command="gate", decision=None)
    lines = [line for line in github.render(run).splitlines() if "triviality" in line or "open one" in line]
    assert len(lines) == 1 and "::note: " in lines[0]
    skipped = [s.get("message") for s in ET.fromstring(junit.render(run)).iter("skipped")]
    assert [message.split(":")[0] for message in skipped] == ["note", "open"]
    assert "Sides alike: none, limit some method" in github.render(run)
    assert "Sides alike: none, limit some method" in junit.render(run)


def test_annotations_show_each_finding_before_another_place_of_one(gate_run):
    """GitHub shows ten of a level: of three findings with many lines none is left out."""
    found = tuple(
        Finding(f"PB30{i}", "error", f"finding {i}", "mend", lines=tuple(range(1, 9))) for i in range(7)
    )
    run = dataclasses.replace(gate_run, findings=found, verdict=Verdict("measured", 0))
    errors = [line for line in github.render(run).splitlines() if line.startswith("::error")]
    assert len(errors) == 7 * github.MOST_PLACES
    assert {re.search("title=(PB30.)", line)[1] for line in errors[:7]} == {f.code for f in found}


@pytest.mark.parametrize(
    "text",
    ["# a", "- b", "1. c", "+ d", "2) e", "---", "=", "===", "- - -", "#", "1.", "12) ", "* f", "-0.3", "#1"],
)
def test_no_text_of_a_file_opens_a_block_in_markdown(text):
    """A giveaway or a name that stands first on its line is text, not a heading, a list or a rule."""
    parser = MarkdownIt("gfm-like", {"linkify": False})
    for lead, tags in (("", r"</?p>"), ("- ", "</?(ul|li)>")):
        html = parser.render(f"{lead}{markdown.escaped(text)}")
        assert re.sub(tags, "", html).strip() == text.strip()


def test_a_step_summary_holds_ten_pairs_of_any_length(bias_run):
    """GitHub takes 1 MiB, and shows nothing of what is longer."""
    side = {"text": "`y` " * 100_000, "tokens": []}
    row = {**bias_run.details["worst"][0], "prompt": "x" * 400_000, "chosen": side, "rejected": side}
    run = dataclasses.replace(bias_run, details={**bias_run.details, "worst": [row] * 20, "best": [row] * 20})
    text = markdown.render(run)
    assert len(text.encode()) < 1 << 20 and "398,000 more characters" in text


def test_the_headline_counts_ties_and_writes_no_interval_that_there_is_not(bias_run):
    def told(*estimates):
        return render(dataclasses.replace(bias_run, estimates=estimates, findings=()))

    gap, wins = bias_run.estimate("gap"), bias_run.estimate("win_rate")
    bare = dataclasses.replace(gap, low=None, high=None)
    tied = dataclasses.replace(wins, name="tie_share", value=3 / 27, n=27)
    text = " ".join(told(bare, wins, tied).split())
    assert "CICO wins 18 of 24 pairs, 3 tied, gap +0.51 nats/token" in text
    many = dataclasses.replace(wins, value=0.75, n=20_000)
    assert "CICO wins 15,000 of 20,000 pairs, gap" in " ".join(told(gap, many).split())


def test_the_title_of_the_page_names_the_whole_side(bias_run):
    inputs = {**bias_run.inputs, "sides": ["pro: calories", "con"]}
    page = RENDERERS["html"](answered(dataclasses.replace(bias_run, inputs=inputs)))
    assert re.search(r"</span> favours pro: calories</h1>", page)


@pytest.mark.parametrize(
    ("before", "after", "bounds", "sentence", "head"),
    [
        (
            -0.001,
            0.001,
            (0.001, 0.003),
            "from −0.001 to +0.001 nats/token, beyond chance",
            "+0.0020 [+0.0010, ",
        ),
        (0.5, 0.50001, (None, None), "from +0.50 to +0.50 nats/token, which may", "nats/token, +0.00; "),
        (-0.0, -2.0, (-3.0, -1.0), "from +0.00 to −2.00 nats/token, beyond chance", "−2.00 [−3.00, −1.00]"),
    ],
)
def test_what_training_changed_is_told_in_numbers_that_differ(
    gate_run, before, after, bounds, sentence, head
):
    """It had been "from −0.00 to +0.00, beyond chance", and a dash where there is no interval."""
    row = {**gate_run.details["before_after"][0], "before": before, "after": after, "change": after - before}
    row |= {"low": bounds[0], "high": bounds[1]}
    run = dataclasses.replace(
        gate_run,
        bias=(),
        verdict=Verdict("measured", 0),
        details={"before_after": [row], "training": {"x": 1}},
    )
    shown = " ".join(render(answered(run), width=120).split())
    assert sentence in shown and head in shown
