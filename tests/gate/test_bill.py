"""The bill by hand: what fits, what to change where it does not, and seconds that do not follow the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from paces import PACE

from probe.errors import ProbeError
from probe.gate import bill
from probe.probes.gated import Effort, GateRequest
from probe.scoring.session import ModelOptions, Source
from probe.training.footprint import Footprint
from probe.training.shipped import shipped_values

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
    told = "\n".join(
        bill.bill_lines(spent, spent, frozenset(), [fit(seconds=300.0), fit("full", weights=9.0 * GIB)])
    )
    assert "about 11 min" in told and "--quick" in told and "would not fit" in told
    told = "\n".join(bill.bill_lines(spent, spent, frozenset({"trial"}), [fit(seconds=300.0)]))
    assert "about 60 s" in told and "--quick" not in told


def test_seconds_are_bounded_whatever_the_file_holds():
    """100,000 pairs cost at most twice what 1,000 cost, reading aside."""
    few, many = (bill.probe_seconds(request(), n, PACE, 3e-3, 10.0) for n in (1000, 100_000))
    assert sum(many.values()) - many["data"] <= 2 * (sum(few.values()) - few["data"])
    whole = bill.probe_seconds(request(effort=Effort(looks=())), 100_000, PACE, 3e-3, 10.0)
    assert whole["bias"] > 50 * many["bias"]
    assert many["bias"] == pytest.approx((512 - 300 + 2 * 256) * 100 * 1e-3)


def test_a_small_trial_trains_no_more_than_its_epochs():
    """The steps of 20 pairs end with the recipe's epochs, as those of 128; those of long ones end before."""
    few, many = (bill.probe_seconds(request(), n, PACE, 1.0, 0.0)["trial"] for n in (20, 128))
    epochs, steps, batch = 3, 24, 8
    assert few == pytest.approx(3 * epochs * 10 * 100, rel=0.02)
    assert many == pytest.approx(3 * steps * batch * 100, rel=0.02)
    long = bill.probe_seconds(request(), 128, replace(PACE, pair=200.0), 1.0, 0.0)["trial"]
    assert long == pytest.approx(3 * 12 * batch * 200, rel=0.02)


def test_short_runs_in_faster_arithmetic_are_billed_at_their_own_pace():
    """All of the trial at half the seconds where a step of it takes half; nothing else changes."""
    usual, faster = (
        bill.probe_seconds(request(), 40, PACE, 4e-3, 10.0, short=short) for short in (None, 2e-3)
    )
    assert faster["trial"] < 0.6 * usual["trial"]
    assert faster["trial"] > 0.5 * usual["trial"] - 1e-9
    assert {k: v for k, v in faster.items() if k != "trial"} == {
        k: v for k, v in usual.items() if k != "trial"
    }


def test_a_bounded_trait_is_on_the_bill():
    traits = bill.probe_seconds(request(limits={"effect:flattery": 0.1}), 200, PACE, 1e-3, 0.0)
    assert traits["effects"] > 3 * 200 * 0.1
    assert bill.probe_seconds(request(), 200, PACE, 1e-3, 0.0)["effects"] == 0


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
    assert [line.split()[0] for line in told[3:6]] == ["lora", "qlora", "full"]
    assert all("would not fit" in line for line in told[3:6]) and finding.code == "PB010"
    assert bill.bill(session, asked, "64GiB")[1] is None


def test_seconds_of_each_probe_by_hand():
    """200 pairs of 100 tokens: a millisecond a token forward, 3 with its backward, 2 to write one."""
    found = bill.probe_seconds(request(), 200, PACE, 3e-3, 7.0)
    assert found.pop("data") == pytest.approx(6 * 200 * 1e-5)
    assert found.pop("numerics") == pytest.approx(4 * 150 * (2 * 1e-3 + 3e-3))  # sequences one by one
    assert found.pop("negatives") == pytest.approx(7 + 1.3 * 200 * (100 + 60) * 1e-3)
    assert found.pop("bias") == pytest.approx(2 * 200 * 100 * 1e-3)
    trained = 3 * (24 * 8) * 100 * 3e-3  # three stages, 24 steps of eight pairs
    scored = (128 + 3 * 64) * 100 * 1e-3  # each half under its own candidates
    written = (
        4 * 64 * (2 * 40 * 2e-3 + 40 * 1e-3)
    )  # two samples of forty tokens, four models, prompts read once
    judged = (6 * 64 * 2 + 128) * 50 * 1e-3  # sides are half a pair
    assert found.pop("trial") == pytest.approx(trained + scored + written + judged)
    assert found == {"effects": 0}


