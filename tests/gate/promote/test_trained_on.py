"""PB914 reads what a run held out, of pairs and of answers; what it cannot read stops no comparison."""

import json
from pathlib import Path

import pytest

from probe.gate.promote.trained_on import trained_on
from probe.pairs.formats import fingerprint
from probe.records import Run
from probe.runs import save_run

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"yes {i}", "rejected": "no"} for i in range(8)]
ANSWERS = [{"prompt": row["prompt"], "completion": row["chosen"], "label": True} for row in PAIRS]
APART = range(5, 8)


def write(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_on(path: Path, command: str) -> Run:
    facts = {"path": str(path), "sha256": fingerprint(path), "n": 8}
    return Run(command, "2026-11-28T10:00:00Z", inputs={"pairs": facts})


@pytest.fixture
def tuned(tmp_path):
    """A directory as `probe train` leaves it, without weights; the adapter's place in it."""

    def made(rows, command="train"):
        place = tmp_path / "tuned"
        (place / "adapter").mkdir(parents=True)
        save_run(run_on(write(tmp_path / "trained.jsonl", rows), command), place)
        write(place / "held-out.jsonl", [rows[i] for i in APART])
        return place / "adapter"

    return made


@pytest.mark.parametrize("rows", [PAIRS, ANSWERS])
def test_prompts_that_were_trained_on_are_found_whatever_was_trained_on(tuned, rows, tmp_path):
    """Beside weights tuned on answers `compare` stopped: their file holds no pair."""
    adapter, measured = tuned(rows), run_on(write(tmp_path / "pairs.jsonl", PAIRS), "bias")
    found = trained_on(adapter, measured)
    assert found.lines == (1, 2, 3, 4, 5) and found.message.startswith("5 of 8 pairs")
    assert found.remedy.endswith("tuned/held-out.jsonl.")
    apart = run_on(write(tmp_path / "apart.jsonl", [PAIRS[i] for i in APART]), "bias")
    assert trained_on(adapter, apart) is None


@pytest.mark.parametrize("text", ["{}", "not JSON", '{"command": "bias"}', "[1]"])
def test_a_run_json_of_another_tool_is_no_fault_of_the_comparison(tuned, text, tmp_path):
    adapter, measured = tuned(PAIRS), run_on(write(tmp_path / "pairs.jsonl", PAIRS), "bias")
    (adapter.parent / "run.json").write_text(text)
    assert trained_on(adapter, measured) is None and trained_on(None, measured) is None


@pytest.mark.parametrize("lost", ["held-out.jsonl", "run.json", "../trained.jsonl"])
def test_what_is_not_known_is_not_told(tuned, lost, tmp_path):
    adapter, measured = tuned(PAIRS), run_on(write(tmp_path / "pairs.jsonl", PAIRS), "bias")
    (adapter.parent / lost).unlink()
    assert trained_on(adapter, measured) is None


def test_another_runs_json_beside_weights_says_nothing_of_training(tuned, tmp_path):
    measured = run_on(write(tmp_path / "pairs.jsonl", PAIRS), "bias")
    assert trained_on(tuned(PAIRS, "bias"), measured) is None
