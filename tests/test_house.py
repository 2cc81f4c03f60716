"""The house style in numbers: small modules, small functions, no circle, no import against the layers."""

import ast
import importlib.util
import re
import statistics
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 300  # lines of a module
MEDIAN, MOST = 12, 50  # lines of a function's body


@pytest.fixture(scope="module")
def house():
    spec = importlib.util.spec_from_file_location("house", ROOT / "bench/house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(house):
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no git checkout")
    return house.sources(None)


def test_no_module_is_long(modules):
    assert {path: n for path, text in modules.items() if (n := text.count("\n")) > LONGEST} == {}


def test_functions_are_short(house, modules):
    lengths = {
        f"{path}:{f.name}": house.length(f)
        for path, text in modules.items()
        for f in house.functions(ast.parse(text))
    }
    assert {name: n for name, n in lengths.items() if n > MOST} == {}
    assert statistics.median(lengths.values()) <= MEDIAN


def test_no_circle_and_no_import_against_the_layers(house, modules):
    graph = house.imports(modules)
    assert house.circles(graph) == []
    assert house.wrong_way(house.rooms(graph)) == []


def test_the_counting_by_hand(house):
    """Two modules that import each other, one from the layer above it, one import for types alone."""
    modules = {
        "stats/a.py": "from ..gate.b import c\n",
        "gate/b.py": "from ..stats import a\n\ndef c(x):\n    '''Told.'''\n    y = x\n    return y\n",
        "pairs/d.py": "if TYPE_CHECKING:\n    from ..gate.b import c\n",
    }
    graph = house.imports(modules)
    assert graph == {"stats.a": {"gate.b"}, "gate.b": {"stats.a"}, "pairs.d": set()}
    assert house.circles(graph) == [{"stats.a", "gate.b"}]
    assert house.wrong_way(house.rooms(graph)) == ["stats → gate"]
    (function,) = house.functions(ast.parse(modules["gate/b.py"]))
    assert house.length(function) == 2


# Names that several modules define because each is one form of the same thing: what the gate calls of every
# probe, what prints a run, a command and the call of its name in Python.
PROTOCOLS = {
    "cost": "probes/*/gated.py",
    "measure": "probes/*/gated.py",
    "render": "reports/*.py",
    "Preflight": "*preflight.py|axolotl_plugin.py",
    "T": "*",  # a type variable is no thing
}


def test_a_public_name_is_defined_once(modules):
    """One name, one thing: functions, classes and constants at the top of a module."""
    places = {}
    for path, text in modules.items():
        for name in {name for node in ast.parse(text).body for name in _defined(node) if name[0] != "_"}:
            places.setdefault(name, []).append(path)
    shared = {
        name: paths for name, paths in places.items() if len(paths) > 1 and not _is_protocol(name, paths)
    }
    assert shared == {}


def _defined(node):
    """The names that a statement at the top of a module defines; those of an `if` or `try` count too."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.If | ast.Try):
        return [name for inner in node.body for name in _defined(inner)]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for target in targets if target for n in ast.walk(target) if isinstance(n, ast.Name)]


def _is_protocol(name, paths):
    patterns = PROTOCOLS.get(name, f"api.py|commands/{name}.py").split("|")
    return all(any(fnmatch(path, pattern) for pattern in patterns) for path in paths)


def test_what_is_public_says_what_it_does(modules):
    """Every public class and function has a docstring; a method of a documented class too."""
    bare = []
    for path, text in modules.items():
        tree = ast.parse(text)
        kinds = (ast.ClassDef, ast.FunctionDef)
        classes = [c for c in tree.body if isinstance(c, ast.ClassDef) and not c.name.startswith("_")]
        bare += [
            f"{path}: {node.name}"
            for node in [*tree.body, *(inner for c in classes for inner in c.body)]
            if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert bare == []


# Called by what is outside: transformers, mkdocs, pandas, an editor, a script of the user's own.
FROM_OUTSIDE = {"api.py", "preflight.py", "axolotl_plugin.py", "__init__.py", "training/callback.py"}


def test_no_function_is_dead(modules):
    """A function that only tests call is dead. The table of losses finds its equations by their names."""
    trees = {path: ast.parse(text) for path, text in modules.items()}
    used = {"main"}
    outside = [p for folder in ("bench", "docs") for p in (ROOT / folder).rglob("*.py")]
    for tree in [*trees.values(), *(ast.parse(p.read_text(encoding="utf-8")) for p in outside)]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.alias) and node.asname:
                used.add(node.name)
    dead = [
        f"{path}: {node.name}"
        for path, tree in trees.items()
        if path not in FROM_OUTSIDE and not path.startswith("commands/")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name not in used and not node.name.startswith("__")
    ]
    assert [name for name in dead if not name.startswith("training/losses.py: _")] == []


COUNTED = "rows?|lines?|labels?|tables?|columns?|numbers?|tokens|samples|seconds|pairs|steps|nats|bytes"
EACH = "run|group|pair|stage|setting|batch|candidate|value|prompt|token|epoch|response|step|side"


def test_a_rate_is_written_with_per():
    """It is "a row per pair", not "a row a pair", in code, messages and documentation."""
    telegram = re.compile(rf"\b(?:{COUNTED}) an? (?:{EACH})\b", re.IGNORECASE)
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.py")]
    for room in ("bench", "commands", "gate", "pairs", "probes", "reports", "scoring", "stats", "training"):
        files += (ROOT / room).rglob("*.py")
    found = {}
    for path in files:
        if hits := telegram.findall(path.read_text(encoding="utf-8")):
            found[str(path.relative_to(ROOT))] = hits
    assert found == {}


def test_the_numbers_on_the_page_are_those_of_today(house):
    """Mend with `python bench/house.py --write`. Counts may lag by a tenth; what must be 0 is 0."""
    page = (ROOT / "docs/development.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| ([a-z][^|]*) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    counted = house.numbers()
    assert told.keys() >= counted.keys()
    for name in ("modules", "functions", "lines, all modules"):
        ours, today = (int(n.replace(",", "")) for n in (told[name], counted[name]))
        assert abs(ours - today) <= 0.1 * today, name
    for name in ("modules over 300 lines", "circles of modules", "circles of rooms"):
        assert told[name] == counted[name] == "0"
