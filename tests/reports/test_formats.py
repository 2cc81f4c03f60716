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
