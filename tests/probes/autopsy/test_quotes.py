"""Evidence quotes the log: a number that is not in it is called a mean, a median, a share, a count or derived."""  # noqa: E501

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.probes.autopsy.case import Sign
from probe.probes.autopsy.diagnose import diagnose, gravest
from probe.probes.autopsy.log import Log, make_log
from probe.probes.autopsy.read import read_log

ROOT = next((p for p in Path(__file__).resolve().parents if (p / "shared/data/logs").is_dir()), None)
LOGS = (ROOT or Path()) / "shared/data/logs"
FILES = (
    [p for p in sorted([*LOGS.glob("*.json"), *LOGS.glob("forms/*")]) if p.name != "README.md"]
    if ROOT
    else []
)
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)(?![\w%])")
DERIVED = re.compile(r"\b(mean|means|median|medians|derived|times)\b|%")
# Places, counts, and the limits of the rules themselves, which are no numbers of the log.
ELSEWHERE = re.compile(
    r"\b(?:step|steps|entry|epoch|example|W&B step) [\d.]+(?: to [\d.]+)?(?: of \d+)?|\d+ of \d+|\b\d+ (?:entry|entries)\b"  # noqa: E501
    r"|and \d+ more|\d+ low entries|all \d+ losses|within [\d.]+ of|of 0\b|exactly 0|under [\d.]+|ln 2|1e-7 to 1e-3|[\d.]+ × ln 2|\bloss 0\.0 there is no"  # noqa: E501
)  # fmt: skip


def signs(log: Log) -> Iterator[Sign]:
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_number_of_the_evidence_is_in_the_log_or_marked(path: Path) -> None:
    try:
        log = gravest(read_log(path))
    except ProbeError:
        pytest.fail(f"{path.name} is not read")
    known = shown(log)
    assert [told for sign in signs(log) for told in unfounded(sign.evidence, known)] == []


def test_so_it_is_for_planted_failures() -> None:
    bench = next(
        p / "bench" for p in Path(__file__).resolve().parents if (p / "bench/autopsy_failures.py").is_file()
    )
    sys.path.insert(0, str(bench))
    try:
        runs = list(importlib.import_module("autopsy_failures").runs(3))
    finally:
        sys.path.remove(str(bench))
    for failure, entries in runs:
        log = make_log(failure.name, entries)
        assert [told for sign in signs(log) for told in unfounded(sign.evidence, shown(log))] == [], (
            failure.name
        )


def test_the_check_finds_a_number_that_is_not_there() -> None:
    assert unfounded("loss 0.6931 at step 3", {"0.5"}) == ["0.6931 in 'loss 0.6931 at step 3'"]
    assert unfounded("loss 0.6931 (derived) at step 3; mean loss 0.2", {"0.5"}) == []
