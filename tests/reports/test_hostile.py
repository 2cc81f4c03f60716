"""Any text anywhere in a run: every renderer shows it, none obeys it."""

import json
import re
import shlex
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from probe.escape import JOINERS, json_text, visible
from probe.records import run_from_json, run_to_json
from probe.reports.command_line import show_command
from probe.reports.page_script import script
from probe.reports.renderers import RENDERERS
from probe.reports.text import render
from probe.shell import shell_word

# What a user's file, model or flags can hold; words that the program itself chooses stay as they are.
FREE = {"id", "group", "prompt", "text", "name", "path", "message", "remedy", "reason", "method", "check"}
TRAPS = st.sampled_from(
    [
        "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", "\x1b]0;title\x07\x1b[2J",
        "\u202eevil\u202c", "```\n# h\n", "| a | b |", "]]>", "\n::error file=x::y", "%0A::stop-commands::x",
        "{{ 7*7 }}{% raw %}", "&lt;b&gt;", "\ud800", "\u2028", "\ufeff", "日本語のテキスト", "עברית",
        "👩\u200d👧", "a" * 500, "", " ",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(TRAPS, st.text(max_size=40)), min_size=1, max_size=8)
ELEMENTS = """html head meta title style body header main section article h1 h2 h3 h4 h5 p span strong abbr
    small br ul li q dl dt dd div table caption thead tbody tr th td figure figcaption
    svg desc line rect circle text polyline code pre details summary
    a label input select option script"""


def hostile(value, texts, key=""):
    """`value` with every free string replaced by the next of `texts`, round and round."""
    if isinstance(value, dict):
        return {k: hostile(v, texts, k) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v, texts, key) for v in value]
    if isinstance(value, str) and (key in FREE or key in {"tokens", "giveaways", "sides", "argv"}):
        texts.append(texts.pop(0))
        return texts[-1]
    return value


def hidden(text, allowed="\n"):
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds and c not in JOINERS + allowed}


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


@pytest.fixture(scope="module")
def saved(gate_run):
    return json.dumps(run_to_json(gate_run))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_no_renderer_obeys_a_text(saved, texts):
    run = run_from_json(hostile(json.loads(saved), list(texts)))
    shown = {name: show(run) for name, show in RENDERERS.items() if name != "json"}
    assert {name: hidden(text) for name, text in shown.items()} == {name: set() for name in shown}
    page = Elements(shown["html"])
    assert page.tags <= set(ELEMENTS.split())
    assert not {name for name in page.attributes if name.startswith("on") or name == "src"}
    assert all(link.startswith("#") for link in re.findall(r' href="([^"]*)"', shown["html"]))
    assert shown["html"].count("<script") == 1 and script() in shown["html"]
    assert ET.fromstring(shown["junit"]).tag == "testsuites"
    commands = shown["github"].splitlines()
    assert all(re.match(r"::(error|warning|notice) ", line) for line in commands)
    assert not [line for line in commands if "::stop-commands" in line.split("::", 2)[0]]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.sampled_from([50, 60, 80, 120]), st.booleans())
def test_no_text_breaks_the_terminal_layout(saved, texts, width, ascii_only):
    run = run_from_json(hostile(json.loads(saved), list(texts)))
    text = render(run, width=width, ascii_only=ascii_only, everything=True)
    whole = set(map(shell_word, shlex.split(show_command(run) or "")))  # a terminal goes on with these
    whole |= {shell_word(word, ascii_only=True) for word in shlex.split(show_command(run) or "")}
    long = [line for line in text.split("\n") if cell_len(line) > width]
    assert [line for line in long if line.strip().removesuffix(" \\") not in whole] == []
    assert hidden(text) == set() and (text.isascii() or not ascii_only)


@given(st.text())
def test_visible_is_idempotent_and_keeps_printable_text(text):
    once = visible(text)
    assert visible(once) == once and hidden(once, "") == set()
    assert all(c in once for c in text if unicodedata.category(c)[0] in "LNPS")


def test_json_on_a_stream_hides_no_character():
    """Every hidden character is an escape; the value is the same, and joiners that words need stay."""
    text = "a\x1b\x7f\x9b\u202e\u2066\u00ad\ufeff\U000e0001 \u200dé🙂\n\x00"
    made = json_text(json.dumps({"k": text}, ensure_ascii=False, indent=1))
    assert json.loads(made) == {"k": text}
    assert "é🙂" in made and "\u200d" in made and made.count("\n") == 2
    hidden = [c for c in made if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\u200d"]
    assert not hidden
