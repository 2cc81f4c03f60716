"""What is kept of a source of pairs goes by its content, whatever the kind of the source."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from probe.api_inputs import pair_file
from probe.errors import ProbeError
from probe.gate.baseline import why_incomparable
from probe.gate.export.export import _unchanged
from probe.gate.levers import with_levers
from probe.gate.whole import changed_pairs
from probe.pairs.formats import fingerprint, is_still
from probe.pairs.unpaired import read_unpaired
from probe.records import Run, same_pairs
from probe.runs import save_run
from probe.scoring.source import Source
from probe.stats.paired_runs import matched_rows

Rows = Sequence[dict[str, Any]]
PAIRS = [{"prompt": f"Why {i}?", "chosen": f"It is {i}.", "rejected": f"No {i}."} for i in range(4)]
TURNED = [{"prompt": r["prompt"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in PAIRS]


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def a_file(place: Path, rows: Rows) -> Path:
    (place / "pairs.jsonl").write_text(lines(rows))
    return place / "pairs.jsonl"


def a_folder_of_jsonl(place: Path, rows: Rows) -> Path:
    pytest.importorskip("datasets")
    (place / "folder").mkdir(exist_ok=True)
    (place / "folder/train.jsonl").write_text(lines(rows))
    return place / "folder"


def a_folder_of_parquet(place: Path, rows: Rows) -> Path:
    datasets = pytest.importorskip("datasets")
    (place / "folder").mkdir(exist_ok=True)
    datasets.Dataset.from_list(list(rows)).to_parquet(str(place / "folder/train.parquet"))
    return place / "folder"


def a_saved_dataset(place: Path, rows: Rows) -> Path:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(list(rows)).save_to_disk(str(place / "saved"))
    return place / "saved"


KINDS = [a_file, a_folder_of_jsonl, a_folder_of_parquet, a_saved_dataset]


def facts(path: Path) -> Any:
    return Source.of(path, None, None, False).survey(0).facts


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("datasets").config
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


@pytest.mark.parametrize("kind", KINDS)
def test_other_content_under_the_same_name_has_another_hash(
    tmp_path: Path, kind: Callable[[Path, Rows], Path]
) -> None:
    path = kind(tmp_path, PAIRS)
    before = facts(path)["sha256"]
    assert len(before) == 64 and before == facts(kind(tmp_path, PAIRS))["sha256"]
    assert is_still(path, before)
    assert kind(tmp_path, TURNED) == path
    assert facts(path)["sha256"] == fingerprint(path) != before
    assert not is_still(path, before) and not is_still(path, None) and not is_still(tmp_path / "gone", before)


@pytest.mark.parametrize("kind", KINDS)
def test_what_rests_on_a_run_sees_that_its_source_changed(
    tmp_path: Path, kind: Callable[[Path, Rows], Path]
) -> None:
    """A saved run judged again, and an export: a folder was passed over by one, a crash of the other."""
    path = kind(tmp_path, PAIRS)
    run = Run("gate", "2026-11-29T00:00:00Z", inputs={"pairs": facts(path)})
    assert changed_pairs(run.inputs["pairs"]) is None and _unchanged(run, None) == path
    kind(tmp_path, TURNED)
    found = changed_pairs(run.inputs["pairs"])
    assert found is not None and found.code == "PB708"
    with pytest.raises(ProbeError, match="changed since it was gated"):
        _unchanged(run, None)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_too(tmp_path: Path, kind: Callable[[Path, Rows], Path]) -> None:
    rows = [
        {"prompt": r["prompt"], "completion": r["chosen"], "label": i % 2 > 0} for i, r in enumerate(PAIRS)
    ]
    first = read_unpaired(kind(tmp_path, rows)).facts()["sha256"]
    turned = [{**row, "label": not row["label"]} for row in rows]
    assert first and first != read_unpaired(kind(tmp_path, turned)).facts()["sha256"]


def test_rows_in_memory() -> None:
    found = []
    for rows in (PAIRS, TURNED, PAIRS):
        with pair_file(rows) as path:
            found.append(facts(path)["sha256"])
    assert found[0] == found[2] != found[1]


def test_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    held: list[Rows] = [PAIRS]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(list(held[0])))
    first = fingerprint(Path("owner/name:train"))
    assert is_still(Path("owner/name:train"), first)
    held[0] = TURNED
    assert fingerprint(Path("owner/name:train")) != first


@pytest.mark.parametrize(
    "values",
    [(datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2)), (b"a", b"b"), (1.0, float("nan"))],
)
def test_columns_that_json_has_no_form_for(tmp_path: Path, values: tuple[Any, Any]) -> None:
    one, two = (a_saved_dataset(tmp_path, [{**PAIRS[0], "more": value}]) and fingerprint(tmp_path / "saved")
                for value in values)  # fmt: skip
    assert one != two


def test_nothing_to_read_is_an_error_and_never_a_hash(tmp_path: Path) -> None:
    with pytest.raises(ProbeError):
        fingerprint(tmp_path / "gone.jsonl")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a" * 64, "a" * 64, True), ("a" * 64, "b" * 64, False), (None, None, False)],
)
def test_runs_whose_pairs_are_not_known_are_not_of_the_same(
    tmp_path: Path, one: str | None, other: str | None, same: bool
) -> None:
    """As runs of dataset folders were saved, before a folder had a hash."""
    rows = [{"id": "1", "line": 1, "gap": 0.1, "cluster": 0}]
    first, second = (
        Run("levers", "2026-11-29T00:00:00Z", details={"pairs": rows}, inputs={"pairs": {"sha256": sha}})
        for sha in (one, other)
    )
    assert same_pairs(first, second) is same
    assert ("sha256" in why_incomparable(first, second)) is not same
    assert bool(matched_rows(first, second)[0]) is same
    save_run(second, tmp_path)
    if same:
        assert with_levers(first, tmp_path)
    else:
        with pytest.raises(ProbeError, match="pair file"):
            with_levers(first, tmp_path)
