"""Evidence quotes the log: a number that is not in it is called a mean, a share, a count or derived."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import gravest
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.read import read_log

ROOT = next((p for p in Path(__file__).resolve().parents if (p / "shared/data/logs").is_dir()), None)
LOGS = (ROOT or Path()) / "shared/data/logs"
FILES = (
    [p for p in sorted([*LOGS.glob("*.json"), *LOGS.glob("forms/*")]) if p.name != "README.md"]
    if ROOT
    else []
)
BENCH = (
    next(p for p in Path(__file__).resolve().parents if (p / "bench/autopsy_quotes.py").is_file()) / "bench"
)


def of_bench(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@pytest.fixture
def quotes(monkeypatch: pytest.MonkeyPatch) -> Any:
    return of_bench("autopsy_quotes", monkeypatch)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_number_of_the_evidence_is_in_the_log_or_marked(path: Path, quotes: Any) -> None:
    try:
        log = gravest(read_log(path))
    except ProbeError:
        pytest.fail(f"{path.name} is not read")
    assert quotes.unfounded_of(log) == []


def test_so_it_is_for_planted_failures(quotes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for failure, entries in of_bench("autopsy_failures", monkeypatch).runs(3):
        assert quotes.unfounded_of(make_log(failure.name, entries)) == [], failure.name


def test_the_check_finds_a_number_that_is_not_there(quotes: Any) -> None:
    assert quotes.unfounded("loss 0.6931 at step 3", {"0.5"}) == ["0.6931 in 'loss 0.6931 at step 3'"]
    assert quotes.unfounded("loss 0.6931 (derived) at step 3; mean loss 0.2", {"0.5"}) == []
