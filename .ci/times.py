"""Print the seconds of a test run by file, the dearest first: `times.py REPORT.xml`, pytest's JUnit XML.

`--write` also renews tests/durations.json, from which the tests get the markers `slow` and `long`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
DURATIONS = ROOT / "tests/durations.json"
# The dearest tests that together make up this share of the suite's time: quick and test leave them out.
LEFT_OUT = {"slow": 0.97, "long": 0.80}
# What everything rests on is never long, however dear: scores against float64, ids against trainers.
KEPT = ("tests/scoring/test_engine.py", "tests/scoring/test_trl_ids.py", "tests/scoring/test_trl_property.py")


def place(case: ElementTree.Element) -> str:
    """The test function as pytest names it, without its parameters: `tests/x/test_y.py::test_z`."""
    parts = case.get("classname", "").split(".")
    lengths = range(len(parts), 0, -1)
    end = next((i for i in lengths if (ROOT / "/".join(parts[:i])).with_suffix(".py").exists()), 0)
    if end == 0:
        return ""  # a module that was skipped as a whole is one case without a function
    return "::".join([f"{'/'.join(parts[:end])}.py", *parts[end:], case.get("name", "").split("[")[0]])


def marked(seconds: Counter[str]) -> dict[str, list[str]]:
    """The functions of each marker, sorted: those of `long` are `slow` as well."""
    found: dict[str, list[str]] = {name: [] for name in LEFT_OUT}
    spent, total = 0.0, seconds.total()
    for function, own in seconds.most_common():
        for name, share in LEFT_OUT.items():
            if spent < share * total and not (name == "long" and function.startswith(KEPT)):
                found[name].append(function)
        spent += own
    return {name: sorted(functions) for name, functions in found.items()}


if __name__ == "__main__":
    files, functions = Counter[str](), Counter[str]()
    for report in (name for name in sys.argv[1:] if name != "--write"):
        for case in ElementTree.parse(report).iter("testcase"):
            spent = float(case.get("time", 0))
            files[case.get("classname", "")] += spent
            functions[place(case)] += spent
    if "--write" in sys.argv:
        DURATIONS.write_text(json.dumps(marked(functions), indent=1) + "\n", encoding="utf-8")
    for name, spent in files.most_common():
        print(f"{spent:8.1f} s  {name}")
    print(f"{files.total():8.1f} s  all files")
