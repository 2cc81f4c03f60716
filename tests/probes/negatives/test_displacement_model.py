"""Displacement on a tiny model: the papers' definitions, written down plainly, at batch 1."""

import numpy as np
import pytest
import torch

from probe.probes.negatives.displacement import Gradients, ches
from probe.scoring.encode import make_encoder
from probe.scoring.gradients import gradient_products
from probe.scoring.readout import read_out


@pytest.fixture
def encoded(pairs, make_tokenizer):
    return make_encoder(make_tokenizer("bpe", bos=True), pairs, "raw").many(pairs)[:6]


@torch.no_grad()
def upstream_ches(model, pair, normalise):
    """Razin et al.'s code at batch 1: zero the states before the last prompt token, drop the last state."""
    kept = []
    for side in (pair.chosen, pair.rejected):
        states = model(torch.tensor([side.ids]), output_hidden_states=True).hidden_states[-1]
        last_prompt = side.start - 1
        mask = torch.arange(states.shape[1]) >= last_prompt
        states = (states * mask[None, :, None])[:, :-1]
        kept.append(states.sum(1) / ((states.shape[1] - last_prompt) if normalise else 1))
    plus, minus = kept
    return float(((plus * minus).sum(1) - plus.norm(dim=1) ** 2)[0])


def test_ches_equals_the_authors_definition(tiny, encoded):
    read = [dict(read_out(tiny, [s for p in encoded for s in (p.chosen, p.rejected)], (1,)))]
    sides = [read[0][i] for i in range(2 * len(encoded))]
    sums, tokens = [r.summed for r in sides], [len(r.logps) for r in sides]
    found = ches(sums[::2], sums[1::2], tokens[::2], tokens[1::2])
    for i, pair in enumerate(encoded):
        assert found.raw[i] == pytest.approx(upstream_ches(tiny, pair, False), rel=1e-3, abs=1e-2)
        assert found.normalised[i] == pytest.approx(upstream_ches(tiny, pair, True), rel=1e-3, abs=1e-3)


def test_products_predict_a_small_step(tiny, encoded, load, make_tokenizer):
    """θ ← θ + η(g⁺ − g⁻) on LoRA's B matrices changes log π(chosen) by η(‖g⁺‖² − ⟨g⁺,g⁻⟩) to first order.

    The same holds for the rejected side with ⟨g⁺,g⁻⟩ − ‖g⁻‖². Checked by central differences.
    """
    from peft import LoraConfig, get_peft_model

    loaded = load(tiny.double(), make_tokenizer("bpe"), torch.float64)
    products = gradient_products(loaded, encoded[:2], plain=True)
    for pair, (plus, minus, both) in zip(encoded[:2], products, strict=True):
        torch.manual_seed(0)
        config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(tiny, config).eval()
        weights = [p for n, p in tuned.named_parameters() if "lora_" in n]

        def logp(side, tuned=tuned):
            table = tuned(torch.tensor([side.ids])).logits[0].log_softmax(-1)
            rows = torch.arange(side.start - 1, len(side.ids) - 1)
            return table[rows, torch.tensor(side.ids[side.start :])].sum()

        step = torch.autograd.grad(logp(pair.chosen) - logp(pair.rejected), weights)
        rate, ends = 1e-2 / (plus + minus), []
        for moved in (rate, -2 * rate):  # both ways: the second order cancels
            with torch.no_grad():
                for weight, direction in zip(weights, step, strict=True):
                    weight += moved * direction
                ends.append([float(logp(s)) for s in (pair.chosen, pair.rejected)])
        slopes = (np.array(ends[0]) - np.array(ends[1])) / (2 * rate)
        tuned.unload()
        assert slopes[0] == pytest.approx(plus - both, abs=1e-2 * plus)
        assert slopes[1] == pytest.approx(both - minus, abs=1e-2 * minus)


def test_the_model_is_left_as_it_was(tiny, encoded, load, make_tokenizer):
    names = [(n, p.requires_grad, p.detach().clone()) for n, p in tiny.named_parameters()]
    first = gradient_products(load(tiny, make_tokenizer("bpe")), encoded[:2])
    assert first == gradient_products(load(tiny, make_tokenizer("bpe")), encoded[:2])
    after = list(tiny.named_parameters())
    assert [n for n, _, _ in names] == [n for n, _ in after]
    for (_, wanted, value), (_, p) in zip(names, after, strict=True):
        assert p.requires_grad == wanted
        assert torch.equal(p, value)


def test_equal_sides_are_fully_entangled(tiny, encoded, load, make_tokenizer):
    same = [type(p)(p.id, p.chosen, p.chosen) for p in encoded[:2]]
    columns = np.array(gradient_products(load(tiny, make_tokenizer("bpe")), same)).T
    assert np.allclose(Gradients(*columns).cosine, 1)
    assert not Gradients(*columns).healthy.any()
