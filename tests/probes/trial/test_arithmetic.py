"""When a trial multiplies by frozen weights in bfloat16, and what it then says."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from probe.probes.trial.arithmetic import compared, stated
from probe.probes.trial.options import TrialOptions
from probe.probes.trial.run import trial_in
from probe.scoring import rounding
from probe.scoring.options import ModelOptions
from probe.scoring.rounding import Rounding
from probe.scoring.session import Session, Source
from probe.training import adapted


def item(chosen, rejected, tokens=(2, 4)):
    return SimpleNamespace(reference=(chosen, rejected), tokens=tokens)


def test_differences_by_hand():
    """Gaps −1 + 1 = 0.5…: (chosen / 2) − (rejected / 4) in nats/token."""
    exact = [item(-2.0, -4.0), item(-4.0, -4.0), item(-2.0, -8.0), item(-3.0, -6.0)]  # 0, −1, 1, 0
    half = [item(-1.8, -4.0), item(-4.0, -4.0), item(-2.2, -8.0), item(-3.0, -6.4)]  # .1, −1, .9, .1
    found = compared(exact, half)
    apart = np.array([0.1, 0.0, -0.1, 0.1])
    assert found.noise == pytest.approx(apart.std()) and found.largest == pytest.approx(0.1)
    assert found.turned == 2 and found.pairs == 4  # ties that are none any more
    assert found.widened == pytest.approx(np.sqrt(1 + apart.var() / 0.5) - 1)


@pytest.mark.parametrize(("widened", "taken"), [(0.0, True), (0.01, True), (0.0101, False)])
def test_taken_up_to_one_percent(widened, taken):
    found = Rounding(20, 0.008, 0.03, widened, 1)
    assert found.taken is taken and (stated(found) is not None) is taken
    assert found.facts()["products"] == ("bfloat16" if taken else "float32")


def test_pairs_without_any_spread_cannot_say_what_noise_is():
    assert not compared([item(-2.0, -4.0)] * 3, [item(-2.0, -4.0)] * 3).taken
    assert stated(None) is None


def test_the_note_says_how_far():
    text = stated(Rounding(20, 0.0081, 0.031, 0.001, 0)).message
    assert "0.0081 nats/token" in text and "0.031 at most" in text and "otherwise" not in text
    assert "2 of 20 pairs are ranked otherwise" in stated(Rounding(20, 0.0081, 0.031, 0.001, 2)).message


@pytest.mark.parametrize(
    ("exact", "processes", "units", "may"),
    [(False, 1, True, True), (True, 1, True, False), (False, 2, True, False), (False, 1, False, False)],
)
def test_where_it_is_tried(monkeypatch, exact, processes, units, may):
    monkeypatch.setattr(rounding, "world", lambda: processes)
    monkeypatch.setattr(rounding, "has_bfloat16_units", lambda: units)
    assert rounding.allowed(SimpleNamespace(exact=exact)) is may


@pytest.fixture
def opened(tmp_path, monkeypatch, loaded, pairs):
    """A session on a processor with such units, all of whose layers are large enough."""
    monkeypatch.setattr(adapted, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(rounding, "has_bfloat16_units", lambda: True)
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def open_(dtype=None, dtype_of_model=torch.float32):
        how = ModelOptions(dtype=dtype, device="cpu", no_cache=True, template="raw")
        return Session.open(Source.of(path, None, None, False), how, loaded=loaded(dtype=dtype_of_model))

    return open_


def tried(session):
    before = {name: p.clone() for name, p in session.loaded.model.named_parameters()}
    options = TrialOptions(steps=4, changes=(("learning_rate", 1e-2), ("batch", 4)), tokens=4, every=True)
    run = trial_in(session, options)
    assert all(torch.equal(before[n], p) for n, p in session.loaded.model.named_parameters())
    assert not any("forward" in m.__dict__ for m in session.loaded.model.modules())
    return run.inputs["trial"]["arithmetic"], [f for f in run.findings if f.code == "PB506"], run


def test_a_trial_in_bfloat16_says_so_and_learns_the_same(opened, monkeypatch):
    monkeypatch.setattr(rounding, "WIDENED", 10.0)  # a random model's gaps hardly spread
    facts, notes, run = tried(opened())
    assert facts["products"] == "bfloat16" and facts["pairs"] == 12 and facts["noise"] > 0 and len(notes) == 1
    facts, notes, exact = tried(opened("float32"))
    assert facts == {"products": "float32"} and not notes
    for name in ("trial_accuracy", "trial_margin_slope"):
        assert run.estimate(name).value == pytest.approx(exact.estimate(name).value, rel=0.05)
    assert run.estimate("trial_margin_slope").value != exact.estimate("trial_margin_slope").value


def test_a_trial_whose_noise_is_too_large_goes_on_in_float32(opened, monkeypatch):
    monkeypatch.setattr(rounding, "WIDENED", -1.0)
    facts, notes, run = tried(opened())
    assert facts["products"] == "float32" and facts["noise"] > 0 and not notes
    _, _, exact = tried(opened("float32"))
    assert run.estimate("trial_margin_slope").value == exact.estimate("trial_margin_slope").value


def test_a_model_in_bfloat16_has_nothing_to_gain(opened):
    facts, notes, _ = tried(opened(dtype_of_model=torch.bfloat16))
    assert facts == {"products": "bfloat16"} and not notes
