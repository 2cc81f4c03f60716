"""A threshold is written once: what a finding says of it, in its page or its message, reads the constant."""

import ast
import re
from pathlib import Path

import pytest

from probe import explain, shared_limits
from probe.gate import registry
from probe.training.guard_records import GuardLimits

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w#.{,])(\d+(?:\.\d+)?|\.\d+)(%?)(?![\w])")
EVERYDAY = {0, 1, 2}  # too common to be anyone's limit
SPELLED = {
    "nine of ten": 0.9, "nine tenths": 0.9, "four of five": 0.8, "four fifths": 0.8, "three quarters": 0.75,
    "a quarter": 0.25, "a fifth": 0.2, "a tenth": 0.1, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8,
    "ten": 10, "twenty": 20, "fifty": 50, "a hundred": 100,
}  # fmt: skip


def modules():
    for room in ("gate", "probes", "training", "scoring"):
        yield from sorted((ROOT / room).rglob("*.py"))


def constants(path):
    """The numbers that a module defines or imports under a name in capitals."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name.id for name in ast.walk(tree) if isinstance(name, ast.Name) and name.id.isupper()}
    found = {name: explain.constant(path, name) for name in names}
    return {name: value for name, value in found.items() if value is not None and abs(value) not in EVERYDAY}


def texts(function):
    """The strings of a check: its page without the sources, and its messages."""
    for node in ast.walk(function):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"Source:.*?(?=\n\s*\n|\Z)", "", node.value, flags=re.DOTALL)


def repeated(path):
    """(function, text, name) of each number in a check's strings that a constant used by it already says."""
    known = constants(path)
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef) or not explain.HEADING.search(
            ast.get_docstring(function) or ""
        ):
            continue
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & known.keys()
        for text in texts(function):
            for said, value in numbers(text):
                yield from ((function.name, said, n) for n in used if abs(abs(known[n]) - value) < 1e-12)


def numbers(text):
    """Each number of a text, in figures or in words, as it is written and as what it is worth."""
    for digits, percent in NUMBER.findall(text):
        yield digits, float(digits) / (100 if percent else 1)
    plain = " ".join(text.lower().split())
    yield from ((words, value) for words, value in SPELLED.items() if re.search(rf"\b{words}\b", plain))


def test_no_finding_repeats_the_number_of_its_limit():
    assert {str(path.relative_to(ROOT)): found for path in modules() if (found := list(repeated(path)))} == {}


def test_the_search_finds_a_repeated_number(tmp_path):
    path = tmp_path / "check.py"
    path.write_text(
        'LIMIT = 0.35\nSHARE = 0.9\n\n\ndef check(x):\n    """PB999 far: it is far.\n\n'
        "    Means: above .35.\n    Why: 35% is far, in nine of\n    ten.\n"
        '    Do: x.\n    Source: .35, a convention.\n    """\n'
        '    return f"above 0.35" if x > LIMIT * SHARE else ""\n'
    )
    assert [digits for _, digits, _ in repeated(path)] == [".35", "35", "nine of ten", "0.35"]


def test_a_page_shows_the_values():
    pages = explain.explanations()
    assert (
        "at least 0.99" in pages["PB806"].means
        and f"{GuardLimits().saturated_margin:g} nats" in pages["PB806"].means
    )
    assert f"({shared_limits.TRIVIAL:g})" in pages["PB202"].means
    assert not [
        code for code, page in pages.items() if explain.CONSTANT.search(page.means + page.why + page.do)
    ]


def test_a_page_that_names_no_number_is_an_error(tmp_path):
    path = tmp_path / "check.py"
    path.write_text("LIMIT = 0.35\n")
    assert explain.constant(path, "LIMIT") == 0.35 and explain.constant(path, "OTHER") is None
    with pytest.raises(ValueError, match="no number"):
        explain._filled("above {OTHER}", path, "check")


def test_the_limits_of_the_gate_are_those_that_the_probes_judge_by():
    """No number stands in the table of conditions itself, other than a zero."""
    tree = ast.parse(Path(registry.__file__).read_text(encoding="utf-8"))
    rules = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Rule"
    ]
    limits = [rule.args[2] for rule in rules]
    assert len(limits) > 8 and not [ast.unparse(x) for x in limits if isinstance(x, ast.Constant) and x.value]


def test_a_shared_limit_is_written_nowhere_else():
    shared = {name: value for name, value in vars(shared_limits).items() if name.isupper()}
    again = [
        (str(path.relative_to(ROOT)), name)
        for path in (*modules(), *(ROOT / "reports").glob("*.py"), *(ROOT / "commands").glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if (name := explain._target(node)) in shared
        and isinstance(node.value, ast.Constant)
        and node.value.value == shared[name]
    ]
    assert shared and again == []
