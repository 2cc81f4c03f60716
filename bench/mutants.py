"""Mutants of the modules that judge: which changes of a line do the tests not notice?

    python bench/mutants.py                          a sample of every module below, then the table
    python bench/mutants.py stats/power.py --most 60 one module
    python bench/mutants.py --left                   the modules that have no row of the seed as they are now
    python bench/mutants.py --survivors              try what survived on whole test files, as they are now
    python bench/mutants.py --report --write         what is stored, into docs/reliability.md

A mutant changes one operator, comparison, constant or truth value of one line, in a copy of the package. The
tests run once without any mutant, and which lines each of them reaches is kept; a mutant is then tried on the
quick ones among the tests that can notice it, each time in a child forked from a process that has the
libraries loaded. `zip(strict=)` and the flags of dataclasses are not changed: they guard, and decide nothing;
nor annotations, which are not run, nor the default of a `seed`, since any draw is as good.
The sample of a module is drawn by the seed and its name. Results are in `bench/mutants.jsonl`, a row per
module: the survivors by line, those that slower or newer tests kill, and those that change nothing.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mutants_made import EQUIVALENT, Mutant, mutants
from mutants_reach import Reach, Reached, Stored, digest
from mutants_report import ROOT, fresh, report, rows, store, write

MODULES = ("stats", "gate", "scoring/encode.py", "training/objective.py", "training/losses.py")
TESTS = (
    "tests/stats", "tests/gate", "tests/test_surviving_mutants.py", "tests/commands/test_gate.py",
    "tests/scoring/test_encode.py", "tests/scoring/test_trl_ids.py", "tests/training/test_losses.py",
    "tests/training/test_loop.py", "tests/training/test_objective.py", "tests/test_behaviour.py",
    "tests/training/test_moved.py", "tests/training/test_kto.py", "tests/probes/effects/test_gated.py",
    "tests/probes/unpaired/test_unpaired.py", "tests/probes/label/test_labels.py", "tests/test_ranges.py",
    "tests/reports/test_answer.py", "tests/test_thresholds.py",
)  # fmt: skip
LIBRARIES = (
    "numpy", "scipy.stats", "torch", "transformers", "peft", "hypothesis", "pytest", "statsmodels.api",
)  # fmt: skip
FLAGS = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
QUICK, LONGEST = 3.0, 100.0  # seconds of the CPU for the tests of a mutant: at first, and of a survivor
KEPT = ROOT / ".probe" / "mutants" / "reached.json"


def reach(package: Path, tests: list[str], budget: float) -> Reach:
    """What the tests that pass without a mutant reach."""
    named = [package / name for name in tests if (package / name).exists()]
    files = [f for path in named for f in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]
    stored = Stored(KEPT, package)
    while missing := stored.missing(files)[:8]:  # a few at a time: what is done is kept
        stored.add(missing, _reached_by(package, missing))
    return Reach(package, stored.tests(files), budget)


def _reached_by(package: Path, files: list[Path]) -> dict[str, dict]:
    out = package.parent / "reached.json"

    def child() -> int:
        import pytest

        plugin = Reached(package)
        pytest.main([*FLAGS, *map(str, files), "-m", "not slow and not oracle"], plugins=[plugin])
        out.write_text(json.dumps(plugin.kept()))
        return 0

    if forked(package, child, 3600):
        raise SystemExit(f"the tests did not run to their end: {', '.join(f.name for f in files)}")
    found = json.loads(out.read_text())
    print(f"{len(found)} tests of {', '.join(f.name for f in files)}", file=sys.stderr, flush=True)
    return found


def forked(package: Path, work: Callable[[], int], seconds: float) -> int:
    """The exit code of `work` in a child that stands in the copy; below zero for one that ran on for ever."""
    pid = os.fork()
    if pid == 0:
        _child(package, work, seconds)
    until = time.monotonic() + 20 * seconds  # one that waits spends nothing
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def _child(package: Path, work: Callable[[], int], seconds: float) -> None:
    os.setsid()
    code = 3
    with suppress(BaseException):
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        os.chdir(package)
        sys.path.insert(0, str(package.parent))
        code = int(work())
    os._exit(code)


def survives(package: Path, module: str, text: str, names: list[str], seconds: float) -> bool:
    """Whether these tests pass on the copy with the module's text changed, within seconds of the CPU."""

    def child() -> int:
        import pytest

        return int(pytest.main([*FLAGS, "-x", *names, "-m", "not slow and not oracle"]))

    with changed(package / module, text):
        return forked(package, child, seconds) == 0


@contextmanager
def changed(place: Path, text: str) -> Iterator[None]:
    """The file with another text for a while."""
    sound = place.read_text(encoding="utf-8")
    place.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        place.write_text(sound, encoding="utf-8")


def drawn(all_: list[Mutant], module: str, asked: argparse.Namespace) -> list[Mutant]:
    """The sample of a module: at least `most` of its mutants, and `rate` of a large one's."""
    size = min(len(all_), max(asked.most, round(asked.rate * len(all_))))
    return [all_[i] for i in sorted(random.Random(f"{asked.seed} {module}").sample(range(len(all_)), size))]


