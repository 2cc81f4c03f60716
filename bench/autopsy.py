"""How often `probe autopsy` is right: on simulated runs of known outcome and on labelled public logs.

    python bench/autopsy.py [--seeds 20] [--first-seed 1000] [--logs ../shared/data/logs]

Prints two confusion tables and every disagreement. The seeds differ from those of the tests: the rules were
not looked at with these.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import autopsy_labels
import autopsy_runs

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.read import read_log

LABELS = ("numerics", "diverged", "stuck", "overfit", "saturated", "displaced", "healthy")


class Case(NamedTuple):
    """What a log is, and what the autopsy took it for."""

    name: str
    main: str
    tags: frozenset[str]
    found: str
    found_tags: frozenset[str]


def simulated(seeds: range) -> Iterator[Case]:
    for scenario in autopsy_runs.SCENARIOS:
        for seed in seeds:
            found = diagnose(make_log(scenario.name, scenario.make(seed)))
            tags = frozenset(tag.label for tag in found.tags)
            yield Case(f"{scenario.name} (seed {seed})", scenario.main, scenario.tags, found.main, tags)


def labelled(directory: Path) -> Iterator[Case]:
    for label in autopsy_labels.labels(directory):
        found = diagnose(read_log(directory / f"{label.slug}.json"))
        got = frozenset(tag.label for tag in found.tags)
        yield Case(label.slug, label.main, label.tags, found.main, got)


def table(title: str, cases: list[Case]) -> str:
    """A confusion table in Markdown: rows are the truth, columns what was found."""
    counts = Counter((case.main, case.found) for case in cases)
    right = sum(case.main == case.found for case in cases)
    tags = sum(case.tags == case.found_tags for case in cases)
    lines = [
        f"{title}: {right} of {len(cases)} main labels, {tags} of {len(cases)} tag sets",
        "",
        f"| is \\ found | {' | '.join(LABELS)} |",
        f"|---|{'--:|' * len(LABELS)}",
        *(f"| {is_} | {' | '.join(str(counts[is_, got] or '') for got in LABELS)} |" for is_ in LABELS),
    ]
    wrong = [case for case in cases if (case.main, case.tags) != (case.found, case.found_tags)]
    return "\n".join([*lines, "", *(f"- {_told(case)}" for case in wrong)])


def _told(case: Case) -> str:
    is_, found = (
        f"{main} {sorted(tags)}" for main, tags in ((case.main, case.tags), (case.found, case.found_tags))
    )
    return f"{case.name}: {is_}, found {found}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--logs", type=Path, default=Path(__file__).parents[2] / "shared/data/logs")
    args = parser.parse_args()
    cases = list(simulated(range(args.first_seed, args.first_seed + args.seeds)))
    print(table(f"Simulated runs, {len(autopsy_runs.SCENARIOS)} kinds × {args.seeds} seeds", cases))
    if args.logs.is_dir():
        print("\n" + table("Public logs", list(labelled(args.logs))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
