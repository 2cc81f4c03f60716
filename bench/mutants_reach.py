"""Which tests can notice a mutant: those that reach its lines, or use the name that its statement binds."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mutants_made import Mutant


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

    def kept(self) -> dict[str, dict]:
        """By test that passed: its seconds and the lines it reached, by module."""
        rows = {}
        for name in self.lines.keys() - set(self.failed):
            lines = defaultdict(list)
            for module, line in sorted(self.lines[name]):
                lines[module].append(line)
            rows[name] = {"seconds": self.seconds[name], "lines": lines}
        return rows

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


def digest(file: Path) -> str:
    """What a file says, in twelve letters."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


class Stored:
    """What the tests of a file reached, kept until the file or a module that they reached changes."""

    def __init__(self, place: Path, package: Path) -> None:
        self.place, self.package = place, package
        self.files = json.loads(place.read_text()) if place.exists() else {}

    def missing(self, tests: list[Path]) -> list[Path]:
        """The test files whose reach is not known."""
        return [test for test in tests if not self._known(test)]

    def add(self, tests: list[Path], rows: dict[str, dict]) -> None:
        """Keep what the tests of these files reached: `rows` by test."""
        for test in tests:
            name = self._name(test)
            mine = {k: v for k, v in rows.items() if k.partition("::")[0] == name}
            reached = sorted({module for row in mine.values() for module in row["lines"]})
            digests = {module: digest(self.package / module) for module in [name, *reached]}
            self.files[name] = {"digests": digests, "tests": mine}
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self.place.write_text(json.dumps(self.files))

    def tests(self, of: list[Path]) -> dict[str, dict]:
        """By test of these files: its seconds and lines."""
        return {k: v for t in of for k, v in self.files[self._name(t)]["tests"].items()}

    def _known(self, test: Path) -> bool:
        kept = self.files.get(self._name(test), {}).get("digests", {"": ""})
        places = {name: self.package / name for name in kept}
        return all(places[name].is_file() and digest(places[name]) == was for name, was in kept.items())

    def _name(self, test: Path) -> str:
        return str(test.relative_to(self.package))


@dataclass
class Reach:
    """The tests that reach each line, their seconds, and who imports what.

    `budget`: seconds of the CPU for the tests of a mutant, fastest first.
    """

    package: Path
    tests: dict[str, dict]
    budget: float
    places: dict[tuple[str, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    importers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for name, row in self.tests.items():
            for module, lines in row["lines"].items():
                for line in lines:
                    self.places[module, line].append(name)
        for file in sorted(self.package.rglob("*.py")):
            for module in imported(file, self.package):
                self.importers[module].add(str(file.relative_to(self.package)))

    def of(self, module: str, mutant: Mutant) -> list[str]:
        """The tests to try a mutant on.

        No test reaches what a module does when it is imported. There the tests of its own page come first,
        then those whose file imports it; after them, with seconds of their own, those that reach a line which
        names what the statement binds, and those that reach any line of the module.
        """
        if mutant.inside:
            return self._quickest([{n for line in mutant.lines for n in self.places.get((module, line), ())}])
        own = f"/test_{Path(module).stem}.py"
        files = {name: name.partition("::")[0] for name in self.tests}
        mirrored = {name for name, file in files.items() if own in f"/{file}"}
        importing = {name for name, file in files.items() if file in self.importers[module]}
        naming = {name for at in self._named(module, mutant.names) for name in self.places.get(at, ())}
        reaching = {name for (m, _), names in self.places.items() if m == module for name in names}
        first = self._quickest([mirrored, importing])
        rest = [names - set(first) for names in (naming, reaching)]
        return first + self._quickest(rest)

    def files(self, module: str) -> list[str]:
        """The test files of a module: of its name, or that import it, without those of whole programs."""
        own = sorted(self.package.rglob(f"tests/**/test_{Path(module).stem}.py"))
        importing = (self.package / name for name in sorted(self.importers[module]))
        found = [f.relative_to(self.package) for f in (*own, *importing) if f.name.startswith("test_")]
        found = [f for f in found if f.parts[1] not in ("bench", "docs", "hostile")]
        return list(dict.fromkeys(map(str, found)))

    def seconds(self, names: list[str]) -> float:
        return sum(self.tests[name]["seconds"] for name in names)

    def _named(self, module: str, names: frozenset[str]) -> set[tuple[str, int]]:
        """The lines, of the module and of those that import it, that name one of these."""
        found = set()
        for user in {module, *self.importers[module]}:
            for node in ast.walk(ast.parse((self.package / user).read_text(encoding="utf-8"))):
                name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
                if name in names:
                    found.add((user, node.lineno))
        return found

    def _quickest(self, groups: list[set[str]]) -> list[str]:
        """The fastest of the first group, then of the next, until their seconds are spent."""
        chosen: list[str] = []
        for group in groups:
            for name in sorted(
                (group & self.tests.keys()) - set(chosen), key=lambda n: (self.tests[n]["seconds"], n)
            ):
                if chosen and self.seconds([*chosen, name]) > self.budget:
                    return chosen
                chosen.append(name)
        return chosen


def imported(file: Path, package: Path) -> set[str]:
    """The modules of the package that a file imports by name, by path from the package."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = _base(node, file, package)
            found |= {base, *(base / alias.name for alias in node.names)} if base else set()
        elif isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            found |= {package.joinpath(*p[1:]) for p in parts if p[0] == "probe"}
    files = (path.with_suffix(".py") for path in found if path != package)
    return {str(path.relative_to(package)) for path in files if path.is_file()}


def _base(node: ast.ImportFrom, file: Path, package: Path) -> Path | None:
    parts = (node.module or "").split(".") if node.module else []
    if node.level:
        return file.parents[node.level - 1].joinpath(*parts)
    return package.joinpath(*parts[1:]) if parts[0] == "probe" else None
