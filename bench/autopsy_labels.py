"""The labelled public logs, with the labels whose rules were wrong put right, and why."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Label(NamedTuple):
    """What a log is: main label, tags beside it, method."""

    slug: str
    main: str
    tags: frozenset[str]
    method: str


# By reading each log again. The rules gave the first label; the second is what is true of the log.
RELABELLED = {
    "poludmik-qlora-zero": (
        "numerics",
        "not saturated: 0.0328 and then exactly 0.0 for 99 entries is NaN behind the filter",
    ),
    "day22-giakhanh-llama1b": (
        "stuck",
        "not healthy: accuracy .39 to .42 and loss 1.29 to 1.04, worse than a coin throughout",
    ),
    "cookbook-mpo-qwen25vl": (
        "stuck",
        "not healthy: accuracy .28 to .32 at a loss that moves by 1%, worse than a coin throughout",
    ),
}
ADDED = {
    "absamet-dpo-tinyllama": ("warmup", "the learning rate rises to the last entry, the end of the run"),
    "vajda-dpo-gams9b-short": (
        "warmup",
        "the learning rate rises to the last entry; the run was killed",
    ),
}


def labels(directory: Path) -> Iterator[Label]:
    """The labels of every log of `INDEX.tsv`, as put right."""
    with (directory / "INDEX.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            slug = row["slug"]
            tags = {t.lower() for t in re.findall(r"\b([A-Z_]{4,})(?= \()", row["beyond_rules"])}
            tags |= {ADDED[slug][0]} if slug in ADDED else set()
            by_rule = row["labels"].split(",")[0].strip().lower()
            main = RELABELLED[slug][0] if slug in RELABELLED else by_rule
            yield Label(slug, main, frozenset(tags), row["method"])


def changes() -> Iterator[str]:
    """A line for every label that was put right."""
    yield from (f"{slug}: {main}; {why}" for slug, (main, why) in RELABELLED.items())
    yield from (f"{slug}: tag {tag} added; {why}" for slug, (tag, why) in ADDED.items())
