"""The labelled public logs: every main label and every tag, and the arithmetic of the two NaN runs."""

import csv
import re
from pathlib import Path

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.method import recognise
from probe.probes.autopsy.read import read_log

LOGS = Path(__file__).resolve().parents[3].parent / "shared/data/logs"
if not LOGS.is_dir():  # a worktree lies one level deeper than a checkout
    LOGS = Path(__file__).resolve().parents[5] / "shared/data/logs"
pytestmark = pytest.mark.skipif(not LOGS.is_dir(), reason="the public logs are not in this checkout")


def index() -> list[dict[str, str]]:
    if not LOGS.is_dir():
        return []
    with (LOGS / "INDEX.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("row", index(), ids=lambda row: row["slug"])
def test_every_public_log_gets_its_label_and_tags(row: dict[str, str]) -> None:
    log = read_log(LOGS / f"{row['slug']}.json")
    found = diagnose(log)
    tags = {tag.lower() for tag in re.findall(r"\b([A-Z_]{4,})(?= \()", row["beyond_rules"])}
    assert (found.main, {tag.label for tag in found.tags}) == (row["labels"].lower(), tags)
    assert recognise(log).name == row["method"]


@pytest.mark.parametrize(
    ("slug", "since", "told"),
    [
        ("hrm-dpo-personal", 10, "ln 2 × 1·11 / (2·10) = 0.3812): step 2 was the first to fail"),
        ("hrm-dpo-10epoch", 5, "ln 2 × 1·6 / (2·5) = 0.4159): step 2 was the first to fail"),
        ("chelsi-dpo-noisy-llama2", 500, "none of steps 1 to 500 was finite"),
        ("ccccai-dpo-llama2-7b", 430, "rewards already at step 390"),
        ("hrm-sft-overfit", 138, "eval_loss lowest at step 138: 2.555, 5.907 at the end (+131%)"),
    ],
)
def test_evidence_says_which_step_failed_and_how_that_is_known(slug: str, since: int, told: str) -> None:
    sign = diagnose(read_log(LOGS / f"{slug}.json")).sign
    assert sign.since_step == since
    assert told in sign.evidence
