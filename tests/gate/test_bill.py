"""The bill by hand: what fits, what to change where it does not, and seconds that do not follow the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.gate import bill
from probe.probes.gated import Effort, GateRequest
from probe.probes.pace import Pace
from probe.scoring.session import ModelOptions, Source

PACE = Pace(forward=1e-3, writing=2e-3, reading=1e-5, pair=100.0, alone=60.0, longest=300)
GIB = bill.GIB


def fit(tuning="lora", memory=8 * GIB, seconds=100.0, **parts):
    names = ("weights", "gradients", "optimizer", "activations", "logits")
    return bill.Fit(tuning, {name: parts.get(name, 0.0) for name in names}, memory, seconds)


def request(**more):
    return GateRequest(Source.of(Path("p.jsonl"), None, None, False), ModelOptions(), **more)


@pytest.mark.parametrize(("text", "size"), [("24GiB", 24 * GIB), ("1.5 GB", 1.5e9), ("512mib", 2**29)])
def test_sizes_of_memory(text, size):
    assert bill.memory_of(text) == size


@pytest.mark.parametrize("text", ["24", "GiB", "24 lorries", "", "1.2.3GiB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ProbeError, match="such as 24GiB"):
        bill.memory_of(text)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("weights", "QLoRA"),
        ("gradients", "adapter"),
        ("optimizer", "8-bit optimizer"),
        ("activations", "checkpointing"),
        ("logits", "--max-length"),
    ],
)
def test_what_would_not_fit_names_its_largest_part_and_what_fits(part, change):
    large = fit(**{part: 9.0 * GIB})
    found = bill.too_large([large, fit("qlora", weights=1.0 * GIB)], full=False)
    assert found.code == "PB010" and part in found.message and change in found.remedy
    assert "qlora would fit" in found.remedy
    assert bill.too_large([fit(), fit("full", weights=9.0 * GIB)], full=False) is None
    assert bill.too_large([fit(), fit("full", weights=9.0 * GIB)], full=True).code == "PB010"


def test_the_bill_says_when_the_gate_costs_more_than_the_run():
    spent = {"bias": 60.0, "trial": 600.0}
    told = "\n".join(bill.lines(spent, frozenset(), [fit(seconds=300.0), fit("full", weights=9.0 * GIB)]))
    assert "about 11 min" in told and "--quick" in told and "would not fit" in told
    told = "\n".join(bill.lines(spent, frozenset({"trial"}), [fit(seconds=300.0)]))
    assert "about 60 s" in told and "--quick" not in told


def test_seconds_are_bounded_whatever_the_file_holds():
    """100,000 pairs cost at most twice what 1,000 cost, reading aside."""
    few, many = (bill.seconds(request(), n, PACE, 3e-3, 10.0) for n in (1000, 100_000))
    assert sum(many.values()) - many["data"] <= 2 * (sum(few.values()) - few["data"])
    whole = bill.seconds(request(effort=Effort(looks=())), 100_000, PACE, 3e-3, 10.0)
    assert whole["bias"] > 50 * many["bias"]
    assert many["bias"] == pytest.approx((512 - 300 + 2 * 256) * 100 * 1e-3)


def test_a_small_trial_trains_no_more_than_its_epochs():
    """The steps of 20 pairs end with the recipe's epochs, those of 128 with the cap."""
    few, many = (bill.seconds(request(), n, PACE, 1.0, 0.0)["trial"] for n in (20, 128))
    epochs, steps, batch = 3, 12, 8
    assert few == pytest.approx(3 * epochs * 10 * 100, rel=0.02)
    assert many == pytest.approx(3 * steps * batch * 100, rel=0.02)


def test_a_bounded_trait_is_on_the_bill():
    traits = bill.seconds(request(limits={"effect:flattery": 0.1}), 200, PACE, 1e-3, 0.0)
    assert traits["effects"] > 3 * 200 * 0.1
    assert bill.seconds(request(), 200, PACE, 1e-3, 0.0)["effects"] == 0


def test_a_bill_on_a_model(tmp_path, tiny_model_dir):
    """Lines from a warm-up and measured steps; the model is as before, and one MiB holds no training."""
    import torch

    from probe.scoring.session import Session

    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {i}:", "chosen": f" yes {i}", "rejected": f" no {i}"} for i in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = GateRequest(Source.of(path, None, None, False), ModelOptions(str(tiny_model_dir), no_cache=True))
    session = Session.open(asked.source, asked.how)
    before = [p.clone() for p in session.loaded.model.parameters()]
    told, finding = bill.bill(session, asked, "1MiB")
    assert all(torch.equal(a, b) for a, b in zip(before, session.loaded.model.parameters(), strict=True))
    assert [line.split()[0] for line in told[2:5]] == ["lora", "qlora", "full"]
    assert all("would not fit" in line for line in told[2:5]) and finding.code == "PB010"
    assert bill.bill(session, asked, "64GiB")[1] is None