def test_no_more_than_so_many_prompts_are_written_for():
    asked = request(effort=Effort(trial=4))
    slow, fast = (bill.probe_seconds(asked, 5000, replace(PACE, writing=w), 3e-3, 0.0) for w in (1.0, 0.0))
    assert slow["trial"] - fast["trial"] == pytest.approx(4 * 96 * 2 * 40)


@pytest.mark.parametrize(
    ("small", "large", "n", "expected"),
    [
        (1.0, 4.0, 192, 4.0 * 2**2),  # the square: twice as many pairs take four times as long
        (1.0, 16.0, 192, 16.0 * 2**3),  # never beyond the cube
        (4.0, 4.0, 192, 4.0 * 2),  # nor below a line
        (1.0, 4.0, 48, 4.0 / 4),
        (1.0, 4.0, 100_000, 4.0 * (1500 / 96) ** 2),  # texts beyond are not classified
    ],
)
def test_the_seconds_of_the_classifiers_grow_by_the_power_that_two_sizes_show(
    small, large, n, expected, monkeypatch
):
    monkeypatch.setattr("probe.probes.negatives.triviality.surface", lambda sample, seed: len(sample))
    monkeypatch.setattr(bill, "clocked", lambda work: (None, {48: small, 96: large}[work()]))
    assert bill.text_seconds(surveyed(96), n) == pytest.approx(expected)


@pytest.mark.parametrize(("pairs", "expected"), [(0, 0.0), (1, 0.0), (2, 5.0), (95, 5.0)])
def test_few_pairs_are_classified_once_for_the_bill(pairs, expected, monkeypatch):
    monkeypatch.setattr("probe.probes.negatives.triviality.surface", lambda sample, seed: len(sample))
    monkeypatch.setattr(bill, "clocked", lambda work: (None, 5.0 if work() == pairs else 0.0))
    assert bill.text_seconds(surveyed(pairs), 1000) == expected


def surveyed(pairs):
    return SimpleNamespace(survey=SimpleNamespace(sample=[None] * pairs))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (1.4, "1 s"), (119.0, "119 s"), (120.0, "2 min"), (7199.0, "120 min"), (7200.0, "2.0 h")],
)
def test_seconds_as_one_reads_them(seconds, text):
    assert bill.duration(seconds) == text


def test_what_fills_the_memory_to_the_last_byte_fits():
    assert fit(weights=8.0 * GIB).fits and not fit(weights=8.0 * GIB, logits=1.0).fits
    assert fit(weights=1.0, logits=2.0).total == 3.0
    (_, head, line, *_) = bill.bill_lines(
        {"bias": 1.0}, {"bias": 1.0}, frozenset(), [fit(weights=0.05 * GIB, seconds=300.0)]
    )
    assert "1,024 tokens, 8 GiB of memory" in head
    assert line.split()[:6] == ["lora", "51.2", "MiB", "about", "5", "min"]


def test_the_gate_may_cost_as_much_as_the_run_and_only_what_fits_is_a_run():
    def told(trial, *ways):
        return "--quick" in "\n".join(
            bill.bill_lines({"trial": trial}, {"trial": trial}, frozenset(), list(ways))
        )

    assert not told(300.0, fit(seconds=300.0)) and told(301.0, fit(seconds=300.0))
    large = fit("full", weights=9.0 * GIB, seconds=10.0)
    assert not told(301.0, large) and not told(200.0, large, fit(seconds=300.0))


