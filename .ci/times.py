"""Print the seconds of a test run by file, the dearest first: `times.py REPORT.xml`, pytest's JUnit XML."""

from __future__ import annotations

import sys
from collections import Counter
from xml.etree import ElementTree

if __name__ == "__main__":
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        seconds[case.get("classname", "")] += float(case.get("time", 0))
    for name, spent in seconds.most_common():
        print(f"{spent:8.1f} s  {name}")
    print(f"{seconds.total():8.1f} s  all files")
