"""Mutants of the modules that judge: which changes of a line do the tests not notice?

    python bench/mutants.py                          a sample of every module below, then the table
    python bench/mutants.py stats/power.py --most 60 one module
    python bench/mutants.py --report --write         what is stored, into docs/reliability.md

A mutant changes one operator, comparison, constant or truth value of one line, in a copy of the package. The
tests run once without any mutant, and which lines each of them reaches is kept; a mutant is then tried on the
quick ones among the tests that reach its line, each time in a child forked from a process that has the
libraries loaded. `zip(strict=)` and the flags of dataclasses are not changed: they guard, and decide nothing.
The sample is drawn by the seed. Results are in `bench/mutants.jsonl`, a row a module, the survivors by line.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "mutants.jsonl"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- mutants:begin -->\n", "<!-- mutants:end -->"
MODULES = ("stats", "gate", "scoring/encode.py", "training/objective.py", "training/losses.py")
TESTS = (
    "tests/stats", "tests/gate", "tests/test_surviving_mutants.py", "tests/commands/test_gate.py",
    "tests/scoring/test_encode.py", "tests/scoring/test_trl_ids.py", "tests/training/test_losses.py",
    "tests/training/test_loop.py", "tests/training/test_objective.py", "tests/test_behaviour.py",
    "tests/training/test_moved.py", "tests/training/test_kto.py", "tests/probes/effects/test_gated.py",
    "tests/probes/unpaired/test_unpaired.py", "tests/probes/label/test_labels.py", "tests/test_ranges.py",
    "tests/reports/test_answer.py",
)  # fmt: skip
LIBRARIES = (
    "numpy",
    "scipy.stats",
    "torch",
    "transformers",
    "peft",
    "hypothesis",
    "pytest",
    "statsmodels.api",
)
SECONDS = 6.0  # of the CPU for the tests of a mutant, fastest first
# Mutants that change nothing which could be observed, without their line, and why; they are not tried.
EQUIVALENT = {
    ("stats/sequential.py", "signs > 0 -> signs >= 0"): "zeros are left out the line before",
    ("stats/resampling.py", "hits.mean() > 0.5 -> hits.mean() >= 0.5"): "at one half both sides have p ½",
    ("gate/conditions.py", "limit < value -> limit <= value"): "a limit at the value is no distance away",
}  # fmt: skip
GUARDS = {"strict", "frozen", "slots", "kw_only"}
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Pow: ast.Mult,
    ast.USub: ast.UAdd, ast.FloorDiv: ast.Div,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[range, bool, str, str]]:
    """(lines of its statement, whether it is in a function, what was changed, the changed source)."""
    tree = ast.parse(source)
    places = _places(tree)
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node) if number in places else ():
            changed = copy.deepcopy(tree)
            target = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
            change(target)
            told = f"{ast.unparse(node)[:60]} -> {ast.unparse(target)[:60]}"
            lines, inside = places[number]
            yield lines, inside, f"{node.lineno}: {told}", ast.unparse(ast.fix_missing_locations(changed))


def _places(tree: ast.Module) -> dict[int, tuple[range, bool]]:
    """By number in the walk: the lines of a node's innermost statement, whether it is in a function."""
    numbers = {id(node): i for i, node in enumerate(ast.walk(tree))}
    places = {}

    def visit(node: ast.AST, lines: range, inside: bool) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
            lines = range(node.lineno, max(last, node.lineno) + 1)
        if isinstance(node, ast.keyword) and node.arg in GUARDS:
            return
        places[numbers[id(node)]] = (lines, inside)
        for name, value in ast.iter_fields(node):
            within = inside or (isinstance(node, ast.FunctionDef | ast.Lambda) and name == "body")
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child, lines, within)

    visit(tree, range(0), False)
    return places


def _changes(node: ast.AST) -> Iterator:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in SWAPS:
                yield lambda n, i=i, new=SWAPS[type(op)]: n.ops.__setitem__(i, new())
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp) and type(node.op) in SWAPS:
        yield lambda n, new=SWAPS[type(node.op)]: setattr(n, "op", new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.IfExp):
        yield lambda n: n.__dict__.update(body=n.orelse, orelse=n.body)