def test_ways_of_training_by_hand(monkeypatch):
    """21 pairs of 100 tokens for three epochs; a micro-batch is as long as the longest pair, if longer."""
    asked = []
    monkeypatch.setattr(
        "probe.training.footprint.footprint",
        lambda found, tuning, tokens: asked.append((tuning, tokens)) or Footprint(1.0, 2.0, 3.0, 4.0, 5.0),
    )
    found = SimpleNamespace(
        counts=SimpleNamespace(model=135_000_000),
        lora=SimpleNamespace(seconds=0.5),
        full=SimpleNamespace(seconds=2.0),
    )
    for longest, tokens in ((300, 1024), (2000, 2000)):
        asked.clear()
        made = bill.fits(found, replace(PACE, longest=longest), 21, 7.0)
        assert asked == [("lora", tokens), ("qlora", tokens), ("full", tokens)]
    epochs = [
        shipped_values("dpo", parameters=135_000_000, n=21, tuning=t)["epochs"]
        for t in ("lora", "lora", "full")
    ]
    seconds = [e * 21 * 100 * step for e, step in zip(epochs, (0.5, 0.5, 2.0), strict=True)]
    assert [one.seconds for one in made] == pytest.approx(seconds)
    assert [one.tuning for one in made] == ["lora", "qlora", "full"]
    assert (made[0].total, made[0].memory, made[0].fits) == (15.0, 7.0, False)
    assert made[0].parts == {
        "weights": 1.0,
        "gradients": 2.0,
        "optimizer": 3.0,
        "activations": 4.0,
        "logits": 5.0,
    }


@pytest.mark.parametrize(
    ("size", "told"),
    [(2.5 * GIB, "2.5 GiB"), (GIB / 10, "0.1 GiB"), (0.095 * GIB, "97.28 MiB"), (2**20, "1 MiB")],
)
def test_a_tenth_of_a_gibibyte_is_the_least_that_is_told_in_them(size, told):
    assert bill._size(size) == told


@pytest.mark.parametrize(
    ("n", "first", "last"), [(40, 40, 40), (600, 600, 600), (2000, 512, 2000), (9000, 512, 2048)]
)
def test_the_most_is_the_last_look_at_the_bias(n, first, last):
    """Of 600 pairs the rest is read with the first look; 300 of the pairs were scored for their states."""
    for most, looked in ((False, first), (True, last)):
        found = bill.probe_seconds(request(), n, PACE, 3e-3, 0.0, most=most)
        scored = max(looked - min(n, 300), 0) + 2 * min(n, 256)
        assert found["bias"] == pytest.approx(scored * 100 * 1e-3)


def test_the_bill_names_what_it_is_where_the_first_look_settles_nothing():
    spent, most = (
        {"negatives": 60.0, "bias": 60.0, "trial": 9.0},
        {"negatives": 60.0, "bias": 200.0, "trial": 9.0},
    )
    told = list(bill.bill_lines(spent, most, frozenset({"trial"}), [fit()]))
    assert told[0] == "on this machine about 2 min: negatives 60 s, bias 60 s"
    assert told[1] == "  4 min where the first looks settle nothing: bias 3 min"
    assert "settles nothing" not in "".join(bill.bill_lines(spent, spent, frozenset(), [fit()]))


@pytest.mark.parametrize(("n", "times"), [(40, 2), (128, 2), (160, 2)])
def test_a_second_look_trains_the_other_half_of_a_small_file(n, times):
    first, last = (
        bill.probe_seconds(request(), n, PACE, 3e-3, 0.0, most=most)["trial"] for most in (False, True)
    )
    assert last == pytest.approx(times * first)


@pytest.mark.parametrize(("n", "pairs"), [(200, 200), (512, 512), (9000, 512)])
def test_of_a_larger_file_it_measures_more_pairs(n, pairs):
    """Training stays what it was; what is measured grows from 128 pairs to four times as many at most."""
    first, last = (
        bill.probe_seconds(request(), n, PACE, 3e-3, 0.0, most=most)["trial"] for most in (False, True)
    )
    trained = 3 * (24 * 8) * 100 * 3e-3
    assert last - trained == pytest.approx((first - trained) * pairs / 128)
