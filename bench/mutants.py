"""Mutants of the modules that judge: which changes of a line do the tests not notice?

    python bench/mutants.py stats/statistics.py --tests tests/test_statistics.py --most 60
    python bench/mutants.py --report

Each mutant changes one operator, comparison, constant or truth value of one line, in a copy of the package,
and runs the given tests until the first failure. Results are kept in `bench/mutants.jsonl`, a row a module,
with the survivors by line; the next run of a module replaces its row. The sample is drawn by the seed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "mutants.jsonl"
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Pow: ast.Mult,
    ast.USub: ast.UAdd, ast.FloorDiv: ast.Div,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, what was changed, the changed source) of every mutant of a module."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
            change(target)
            told = f"{ast.unparse(node)[:60]} -> {ast.unparse(target)[:60]}"
            yield node.lineno, told, ast.unparse(ast.fix_missing_locations(changed))


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


def measure(module: str, tests: list[str], most: int, seed: int, seconds: float) -> dict:
    """Run the tests on a sample of the module's mutants, in a copy of the package."""
    found = list(mutants((ROOT / module).read_text(encoding="utf-8")))
    drawn = random.Random(seed).sample(found, min(most, len(found)))
    survivors = []
    with tempfile.TemporaryDirectory() as place:
        package = Path(place) / "src" / "probe"
        ignored = shutil.ignore_patterns(
            ".git", ".venv", "__pycache__", ".*_cache", ".probe", "*.egg-info", "docs"
        )
        shutil.copytree(ROOT, package, ignore=ignored, symlinks=True)
        (package / "docs").symlink_to(ROOT / "docs")
        if not _pass(package, tests, seconds * 4):
            raise SystemExit(f"{module}: the tests fail without any mutant")
        for line, told, text in sorted(drawn):
            (package / module).write_text(text, encoding="utf-8")
            if _pass(package, tests, seconds):
                survivors.append([line, told])
                print(f"{module}:{line}: survives: {told}", file=sys.stderr)
    return {
        "module": module, "tests": tests, "mutants": len(found), "tried": len(drawn),
        "killed": len(drawn) - len(survivors), "survivors": survivors,
    }  # fmt: skip


def _pass(package: Path, tests: list[str], seconds: float) -> bool:
    """Whether the tests pass on the copy; one that runs on for ever is killed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    env = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    try:
        return (
            subprocess.run(command, cwd=package, env=env, capture_output=True, timeout=seconds).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def rows() -> dict[str, dict]:
    """What is stored, by module."""
    if not RESULTS.exists():
        return {}
    return {row["module"]: row for row in map(json.loads, RESULTS.read_text().splitlines())}


def report() -> str:
    """The share of mutants killed, a module a line."""
    lines = ["| module | mutants | tried | killed |", "|---|---|---|---|"]
    known = sorted(rows().values(), key=lambda row: row["module"])
    for row in known:
        share = f"{row['killed'] / row['tried']:.0%}"
        lines.append(f"| `{row['module']}` | {row['mutants']} | {row['tried']} | {share} |")
    tried, killed = (sum(row[key] for row in known) for key in ("tried", "killed"))
    lines.append(f"| all | {sum(row['mutants'] for row in known)} | {tried} | {killed / max(tried, 1):.0%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", nargs="?", help="a module of the package, from the root")
    parser.add_argument("--tests", nargs="+", default=["tests"])
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="after which a mutant counts as killed")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    if asked.module:
        row = measure(asked.module, asked.tests, asked.most, asked.seed, asked.seconds)
        stored = {**rows(), asked.module: row}
        RESULTS.write_text("".join(json.dumps(stored[name]) + "\n" for name in sorted(stored)))
    print(report())


if __name__ == "__main__":
    main()
