"""Every row of the list of forms: what a log is, what is true of it, and the numbers that must be quoted."""

from pathlib import Path
from typing import NamedTuple

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log

ROOT = next((p for p in Path(__file__).resolve().parents if (p / "shared/data/logs/forms").is_dir()), None)
FORMS = (ROOT or Path()) / "shared/data/logs/forms"
pytestmark = pytest.mark.skipif(ROOT is None, reason="the logs of all forms are not in this checkout")


class Truth(NamedTuple):
    """What must be found in a file: main label, method, unit of places, tags, words of the evidence."""

    main: str
    method: str
    unit: str = "step"
    tags: frozenset[str] = frozenset()
    since: str | None = None
    told: str = ""


OVERFIT = "eval_loss lowest at step 200: 0.9486, 1.761 at the end"
TRUTHS = {
    "wandb-panel-nan.csv": Truth("numerics", "method not recognised", since="step 60"),
    "hrm-ft-log.jsonl": Truth("healthy", "SFT", "epoch"),
    "dpo89-ok.log": Truth("stuck", "DPO", "example", frozenset({"frozen"}), "example 32", "0.7024"),
    "x-lf-old-dpo-stuck.jsonl": Truth("stuck", "DPO", since="step 10", told="0.6931..0.6931"),
    "hrm-printed.log": Truth("numerics", "DPO", "entry", since="entry 1", told="1·11 / (2·10) = 0.3812"),
    "multiline.log": Truth("healthy", "SFT", "entry"),
    "str_history.txt": Truth("overfit", "SFT", since="step 200", told=OVERFIT),
    "metrics.csv": Truth("overfit", "SFT", since="step 200", told=OVERFIT),
    "evalonly-news.json": Truth("overfit", "SFT", since="step 200", told=OVERFIT),
    "model-card.md": Truth("overfit", "SFT", since="step 200", told=OVERFIT),
    "printed-with-progress.out": Truth("stuck", "DPO", tags=frozenset({"frozen", "below_chance", "warmup"})),
    "swift-deepclima-logging.jsonl": Truth("healthy", "SFT"),
    "grpo-no-variance.csv": Truth(
        "stuck", "GRPO", tags=frozenset({"no_signal", "clipped"}), told="87 of 100"
    ),
    "trl3857.jsonl": Truth("stuck", "GRPO", tags=frozenset({"no_signal"})),
    "lean-qwen-dpo-x4.log": Truth("stuck", "DPO", "entry", frozenset({"summed_loss"}), "entry 1"),
    "terrense-dpo-b01.jsonl": Truth("stuck", "DPO", tags=frozenset({"ref_mismatch", "too_short"})),
    "hf27733.log": Truth("stuck", "SFT", "entry", frozenset({"zero_loss"}), "entry 1", "exactly 0 in 6 of 6"),
    "lf9631.log": Truth("numerics", "SFT", "entry", frozenset({"too_short"}), "entry 1"),
    "trl1236.log": Truth("healthy", "DPO", "entry", frozenset({"ref_mismatch"})),
    "kto1447.log": Truth("healthy", "KTO", "entry", frozenset({"empty_side"})),
    "eto14.log": Truth("stuck", "DPO", "entry", frozenset({"no_tokens"})),
    "minimind-dpo.log": Truth("healthy", "DPO"),
    "mlx-pr6.txt": Truth("stuck", "ORPO", tags=frozenset({"too_short"})),
    "torchtune-log_1717.txt": Truth("healthy", "SFT"),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_every_form_is_read_and_told_truly(name: str) -> None:
    truth = TRUTHS[name]
    log = read_log(FORMS / name)
    found = diagnose(log)
    told = diagnosis_json(found)
    assert (found.main, found.method.name, log.unit) == (truth.main, truth.method, truth.unit)
    assert set(told["tags"]) == truth.tags
    assert truth.told in found.sign.evidence
    if truth.since:
        assert told["since"] == truth.since
    if truth.unit != "step":
        assert told["since_step"] is None
        assert "since step" not in found.sign.evidence


def test_the_list_of_forms_is_covered() -> None:
    assert set(TRUTHS) == {path.name for path in FORMS.iterdir()} - {"README.md"}


def test_steps_are_those_of_the_log() -> None:
    last = {
        "swift-deepclima-logging.jsonl": 430,
        "printed-with-progress.out": 109,
        "dpo89-ok.log": 224,
        "minimind-dpo.log": 4292,
        "hrm-ft-log.jsonl": 200,
    }
    assert {name: read_log(FORMS / name).train[-1]["step"] for name in last} == last


def tag_of(name: str, label: str) -> tuple[str, str]:
    tag = next(t for t in diagnose(read_log(FORMS / name)).tags if t.label == label)
    return tag.evidence, tag.next


def test_a_number_that_is_not_in_the_log_is_not_quoted_from_it() -> None:
    evidence, advice = tag_of("trl1236.log", "ref_mismatch")
    assert evidence.startswith("rewards/chosen 9.765, rewards/rejected 5.694 at entry 1")
    assert "0.69" not in evidence
    assert "ref_model=None" in advice


def test_summed_losses_and_partial_accumulations() -> None:
    evidence, _ = tag_of("lean-qwen-dpo-x4.log", "summed_loss")
    assert "loss 2.766 at entry 1 is 3.99 × ln 2 (derived): summed over 4 micro-batches" in evidence
    assert "6 low entries are partial accumulations" in evidence


def test_nan_before_any_update_names_no_optimizer_as_its_cause() -> None:
    advice = diagnose(read_log(FORMS / "lf9631.log")).sign.next
    assert all(word in advice for word in ("AdamW is not the cause", "attention", "float16", "overlap"))


def test_short_logs_say_what_they_cannot_tell() -> None:
    sign = diagnose(read_log(FORMS / "mlx-pr6.txt")).sign
    assert sign.confidence == "cannot tell"
    assert "logging_steps=1" in sign.next
