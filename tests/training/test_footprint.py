"""Memory of training from two measured rows: the extrapolation against rows of other sizes, and by hand."""

from __future__ import annotations

import pytest
import torch
from tiny_models import MODELS
from transformers import AutoModelForCausalLM

from probe.training import footprint as fp
from probe.training.policy import trainable_model
from probe.training.recipes import Recipe

RECIPE = Recipe("dpo", 1e-5, lora_rank=4, lora_alpha=8)


@pytest.fixture
def model(tiny_model_dir):
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)


def test_other_sizes_are_foretold_within_15_percent(model):
    found = fp.measured_steps(model, RECIPE)
    for tokens in (60, 400, 700):
        model.requires_grad_(True)
        assert found.full.at(tokens) == pytest.approx(fp.saved_bytes(model, tokens), rel=0.15)
    tuned = trainable_model(model, RECIPE, seed=0)
    for tokens in (60, 400, 700):
        assert found.lora.at(tokens) == pytest.approx(fp.saved_bytes(tuned, tokens), rel=0.15)


def test_the_model_is_as_before(model):
    for p in model.parameters():
        p.requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    training = model.training
    fp.measured_steps(model, RECIPE)
    assert {name for name, _ in model.named_parameters()} == set(before)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters()) and model.training == training


@pytest.mark.parametrize(
    ("name", "linear"),
    [
        ("gpt2-learned-positions", 3 * 48 * (144 + 48 + 2 * 192)),
        ("llama", 3 * 48 * (2 * 48 + 2 * 24 + 3 * 64)),
        ("neox", 3 * 48 * (144 + 48 + 2 * 64)),
    ],
)
def test_linear_layers_are_counted_whatever_they_are_called(name, linear):
    """GPT-2's had counted as none, and its QLoRA as 2 bytes a weight."""
    assert fp.measured_steps(MODELS[name](), RECIPE).counts.linear == linear


def test_the_parts_by_hand():
    counts = fp.Counts(model=1000, linear=800, adapter=10, item=4, vocabulary=100)
    found = fp.MeasuredSteps(counts, fp.Activations(5.0, 0.0, 1e-3), fp.Activations(7.0, 0.5, 1e-3), 1e-3)
    full, lora, qlora = (fp.footprint(found, tuning, 20) for tuning in ("full", "lora", "qlora"))
    assert (full.weights, full.gradients, full.optimizer) == (4000, 4000, 8000)
    assert full.activations == 7 * 20 + 0.5 * 400 and full.logits == 20 * 100 * 4 * 2
    assert (lora.weights, lora.gradients, lora.optimizer, lora.activations) == (4040, 40, 80, 100)
    assert qlora.weights == pytest.approx(800 * 4.127 / 8 + 2 * 200 + 40) and qlora.activations == 50
    assert full.total == 4000 + 4000 + 8000 + 340 + 16000