class Reached:
    """A pytest plugin: which lines of the package's modules each test reaches, and its seconds."""

    def __init__(self, package: Path) -> None:
        self.root = str(package) + "/"
        self.lines: dict[str, set[tuple[str, int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_setup(self, item) -> None:
        self.seconds[item.nodeid] = -time.process_time()
        self.lines[item.nodeid] = seen = set()
        self._trace(lambda frame: self._local(frame, seen))

    def pytest_runtest_teardown(self, item) -> None:
        self._trace(None)
        self.seconds[item.nodeid] += time.process_time()

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed or report.skipped:
            self.failed.append(report.nodeid)

    def _trace(self, local: Callable | None) -> None:
        function = None if local is None else lambda frame, *_: local(frame)
        sys.settrace(function)
        threading.settrace(function)

    def _local(self, frame, seen):
        file = frame.f_code.co_filename
        if not file.startswith(self.root) or file.startswith(self.root + "tests/"):
            return None
        module = file.removeprefix(self.root)

        def line(frame, event, _):
            seen.add((module, frame.f_lineno))
            return line

        return line(frame, "call", None)


def reached(package: Path, tests: list[str]) -> tuple[dict[tuple[str, int], list[str]], dict[str, float]]:
    """(the tests that reach each line, the seconds of each), of those that pass without a mutant."""
    out = package.parent / "reached.json"

    def child() -> int:
        import pytest

        plugin = Reached(package)
        pytest.main([*FLAGS, *tests, "-m", "not slow and not oracle"], plugins=[plugin])
        failed = set(plugin.failed)
        kept = {name: sorted(lines) for name, lines in plugin.lines.items() if name not in failed}
        out.write_text(json.dumps([kept, plugin.seconds, sorted(failed)]))
        return 0

    forked(package, child, 3600)
    kept, seconds, left = json.loads(out.read_text())
    print(f"{len(kept)} tests; {len(left)} that fail or skip are left out", file=sys.stderr)
    places = defaultdict(list)
    for name in sorted(kept, key=lambda n: seconds[n]):
        for module, line in kept[name]:
            places[module, line].append(name)
    return places, seconds


FLAGS = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]


def forked(package: Path, work: Callable[[], int], seconds: float) -> int:
    """The exit code of `work` in a child that stands in the copy; -1 for one that ran on for ever."""
    pid = os.fork()
    if pid == 0:
        _child(package, work)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def _child(package: Path, work: Callable[[], int]) -> None:
    os.setsid()
    code = 3
    with suppress(BaseException):
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        os.chdir(package)
        sys.path.insert(0, str(package.parent))
        code = int(work())
    os._exit(code)


def survives(package: Path, module: str, text: str, names: list[str], seconds: float) -> bool:
    """Whether these tests pass on the copy with the module's text changed."""
    sound = (package / module).read_text(encoding="utf-8")
    (package / module).write_text(text, encoding="utf-8")

    def child() -> int:
        import pytest

        return int(pytest.main([*FLAGS, "-x", *names]))

    try:
        return forked(package, child, seconds) == 0
    finally:
        (package / module).write_text(sound, encoding="utf-8")


def measure(
    package: Path, module: str, places: dict, seconds: dict[str, float], most: int, seed: int
) -> dict:
    """Try a sample of the module's mutants, each on the quick tests that reach its statement."""
    found = list(mutants((package / module).read_text(encoding="utf-8")))
    drawn = random.Random(seed).sample(range(len(found)), min(most, len(found)))
    survivors, equivalent = [], 0
    own = f"/test_{Path(module).stem}.py::"  # a module of data has no line that a test reaches
    mirrored = {name for name in set().union(*places.values()) if own in name}
    for number in sorted(drawn):
        lines, inside, told, text = found[number]
        if (module, told.partition(": ")[2]) in EQUIVALENT:
            equivalent += 1
            continue
        at = lines if inside else {line for name, line in places if name == module}
        names = {name for line in at for name in places.get((module, line), ())} or mirrored
        chosen = _quickest(names, seconds)
        if not chosen or survives(package, module, text, chosen, 20 * SECONDS):
            survivors.append(told if chosen else f"{told} (no test reaches it)")
            print(f"{module}:{survivors[-1]}", file=sys.stderr, flush=True)
    tried = len(drawn) - equivalent
    return {
        "module": module, "mutants": len(found), "tried": tried, "killed": tried - len(survivors),
        "survivors": survivors,
    }  # fmt: skip


def _quickest(names: set[str], seconds: dict[str, float]) -> list[str]:
    """The fastest first, until their seconds are spent."""
    chosen, spent = [], 0.0
    for name in sorted(names, key=lambda n: (seconds[n], n)):
        spent += seconds[name]
        if chosen and spent > SECONDS:
            break
        chosen.append(name)
    return chosen


def rows() -> dict[str, dict]:
    """What is stored, by module."""
    if not RESULTS.exists():
        return {}
    return {row["module"]: row for row in map(json.loads, RESULTS.read_text().splitlines())}


def report() -> str:
    """The share of mutants killed, a module a line."""
    lines = ["| module | mutants | tried | killed |", "|---|--:|--:|--:|"]
    known = sorted((row for row in rows().values() if row["tried"]), key=lambda row: row["module"])
    for row in known:
        share = f"{row['killed'] / row['tried']:.0%}"
        lines.append(f"| `{row['module']}` | {row['mutants']} | {row['tried']} | {share} |")
    tried, killed = (sum(row[key] for row in known) for key in ("tried", "killed"))
    lines.append(f"| all | {sum(row['mutants'] for row in known)} | {tried} | {killed / max(tried, 1):.0%} |")
    return "\n".join(lines) + "\n"


def judging() -> list[str]:
    """The modules of `MODULES`, from the root."""
    found = [file for name in MODULES for file in sorted((ROOT / name).rglob("*.py"))]
    return [str(file.relative_to(ROOT)) for file in found] + [
        name for name in MODULES if name.endswith(".py")
    ]


def run(modules: list[str], tests: list[str], most: int, seed: int) -> None:
    """Measure modules one after the other; what is done is kept."""
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory() as place:
        package = Path(place).resolve() / "src" / "probe"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".probe", "*.egg-info")
        shutil.copytree(ROOT, package, ignore=ignored, symlinks=True)
        places, seconds = reached(package, [name for name in tests if (package / name).exists()])
        for module in modules:
            row = measure(package, module, places, seconds, most, seed)
            stored = {**rows(), module: row}
            RESULTS.write_text("".join(json.dumps(stored[name]) + "\n" for name in sorted(stored)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules of the package, from the root; all that judge")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--most", type=int, default=30, help="mutants of a module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    asked = parser.parse_args()
    if not asked.report:
        run(asked.modules or judging(), list(asked.tests), asked.most, asked.seed)
    print(report())
    if asked.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + report() + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
