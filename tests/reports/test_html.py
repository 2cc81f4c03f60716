"""`report.html` as a document: self-contained, escaped, labelled, small, the same bytes each time."""

import base64
import dataclasses
import hashlib
import json
import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import probe.reports.html
from probe.records import Estimate, Finding, Reason, Run, Verdict, run_from_json, run_to_json
from probe.reports.answer import answered
from probe.reports.headline import headline
from probe.reports.html import render
from probe.reports.next_step import next_command
from probe.reports.text import render as text_report
from probe.reports.tokens import token
from probe.runs import load_run

STORED = sorted((Path(__file__).parent / "stored").glob("*.json"))
VOID = {"meta", "br", "input"}


class Document(HTMLParser):
    """Every element with its attributes, the text outside <style>, and whether the tags nest."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture
def big_run(gate_run):
    rng = random.Random(0)

    def side():
        words = rng.choices(["energy", "balance", "insulin", "and", "hunger"], k=400)
        return {"text": " ".join(words), "tokens": [[f" {word}", -rng.expovariate(0.5)] for word in words]}

    pairs = [
        {
            "id": f"p{i}", "line": i + 1, "group": f"group {i % 7}", "gap": rng.gauss(0.3, 0.7),
            "chosen_tokens": rng.randint(20, 200), "rejected_tokens": rng.randint(20, 200),
        }
        for i in range(1000)
    ]  # fmt: skip
    shown = [{**pair, "prompt": "why " * 300, "chosen": side(), "rejected": side()} for pair in pairs[:20]]
    details = {**gate_run.details, "pairs": pairs, "worst": shown, "best": shown}
    return dataclasses.replace(gate_run, details=details)


def test_nothing_is_loaded_and_nothing_runs(gate_run):
    document = Document(render(gate_run))
    assert document.all("link", "img", "iframe", "object", "embed", "base", "form") == []
    assert document.all("script") == [{}]
    assert {a["href"][:1] for a in document.all("a")} == {"#"}
    outside = {"src", "srcset", "action", "data", "poster", "background", "style"}
    assert [a for _, a in document.elements if outside & set(a) or any(k.startswith("on") for k in a)] == []
    policy = next(a for a in document.all("meta") if "http-equiv" in a)
    (script,) = re.findall(r"<script>(.*?)</script>", render(gate_run), re.DOTALL)
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["content"] == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{own}'"
    assert "url(" not in render(gate_run) and "@import" not in render(gate_run)


def test_hostile_text_is_shown(gate_run):
    html = render(gate_run)
    document = Document(html)
    assert not {"\x1b", "\x07", "\u202e", "\u202c", "\r"} & set(html)
    assert document.all("b") == []
    assert any(
        r"<script>alert(1)</script> \x1b[31mred\x07 \u202etrap\u202c" in text for text in document.text
    )


def test_headings_descend_and_sections_are_labelled(gate_run):
    document = Document(render(gate_run))
    levels = [int(tag[1]) for tag, _ in document.elements if tag in {"h1", "h2", "h3", "h4", "h5"}]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = {a["id"] for _, a in document.elements if "id" in a}
    assert all(a["aria-labelledby"] in ids for a in document.all("section"))


def test_every_table_has_a_caption_and_every_plot_a_title(gate_run):
    document = Document(render(gate_run))
    plots = [a for a in document.all("svg") if a.get("role") == "img"]
    assert len(document.all("caption")) == len(document.all("table")) == 11
    told = [a for a in document.all("circle") if a.get("data-line")]  # each with a title of its own
    assert len(plots) == len(document.all("title")) - 1 - len(told) == len(document.all("desc")) == 10
    drawn = [a for a in document.all("svg") if "viewbox" not in a]
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for a in drawn)


def test_verdict_and_decision_come_first(gate_run):
    html = render(gate_run)
    order = [
        'id="verdict"',
        'id="why"',
        'id="lean"',
        'id="pairs"',
        'id="recipe"',
        'id="again"',
    ]
    places = [html.index(part) for part in order]
    assert places == sorted(places)


def test_the_table_of_all_pairs_says_how_any_of_them_is_shown(bias_run):
    assert "probe show pairs/cico_insulin.jsonl --line LINE" in render(bias_run)


def test_a_thousand_pairs_stay_under_two_megabytes(big_run):
    assert 100_000 < len(render(big_run).encode()) < 2_000_000


def test_ten_thousand_pairs_stay_under_five_megabytes_and_are_all_there(big_run):
    pairs = [{**big_run.details["pairs"][i % 1000], "line": i + 1, "id": f"p{i}"} for i in range(10_000)]
    html = render(dataclasses.replace(big_run, details={**big_run.details, "pairs": pairs}))
    assert len(html.encode()) < 5_000_000 and html.count('<tr id="row-') == 10_000


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_column_of_a_real_report_has_a_name_that_is_read(path):
    heads = re.findall(r"<th[^>]* scope=\"col\"[^>]*>(.*?)</th>", render(answered(load_run(path))), re.DOTALL)
    assert all(re.sub(r"<[^>]+>", "", head).strip() for head in heads)


def test_a_code_leads_to_its_explanation_in_the_page(gate_run):
    document = Document(render(gate_run))
    ids = [a["id"] for _, a in document.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in document.all("a")}
    assert "PB101" in targets and targets <= set(ids)


def test_notes_are_folded_and_the_rest_of_the_page_too(gate_run):
    html = render(gate_run)
    folds = re.findall(r'<details class="fold"( open)?>', html)
    assert len(folds) > 5 and folds.count(" open") <= 1


def test_the_same_saved_run_gives_the_same_bytes(gate_run):
    again = run_from_json(json.loads(json.dumps(run_to_json(gate_run))))
    assert render(again) == render(gate_run)


def test_a_run_with_nothing_in_it_is_a_page():
    html = render(Run("data", "2026-11-21T10:52:00Z"))
    assert "0 errors, 0 warnings" in html and Document(html).all("table") == []


@pytest.mark.parametrize(
    ("logp", "tint"),
    [(0.0, "0"), (-0.09, "0"), (-0.1, "1"), (-0.7, "2"), (-4.0, "5"), (-8.0, "7"), (-99.0, "7"), (None, "x")],
)
def test_tints_deepen_with_improbability(logp, tint):
    assert token("x", logp).tint == tint


def test_a_single_pair_and_equal_gaps_are_drawn(bias_run):
    row = {"id": "a", "line": 1, "group": None, "gap": 0.0, "chosen_tokens": 3, "rejected_tokens": 3}
    run = dataclasses.replace(bias_run, details={"pairs": [row]}, estimates=())
    assert render(run).count("<circle") == 2


def test_a_trial_draws_its_curve_and_says_what_it_ranked(bias_run):
    found = Estimate("trial_accuracy", 0.8, 0.6, 0.9, 40, None, "sign flips", "share")
    rows = [{"step": i, "unseen/accuracies": 0.5 + 0.1 * i, "unseen/margins": 0.2 * i} for i in range(1, 6)]
    run = dataclasses.replace(bias_run, command="trial", bias=(), estimates=(found,), details={"trial": rows})
    document = Document(render(run))
    text = " ".join(document.text)
    assert "the margin rises in 80% [60%, 90%] of 40 unseen pairs" in text and "A short trial" in text
    assert len(document.all("polyline")) == 2
    shown = text_report(run, everything=True)
    assert "a short trial" in shown and "trial: margin, unseen" in shown
    few = dataclasses.replace(run, details={"trial": rows[:4]})  # a line through so few batches is chance
    assert "trial: margin, unseen" not in text_report(few, everything=True)


def test_a_trained_run_opens_with_what_changed(gate_run):
    judged = dataclasses.replace(gate_run, verdict=Verdict("measured", 0, ()), bias=())
    assert "held-out gap +0.51 → +0.12 nats/token, −0.39 [−0.60, −0.20]; 1 error" in headline(judged).text


def test_backticks_become_code_and_nothing_else_becomes_markup(bias_run):
    finding = Finding("PB999", "warning", "see `probe <b>data</b>` and ` alone", "`a` `b` &amp;")
    html = render(dataclasses.replace(bias_run, findings=(finding,)))
    assert "see <code>probe &lt;b&gt;data&lt;/b&gt;</code> and ` alone" in html
    assert "<code>a</code> <code>b</code> &amp;amp;" in html


def test_marks_of_one_step_are_drawn_once(gate_run):
    guard = [{"step": 150, "event": event, "text": ""} for event in ("warn PB809", "stop PB806")]
    training = gate_run.details["training"] | {"guard": guard}
    html = render(dataclasses.replace(gate_run, details=gate_run.details | {"training": training}))
    assert "stop PB806 +1</text>" in html and "warn PB809</text>" not in html


def test_what_sets_runs_apart_stands_under_their_names(bias_run):
    gap = {"value": 0.5, "low": 0.3, "high": 0.7, "n": 24}
    rows = [
        {"run": name, "model": "m", "pairs": "p.jsonl", "gap": gap, "verdict": "neutral", "apart": apart}
        for name, apart in (("A", {"template": "chat"}), ("B", {"template": "qa"}))
    ]
    html = render(dataclasses.replace(bias_run, details={"runs": rows}))
    assert 'A<br><small class="dim">template chat</small></th>' in html and "apart by" not in html


def test_every_table_of_the_reports_has_its_place_in_the_page() -> None:
    """What the text and the Markdown show is not left out of the page: by the keys that the code makes."""
    folder = Path(probe.reports.html.__file__).parent
    keys = {
        key
        for file in folder.glob("*.py")
        for key in re.findall(r'Table\(\s*"([a-z_]+)"', file.read_text(encoding="utf-8"))
    }
    elsewhere = {"tally"}  # what a terminal shows while pairs are scored
    page = (folder / "report.html.j2").read_text(encoding="utf-8")
    missing = {key for key in keys if not re.search(rf"\b{key}\b", page)}
    assert {"race", "difficulty"} <= keys and missing == elsewhere


def test_the_worst_pair_names_the_command_that_shows_it(bias_run):
    assert "probe show pairs/cico_insulin.jsonl --line 19" in " ".join(Document(render(bias_run)).text)


def test_the_next_command_carries_what_the_pairs_were_read_with(bias_run):
    typed = {"model": "org/m", "skip_bad": True, "trust_remote_code": True, "template": "raw"}
    config = {**bias_run.config, **typed, "origins": dict.fromkeys(typed, "flag")}
    told = " ".join(Document(render(dataclasses.replace(bias_run, config=config))).text)
    flags = "--model org/m --skip-bad --template raw --trust-remote-code"
    assert f"probe show pairs/cico_insulin.jsonl {flags} --line 19" in told


def test_a_pair_is_shown_by_the_tokenizer_that_it_was_scored_by(bias_run):
    """An adapter's own, where it was saved with one: `probe show` takes no adapter."""
    run = dataclasses.replace(bias_run, inputs={**bias_run.inputs, "model": {"name": "m", "tokenizer": "ad"}})
    told = " ".join(Document(render(run)).text)
    assert "probe show pairs/cico_insulin.jsonl --model ad --line 19" in told


def test_a_gate_that_is_made_again_keeps_what_the_first_was_asked(gate_run):
    """Goal, beta and the way of training decide; what was not typed is left to its default."""
    typed = {"goal": "taste", "beta": 0.3, "one_stage": True, "full": True}
    broken = (Reason("PB001", "float16 breaks at the second step.", "s"),)
    decision = dataclasses.replace(gate_run.decision, method="do-not-train", stages=(), reasons=broken)
    run = dataclasses.replace(
        gate_run, command="gate", decision=decision,
        config={**gate_run.config, **typed, "origins": dict.fromkeys(typed, "flag")},
        inputs={**gate_run.inputs, "model": {"dtype": "float16"}},
    )  # fmt: skip
    told = next_command(run)
    assert told.startswith("probe gate ")
    assert told.endswith("--full --goal taste --one-stage --beta 0.3 --dtype float32")
    exact = dataclasses.replace(run, inputs={**run.inputs, "model": {"dtype": "float32"}})
    assert next_command(exact) == "probe explain PB001"
