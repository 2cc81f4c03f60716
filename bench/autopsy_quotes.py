"""Whether the evidence of a diagnosis quotes its log: each number stands there or is marked as derived."""

from __future__ import annotations

import re
from collections.abc import Iterator

from probe.probes.autopsy.case import Sign
from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import Log

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)(?![\w%])")
DERIVED = re.compile(r"\b(mean|means|median|medians|derived|times)\b|%")
# Places, counts, and the limits of the rules themselves, which are no numbers of the log.
ELSEWHERE = re.compile(
    "|".join(
        (
            r"\b(?:step|steps|entry|epoch|example|W&B step) [\d.]+(?: to [\d.]+)?(?: of \d+)?",
            r"\d+ of \d+",
            r"\b\d+ (?:entry|entries|evaluations?)\b",
            r"and \d+ more",
            r"\d+ low entries",
            r"all \d+ losses",
            r"within [\d.]+ of",
            r"of 0\b",
            r"exactly 0",
            r"under [\d.]+",
            r"ln 2",
            r"1e-7 to 1e-3",
            r"[\d.]+ × ln 2",
            r"\bloss 0\.0 there is no",
        )
    )
)


def signs(log: Log) -> Iterator[Sign]:
    """Every sign that the diagnosis of a log shows."""
    found = diagnose(log)
    yield from (found.sign, *found.also, *found.tags)


def shown(log: Log) -> set[str]:
    """Every number of a log in every precision that evidence uses."""
    values = {v for rows in (log.train, *log.evals.values()) for row in rows for v in row.values()}
    return {f"{v:{form}}" for v in values for form in (".4g", ".3g", ".4f", ".3f", ".2f", "g")}


def unfounded(evidence: str, known: set[str]) -> list[str]:
    """The numbers of an evidence that neither stand in the log nor are marked as derived."""
    return [
        f"{number} in {clause!r}"
        for clause in re.split(r"; |(?<=\)), ", evidence)
        if not DERIVED.search(clause)
        for number in NUMBER.findall(ELSEWHERE.sub("", clause))
        if number not in known
    ]


def unfounded_of(log: Log) -> list[str]:
    """The unfounded numbers of all evidence that the diagnosis of `log` shows."""
    known = shown(log)
    return [told for sign in signs(log) for told in unfounded(sign.evidence, known)]
