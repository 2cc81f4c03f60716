"""What was tried to make probe answer wrongly or fall over, and what held: the table of docs/reliability.md.

    python bench/hostile.py            runs them all and prints the table
    python bench/hostile.py --write    and puts it into docs/reliability.md
    python bench/hostile.py tests/hostile/test_pairs.py --write    that module anew; other rows stay

A row is a test module of tests/hostile/, or that of streams or files: its docstring's first line, the inputs
it made, and how many held. A test that tries several says how many with `record_property("tried", n)`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
TESTS = ("tests/hostile", "tests/test_files.py", "tests/test_streams.py")
BEGIN, END = "<!-- hostile:begin -->\n", "<!-- hostile:end -->"


class Counts:
    """A pytest plugin: inputs tried and held, by module."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: at its call, or where its set-up failed."""
        if report.when == "call" or (report.failed and report.when == "setup"):
            n = next((int(str(v)) for k, v in report.user_properties if k == "tried"), 1)
            module = report.nodeid.partition("::")[0]
            self.tried[module] += 0 if report.skipped else n
            self.held[module] += n if report.passed else 0


def kept() -> Counts:
    """What the page says of the modules, from a run before."""
    counts = Counts()
    for module, tried, held in re.findall(r"\(`(.+?)`\) \| ([\d,]+) \| ([\d,]+) \|", PAGE.read_text()):
        counts.tried[module], counts.held[module] = (int(n.replace(",", "")) for n in (tried, held))
    return counts


def table(counts: Counts) -> str:
    """The counts as a Markdown table, the sum at its foot."""
    lines = ["| What was tried | inputs | held |", "|---|--:|--:|"]
    for module in sorted(counts.tried):
        what = (
            (ast.get_docstring(ast.parse((ROOT / module).read_text())) or module).splitlines()[0].rstrip(".")
        )
        lines.append(f"| {what} (`{module}`) | {counts.tried[module]:,} | {counts.held[module]:,} |")
    lines.append(f"| all | {counts.tried.total():,} | {counts.held.total():,} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the corpus; the exit code is pytest's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("modules", nargs="*", help="test modules; all of them by default")
    options = parser.parse_args()
    counts, whole = Counts(), kept() if options.modules else Counts()
    tests = options.modules or TESTS
    code = pytest.main(
        [*(str(ROOT / name) for name in tests), "-q", "-p", "no:cacheprovider"], plugins=[counts]
    )
    for module in counts.tried:
        whole.tried[module], whole.held[module] = counts.tried[module], counts.held[module]
    made = table(whole)
    print(made)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + made + "\n" + END + rest.partition(END)[2])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