def measure(found: Reach, module: str, asked: argparse.Namespace) -> dict:
    """Try a sample of the module's mutants, each on the quick tests that can notice it."""
    source = (found.package / module).read_text(encoding="utf-8")
    every = mutants(source)
    survivors, equivalent, tried = [], {}, 0
    for mutant in drawn(every, module, asked):
        told, text = mutant.made()
        if reason := EQUIVALENT.get((module, told.partition(": ")[2])):
            equivalent[told] = reason
            continue
        names = found.of(module, mutant)
        if not tried and names:
            names = _sound(found, module, mutant, names)
        tried += 1
        if not names or _passes(found, module, text, names):
            survivors.append(told if names else f"{told} (no test reaches it)")
            print(f"{module}:{survivors[-1]}", file=sys.stderr, flush=True)
    return {
        "module": module, "digest": digest(found.package / module), "seed": asked.seed, "mutants": len(every),
        "tried": tried, "killed": tried - len(survivors), "survivors": survivors, "since": [],
        "equivalent": equivalent,
    }  # fmt: skip


def _passes(found: Reach, module: str, text: str, names: list[str]) -> bool:
    return survives(found.package, module, text, names, 20 + 3 * found.seconds(names))


def _sound(found: Reach, module: str, mutant: Mutant, names: list[str]) -> list[str]:
    """A control: the tests of a mutant that pass without it; one that does not is left out for good."""
    text, out = ast.unparse(mutant.tree), found.package.parent / "failed.json"
    if _passes(found, module, text, names):
        return names
    with changed(found.package / module, text):
        forked(found.package, lambda: _failing(names, out), 60 + 6 * found.seconds(names))
    for name in json.loads(out.read_text()):
        print(f"{name}: fails without a mutant, and is left out", file=sys.stderr, flush=True)
        found.tests.pop(name, None)
    return found.of(module, mutant)


def _failing(names: list[str], out: Path) -> int:
    import pytest

    plugin = Reached(Path("nowhere"))
    code = int(pytest.main([*FLAGS, *names], plugins=[plugin]))
    out.write_text(json.dumps(plugin.failed))
    return code


def again(package: Path, row: dict, tests: list[str]) -> dict:
    """The row with its survivors that these tests kill, as they are now, under `since`.

    Without tests: the file of the module's name and those that import it.
    """
    module = row["module"]
    source = (package / module).read_text(encoding="utf-8")
    files = tests or Reach(package, {}, QUICK).files(module)
    left, since, equivalent = [], list(row["since"]), dict(row["equivalent"])
    known = {m.made()[0]: m for m in mutants(source)}
    if not survives(package, module, source, files, LONGEST):
        print(f"{module}: {', '.join(files)} fail without a mutant, or take too long", file=sys.stderr)
        return row
    for survivor in row["survivors"]:
        told = survivor.removesuffix(" (no test reaches it)")
        if reason := EQUIVALENT.get((module, told.partition(": ")[2])):
            equivalent[told] = reason
        elif survives(package, module, known[told].made()[1], files, 2 * LONGEST):
            left.append(survivor)
        else:
            since.append(told)
    tried = row["killed"] + len(left) + len(since)
    return {**row, "tried": tried, "survivors": left, "since": since, "equivalent": equivalent}


def judging() -> list[str]:
    """The modules of `MODULES`, from the root."""
    found = [file for name in MODULES for file in sorted((ROOT / name).rglob("*.py"))]
    return [str(file.relative_to(ROOT)) for file in found] + [
        name for name in MODULES if name.endswith(".py")
    ]


def run(asked: argparse.Namespace) -> None:
    """Measure modules one after the other; what is done is kept."""
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory() as place:
        package = Path(place).resolve() / "src" / "probe"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".probe", "*.egg-info")
        shutil.copytree(ROOT, package, ignore=ignored, symlinks=True)
        if asked.survivors:
            _try_survivors(package, asked)
            return
        found = reach(package, asked.tests or list(TESTS), asked.seconds)
        for module in asked.modules or judging():
            row = rows().get(module, {})
            known = row.get("seed") == asked.seed and fresh(row)
            if not (asked.left and known):
                store(measure(found, module, asked))


def _try_survivors(package: Path, asked: argparse.Namespace) -> None:
    known = rows()
    for module in asked.modules or known:
        if known[module]["survivors"] and fresh(known[module]):
            store(again(package, known[module], asked.tests))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="modules of the package, from the root; all that judge")
    parser.add_argument("--tests", nargs="+", default=[], help="in place of those that are tried else")
    parser.add_argument("--most", type=int, default=8, help="mutants of a module, of a large one more")
    parser.add_argument("--rate", type=float, default=0.15, help="the share of a large module's mutants")
    parser.add_argument(
        "--seconds", type=float, default=QUICK, help="for the tests of a mutant, fastest first"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--left", action="store_true", help="go on: leave out what this seed has measured")
    parser.add_argument("--survivors", action="store_true", help="try the stored survivors again")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    asked = parser.parse_args()
    if not asked.report:
        run(asked)
    print(report(judging()))
    if asked.write:
        write(report(judging()))


if __name__ == "__main__":
    main()
