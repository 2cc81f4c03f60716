"""How often `probe autopsy` is right: on simulated runs of known outcome and on labelled public logs.

    python bench/autopsy.py [--seeds 20] [--first-seed 1000] [--logs ../shared/data/logs]

Prints two confusion tables, every disagreement, and how many public logs are right by a strict reading. The
seeds differ from those of the tests: the rules were not looked at with these.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import autopsy_labels
import autopsy_quotes
import autopsy_runs

from probe.probes.autopsy.diagnose import diagnose, gravest
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
    unfounded: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def strictly(self) -> bool:
        """Headline, tags and evidence are all true, and each sign that asks for something says what."""
        told = (self.main, self.tags) == (self.found, self.found_tags)
        return told and not self.unfounded and not self.silent


def simulated(seeds: range) -> Iterator[Case]:
    for scenario in autopsy_runs.SCENARIOS:
        for seed in seeds:
            found = diagnose(make_log(scenario.name, scenario.make(seed)))
            tags = frozenset(tag.label for tag in found.tags)
            yield Case(f"{scenario.name} (seed {seed})", scenario.main, scenario.tags, found.main, tags)


def labelled(directory: Path) -> Iterator[Case]:
    for label in autopsy_labels.labels(directory):
        log = gravest(read_log(directory / f"{label.slug}.json"))
        found = diagnose(log)
        got = frozenset(tag.label for tag in found.tags)
        silent = tuple(
            sign.label for sign in autopsy_quotes.signs(log) if not sign.next and sign.label != "healthy"
        )
        unfounded = tuple(autopsy_quotes.unfounded_of(log))
        yield Case(label.slug, label.main, label.tags, found.main, got, unfounded, silent)


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


def strict(cases: list[Case]) -> str:
    """How many are right by a strict reading, and what is wrong with the others' evidence or advice."""
    right = sum(case.strictly for case in cases)
    lines = [f"Strictly (headline, tags, each number of the evidence, advice): {right} of {len(cases)}"]
    lines += [f"- {case.name}: {'; '.join(case.unfounded)}" for case in cases if case.unfounded]
    lines += [f"- {case.name}: no advice for {', '.join(case.silent)}" for case in cases if case.silent]
    return "\n".join(lines)


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
        public = list(labelled(args.logs))
        print("\n" + table("Public logs", public))
        print("\n" + strict(public))
    return 0


if __name__ == "__main__":
    sys.exit(main())
