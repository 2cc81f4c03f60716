"""The bench of mutants: what it changes, which tests it tries, and what it says of a sample."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import mutants_report as table  # noqa: E402
from mutants_made import mutants  # noqa: E402
from mutants_reach import Reach, Stored, imported  # noqa: E402

SOURCE = """\
LIMIT = 3

def over(x):
    return x > LIMIT and not x == 7

class Held:
    most: int = 2
"""


def told(source=SOURCE):
    return [m.made()[0] for m in mutants(source)]


def test_every_operator_comparison_and_constant_is_changed_once():
    assert sorted(told()) == [
        "1: 3 -> 4",
        "4: 7 -> 8",
        "4: not x == 7 -> not not x == 7",
        "4: x == 7 -> x != 7",
        "4: x > LIMIT -> x >= LIMIT",
        "4: x > LIMIT and (not x == 7) -> x > LIMIT or not x == 7",
        "7: 2 -> 3",
    ]
    for mutant in mutants(SOURCE):
        assert ast.dump(ast.parse(mutant.made()[1])) != ast.dump(ast.parse(SOURCE))


def test_guards_are_left_alone():
    assert told("for a, b in zip(x, y, strict=True):\n    pass\n") == []


def test_annotations_and_the_default_draw_are_left_alone():
    assert told("def f(x: Literal[-1], *, most=1, seed=0) -> Literal[2]:\n    return x\n") == ["1: 1 -> 2"]
    assert told("class A:\n    seed: int = 0\n    most: int = 1\n") == ["3: 1 -> 2"]


@pytest.fixture
def package(tmp_path):
    """a.py has a constant that b.py uses; the tests of c.py reach neither."""
    place = tmp_path / "probe"
    (place / "tests").mkdir(parents=True)
    (place / "a.py").write_text(SOURCE)
    (place / "b.py").write_text("from .a import LIMIT\n\ndef f(x):\n    return x - LIMIT\n")
    (place / "c.py").write_text("def g():\n    return 1\n")
    (place / "tests/test_a.py").write_text("from probe.a import LIMIT\n")
    (place / "tests/test_b.py").write_text("from probe import b\n")
    (place / "tests/test_c.py").write_text("from probe.c import g\n")
    return place


def row(seconds, **lines):
    return {"seconds": seconds, "lines": {f"{name}.py": list(numbers) for name, numbers in lines.items()}}


TESTS = {
    "tests/test_a.py::test_constant": row(1.0),
    "tests/test_b.py::test_uses": row(0.1, b=[4]),
    "tests/test_c.py::test_else": row(0.01, c=[2]),
    "tests/test_c.py::test_over": row(0.02, a=[4]),
}


def test_a_constant_is_tried_on_the_tests_that_import_it_its_own_page_first(package):
    found = Reach(package, TESTS, 3.0)
    by_line = {m.made()[0].partition(":")[0]: found.of("a.py", m) for m in mutants(SOURCE)}
    assert by_line["1"] == [
        "tests/test_a.py::test_constant",
        "tests/test_c.py::test_over",  # its line names the constant too, and it is the quicker
        "tests/test_b.py::test_uses",
    ]
    assert by_line["4"] == ["tests/test_c.py::test_over"]


def test_a_survivor_is_tried_on_the_files_of_its_module(package):
    (package / "tests/test_d.py").write_text("from probe import a\n")
    assert Reach(package, {}, 3.0).files("a.py") == ["tests/test_a.py", "tests/test_d.py"]


def test_imports_are_read_in_every_form(package):
    file = package / "tests/test_b.py"
    file.write_text(
        "import probe.a\nfrom .. import c\nfrom probe.b import f\nimport os\nfrom pathlib import Path\n"
    )
    assert imported(file, package) == {"a.py", "b.py", "c.py"}


def counted(mutants, tried, killed, **more):
    return {"mutants": mutants, "tried": tried, "killed": killed, "equivalent": {}, "since": [], **more}


def test_modules_weigh_by_their_mutants():
    value, low, high = table.share([counted(90, 10, 10), counted(10, 10, 0)])
    assert value == pytest.approx(0.9)
    # only the first was not read whole: 11/12 · 1/12 / 10 · (1 − 10/90), weighed by .9²
    assert value - low == pytest.approx(1.96 * (0.81 * 11 / 144 / 10 * 80 / 90) ** 0.5)
    assert high <= 1.0
    assert table.share([counted(8, 8, 6)]) == (0.75, 0.75, 0.75)
    assert table.share([counted(9, 8, 6, equivalent={"1: a": "same"})])[1:] == (0.75, 0.75)


def test_the_report_tells_killed_when_drawn_from_killed_since_and_names_what_changed(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(name)
    monkeypatch.setattr(table, "ROOT", tmp_path)
    monkeypatch.setattr(table, "RESULTS", tmp_path / "rows.jsonl")
    same = {"module": "a.py", "digest": table.digest(tmp_path / "a.py")}
    table.store({**counted(20, 10, 8), **same, "since": ["1: x", "2: x"], "equivalent": {"3: x": "why"}})
    table.store({**counted(20, 10, 10), "module": "b.py", "digest": "of another text"})
    text = table.report(["a.py", "b.py", "c.py"])
    assert "| `a.py` | 20 | 10 | 80% | 2 |" in text
    assert "| `b.py` (changed since) | 20 | 10 | 100% |  |" in text
    assert "Of 20 mutants tried, 18 were killed by quick tests when they were drawn, 2 of" in text
    assert "written for them: 100%.\n1 more were" in text
    assert "90.0%" in text and "Not measured as they are now: `b.py`, `c.py`." in text


def test_what_a_test_reached_is_kept_until_it_or_what_it_reached_changes(package, tmp_path):
    tests = [package / f"tests/test_{name}.py" for name in "abc"]
    Stored(tmp_path / "kept.json", package).add(tests, TESTS)
    kept = Stored(tmp_path / "kept.json", package)
    assert kept.missing(tests) == [] and kept.tests(tests) == TESTS
    (package / "b.py").write_text("other = 1\n")
    assert kept.missing(tests) == [tests[1]]
    tests[0].write_text("")
    assert kept.missing(tests) == tests[:2]
