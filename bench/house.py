"""The numbers of the house: `python bench/house.py`, for an earlier state `python bench/house.py COMMIT`.

Modules and functions of what is installed, circles and imports against the layers of pyproject.toml. Lines
of a function are those of its body, without signature and docstring. `make house` prints both columns of
docs/development.md; tests/test_house.py holds the limits.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("tests/", "bench/", "docs/", ".ci/", "setup.py")
BEFORE = "5070069"  # the last state before the layout of rooms
Graph = dict[str, set[str]]


def sources(commit: str | None) -> dict[str, str]:
    """The installed modules by path, of the working tree or of a commit."""
    listed = ["git", "ls-tree", "-r", "--name-only", commit] if commit else ["git", "ls-files"]
    names = [n for n in _git(*listed).splitlines() if n.endswith(".py") and not n.startswith(OUTSIDE)]
    if commit is None:
        return {n: (ROOT / n).read_text(encoding="utf-8") for n in names if (ROOT / n).exists()}
    return {n: _git("git", "show", f"{commit}:{n}") for n in names}


def _git(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body; signature and docstring are no work."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def imports(modules: Mapping[str, str]) -> Graph:
    """Which module imports which, type-checking imports left out."""
    names = {_dotted(path): path for path in modules}
    graph: Graph = {name: set() for name in names}
    for name, path in names.items():
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        for node in _imported(ast.parse(modules[path])):
            above = package.split(".") if package else []
            base = [*above[: len(above) - node.level + 1], *(node.module or "").split(".")]
            start = ".".join(part for part in base if part)
            for alias in node.names:
                target = next((t for t in (f"{start}.{alias.name}".strip("."), start) if t in names), None)
                graph[name] |= {target} if target and target != name else set()
    return graph


def _dotted(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node
        yield from _imported(node)


def circles(graph: Graph) -> list[set[str]]:
    """The strongly connected components of more than one module."""
    reach = {start: _reachable(graph, start) for start in graph}
    found = {frozenset(other for other in reach[start] if start in reach[other]) for start in graph}
    return [set(circle) for circle in found if len(circle) > 1]


def _reachable(graph: Graph, start: str) -> set[str]:
    seen, left = set(), list(graph[start])
    while left:
        if (name := left.pop()) not in seen:
            seen.add(name)
            left += graph[name]
    return seen


def rooms(graph: Graph) -> Graph:
    """The imports between the folders and modules of the top."""
    between: Graph = defaultdict(set)
    for name, targets in graph.items():
        between[name.split(".")[0]] |= {t.split(".")[0] for t in targets} - {name.split(".")[0]}
    return {room: between[room] for room in {*between, *(t for ts in between.values() for t in ts)}}


def wrong_way(between: Graph) -> list[str]:
    """Imports of a room from one above it, by the layers of the import-linter contract."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    depth = {r.strip(): i for i, layer in enumerate(layers) for r in layer.replace("|", ":").split(":")}
    arrows = [(room, target) for room, targets in between.items() for target in targets]
    return sorted(f"{a} → {b}" for a, b in arrows if a in depth and b in depth and depth[b] < depth[a])


def numbers(commit: str | None = None) -> dict[str, str]:
    """The house numbers, each by its name."""
    modules = {path: text for path, text in sources(commit).items() if text.strip()}
    lines = [text.count("\n") for path, text in modules.items() if not path.endswith("__init__.py")]
    defined = [f for text in modules.values() for f in functions(ast.parse(text))]
    lengths = sorted(length(f) for f in defined)
    told = sum(ast.get_docstring(f) is not None for f in defined)
    graph = imports(modules)
    between = rooms(graph)
    against = wrong_way(between)
    return {
        "modules": f"{len(lines)}",
        "lines, all modules": f"{sum(lines):,}",
        "lines of a module, median and largest": f"{statistics.median(lines):.0f}, {max(lines)}",
        "modules over 300 lines": f"{sum(n > 300 for n in lines)}",
        "functions": f"{len(lengths):,}",
        "lines of a function, median, 95th percentile, largest": (
            f"{statistics.median(lengths):.0f}, {lengths[int(0.95 * len(lengths))]}, {lengths[-1]}"
        ),
        "functions with a docstring": f"{told / len(defined):.0%}",
        "circles of modules": f"{len(circles(graph))}",
        "circles of rooms": f"{len(circles(between))}",
        "kinds of imports against the layers": f"{len(against)}"
        + (f" ({', '.join(against)})" if against else ""),
    }


def table(commits: list[str]) -> str:
    """The numbers of some commits and of the working tree, side by side, in Markdown."""
    columns = [numbers(commit) for commit in commits] + [numbers()]
    rows = [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    return "\n".join(
        ["| | " + " | ".join([*commits, "now"]) + " |", "|---" * (len(columns) + 1) + "|", *rows]
    )


if __name__ == "__main__":
    made = table([name for name in sys.argv[1:] if name != "--write"] or [BEFORE])
    print(made)
    if "--write" in sys.argv:
        page = ROOT / "docs/development.md"
        head = page.read_text(encoding="utf-8").partition(f"| | {BEFORE} |")[0]
        page.write_text(f"{head}{made}\n", encoding="utf-8")
