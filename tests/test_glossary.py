"""Every term that a report prints is in the glossary, and the glossary can be asked from the command line."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from probe import __main__, records
from probe.explain import explanations
from probe.files import sources
from probe.gate.conditions import CONDITIONS
from probe.gate.promote.changes import QUANTITIES
from probe.gate.registry import PROBES
from probe.glossary import TERMS, definition
from probe.reports import html, markdown, text
from probe.reports.negatives_tables import SCORES
from probe.reports.terms import terms
from probe.reports.view import confidence_heading

ROOT = Path(__file__).parents[1]
ROOMS = ("gate", "probes", "reports", "scoring", "stats", "training")


def calls():
    """Every call in the package, as its function's name and the call."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield ast.unparse(node.func), node


def literals(node):
    """The texts that an expression may be: a constant, or either side of a condition."""
    parts = (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)
    return {p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str) and p.value}


def columns():
    named = {name for function, call in calls() if function == "Column" for name in literals(call.args[0])}
    return named | {confidence_heading(alpha) for alpha in (None, 0.05, 0.01, 0.001)}


def estimates():
    """The names that estimates are given where they are made, and the units."""
    names, units = set(), set()
    for function, call in calls():
        if function == "Estimate":
            names |= literals(call.args[0]) if call.args else set()
            units |= literals(call.args[7]) if len(call.args) > 7 else set()
        given = {keyword.arg: literals(keyword.value) for keyword in call.keywords}
        if "units" in given or function.split(".")[-1].startswith("share"):
            names |= given.get("name", set())
            units |= given.get("units", set())
    return names, units


NAMES, UNITS = estimates()
PRINTED = {
    "columns": columns(),
    "columns of the gate's sections": {c for p in PROBES if p.section for c in p.section.columns},
    "scores of pairs": {*SCORES, *SCORES.values()},
    "conditions": {rule.name for rule in CONDITIONS},
    "estimates": NAMES,
    "units": UNITS - {"alpha"},  # of an agreement whose name is alpha
    "compared quantities": {quantity.name for quantity in QUANTITIES.values()},
    "verdicts": {
        *get_args(records.BiasVerdict),
        *get_args(records.ConditionResult),
        *get_args(records.Severity),
    },
}


@pytest.mark.parametrize("kind", PRINTED)
def test_every_printed_term_is_in_the_glossary(kind):
    assert {term for term in PRINTED[kind] if definition(term) is None} == set()


def test_the_collection_finds_what_is_known_to_be_printed():
    """The test above would pass if it collected nothing."""
    assert {"95% CI", "gap", "p", "p adj.", "turned"} <= PRINTED["columns"]
    assert {"label_noise", "win_rate", "gradient_cosine"} <= PRINTED["estimates"]
    assert {"nats/token", "share", "bits"} <= PRINTED["units"]


def test_an_entry_is_one_or_two_sentences():
    for term, meaning in TERMS.items():
        assert (term == term.lower() and meaning[0] == meaning[0].upper()) or meaning.startswith("`w`")
        assert meaning.endswith(".") and len(re.findall(r"[.] (?=[A-Z])", meaning)) <= 1, term


def test_a_report_leads_to_its_terms(bias_run):
    assert {"gap", "win rate", "95% CI"} <= set(terms(bias_run))
    assert "terms: probe explain TERM" in text.render(bias_run, everything=True)
    assert "probe explain TERM" in markdown.render(bias_run)
    page = html.render(bias_run)
    assert 'title="Mean log-probability per token of the chosen' in page and "What the terms mean" in page


@pytest.mark.parametrize(("asked", "part"), [("margin", "implicit rewards"), ("Win_Rate", "Share of pairs")])
def test_explain_prints_a_term(asked, part, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["probe", "explain", asked])
    assert __main__.main() == 0
    assert part in " ".join(capsys.readouterr().out.split())


def test_every_code_that_the_sources_name_is_explained():
    """A heading that the reader of docstrings does not take left PB907 without a page."""
    named = {
        c for path in sources(ROOT) for c in re.findall(r'"(PB\d{3})"', path.read_text(encoding="utf-8"))
    }
    assert len(named) > 100 and named - explanations().keys() == set()


@pytest.mark.parametrize("family", ["PB3xx", "PB3", "pb31"])
def test_explain_lists_a_family_as_a_report_prints_it(family, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["probe", "explain", family])
    assert __main__.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and all(line.startswith(family[:4].upper().rstrip("X")) for line in lines)


def test_a_term_that_is_none_names_what_is_near(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["probe", "explain", "marginn"])
    assert __main__.main() == 2
    assert "Near: margin, " in capsys.readouterr().err
