"""The labelled public logs: every main label and every tag, and the arithmetic of the two NaN runs."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.method import recognise
from probe.probes.autopsy.read import read_log

ABOVE = Path(__file__).resolve().parents
ROOT = next((p for p in ABOVE if (p / "shared/data/logs").is_dir()), None)
LOGS = (ROOT or Path("absent")) / "shared/data/logs"
BENCH = next(p for p in ABOVE if (p / "bench/autopsy_labels.py").is_file()) / "bench"
pytestmark = pytest.mark.skipif(not LOGS.is_dir(), reason="the public logs are not in this checkout")


def index() -> list[Any]:
    spec = importlib.util.spec_from_file_location("autopsy_labels", BENCH / "autopsy_labels.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["autopsy_labels"] = module
    spec.loader.exec_module(module)
    return list(module.labels(LOGS)) if LOGS.is_dir() else []


@pytest.mark.parametrize("label", index(), ids=lambda label: label.slug)
def test_every_public_log_gets_its_label_and_tags(label: Any) -> None:
    log = read_log(LOGS / f"{label.slug}.json")
    found = diagnose(log)
    assert (found.main, {tag.label for tag in found.tags}) == (label.main, set(label.tags))
    assert recognise(log).name == label.method


@pytest.mark.parametrize(
    ("slug", "since", "told"),
    [
        ("hrm-dpo-personal", 10, "ln 2 × 1·11 / (2·10) = 0.3812, derived): step 2 was the first to fail"),
        ("hrm-dpo-10epoch", 5, "ln 2 × 1·6 / (2·5) = 0.4159, derived): step 2 was the first to fail"),
        ("chelsi-dpo-noisy-llama2", 500, "none of steps 1 to 500 was finite"),
        ("ccccai-dpo-llama2-7b", 430, "rewards already at step 390"),
        ("hrm-sft-overfit", 138, "eval_loss lowest at step 138: 2.555, 5.907 at the end (+131%)"),
    ],
)
def test_evidence_says_which_step_failed_and_how_that_is_known(slug: str, since: int, told: str) -> None:
    sign = diagnose(read_log(LOGS / f"{slug}.json")).sign
    assert sign.since_step == since
    assert told in sign.evidence
