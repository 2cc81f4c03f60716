"""Adapted layers in one step of autograd give what peft's own forward gives."""

from __future__ import annotations

import copy

import pytest
import torch

from probe.scoring.adapter import with_lora
from probe.training import adapted


class Net(torch.nn.Module):
    """Two linear layers, one with a bias; the shape that peft wraps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(24, 40), torch.nn.Linear(40, 16, bias=False)
        self.config = {"model_type": "custom"}

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(adapted, "LEAST_WEIGHTS", 1)
    torch.manual_seed(0)
    made = with_lora_of(Net())
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return made


def with_lora_of(module, **changes):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        module, LoraConfig(r=4, lora_alpha=8, target_modules=["first", "second"], **changes)
    )


def gradients(model, x):
    model.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    out = model(x)
    (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("shape", [(1, 7, 24), (5, 24)])
def test_values_and_gradients_are_those_of_peft(net, shape):
    x = torch.randn(shape)
    usual = gradients(net, x)
    with adapted.adapted_products(net) as layers:
        assert layers == 2
        found = gradients(net, x)
        with torch.no_grad():
            assert torch.allclose(net(x), usual[0], atol=1e-6)
    for one, other in zip(found, usual, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


def test_bfloat16_products_are_near_and_the_adapter_is_not_rounded(net):
    x = torch.randn(1, 7, 24)
    usual = gradients(net, x)
    with adapted.adapted_products(net, half=True):
        found = gradients(net, x)
        with torch.no_grad():
            assert torch.equal(net(x), found[0])
    for one, other in zip(found, usual, strict=True):
        assert one.dtype == torch.float32 and not torch.equal(one, other)
        assert torch.allclose(one, other, rtol=0.05, atol=0.05 * float(other.abs().max()))
    small = copy.deepcopy(net)
    for name, weight in small.named_parameters():
        if "lora_B" in name:
            weight.data *= 1e-5
    with adapted.adapted_products(small, half=True), torch.no_grad():
        moved = small(x)
        with small.disable_adapter():
            start = small(x)
    with torch.no_grad(), adapted.adapted_products(small):
        exactly = small(x)
        with small.disable_adapter():
            exact_start = small(x)
    assert torch.equal(start, exact_start)  # without the adapter, peft's own products
    assert not torch.equal(moved, exactly)


def test_a_small_adapter_keeps_its_effect_beside_a_large_output(monkeypatch):
    monkeypatch.setattr(adapted, "LEAST_WEIGHTS", 1)
    torch.manual_seed(1)
    layer = with_lora_of(Net()).base_model.model.first
    layer.lora_B["default"].weight.data.fill_(1e-5)
    with adapted.adapted_products(layer, half=True), torch.no_grad():
        x = torch.randn(3, 24)
        whole = layer(x)
        layer.lora_B["default"].weight.data.zero_()
        effect = whole - layer(x)
    expected = 2.0 * (x @ layer.lora_A["default"].weight.t()).sum(-1, keepdim=True) * 1e-5
    assert torch.allclose(effect, expected.expand_as(effect), rtol=0.1, atol=5e-7)


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"lora_dropout": 0.5}, {"lora_bias": True}])
def test_what_is_not_plain_is_left_to_peft(monkeypatch, changes):
    monkeypatch.setattr(adapted, "LEAST_WEIGHTS", 1)
    with adapted.adapted_products(with_lora_of(Net(), **changes)) as layers:
        assert layers == 0


def test_trained_or_other_weights_are_left_alone(net):
    net.base_model.model.first.base_layer.weight.requires_grad_(True)
    net.base_model.model.second.base_layer.weight.data = torch.zeros(16, 40, dtype=torch.bfloat16)
    with adapted.adapted_products(net) as layers:
        assert layers == 0


def test_layers_have_their_own_forward_again(net):
    layers = [m for m in net.modules() if hasattr(m, "lora_A")]
    with pytest.raises(RuntimeError, match="stop"), adapted.adapted_products(net, half=True):
        assert all("forward" in layer.__dict__ for layer in layers)
        with adapted.adapted_products(net) as again:
            assert again == 0  # what is taken already is not taken twice
        raise RuntimeError("stop")
    assert not any("forward" in layer.__dict__ for layer in layers)


def test_a_merged_adapter_and_autocast_take_the_usual_way(net):
    x = torch.randn(1, 7, 24)
    with torch.no_grad(), adapted.adapted_products(net):
        expected = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert net(x).dtype == torch.bfloat16
        net.merge_adapter()
        assert torch.allclose(net(x), expected, atol=1e-5)


def test_the_models_of_scoring_are_taken(monkeypatch, llama):
    wrapped = with_lora(llama(), 4)
    monkeypatch.setattr(adapted, "LEAST_WEIGHTS", 1)
    linear = [m for m in wrapped.modules() if hasattr(m, "lora_A")]
    with adapted.adapted_products(wrapped) as layers:
        assert layers == len(linear) > 0
