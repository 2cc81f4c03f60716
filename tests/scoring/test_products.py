"""The faster matrix products: as exact as the model's own, used where they gain, and gone afterwards."""

import numpy as np
import pytest
import torch

from probe.scoring import products
from probe.scoring.attention import tree_attention_on
from probe.scoring.engine import token_logps
from probe.scoring.scores import EncodedSide

needs_operator = pytest.mark.skipif(not products.available(), reason="this torch has no such operator here")


@pytest.fixture
def everywhere(monkeypatch):
    """Take the faster product in layers of any size, and count them."""
    monkeypatch.setattr(products, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(products, "LEAST_ROWS", 1)
    taken = []
    operator = products._product
    monkeypatch.setattr(products, "_product", lambda layer, x: taken.append(layer) or operator(layer, x))
    return taken


@needs_operator
@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1, 17), (300,), (2, 40)])
def test_the_product_is_that_of_float64(everywhere, bias, rows):
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 200, bias=bias)
    whole = torch.randn(*rows, 192)
    for x in (whole[..., :96].contiguous(), whole[..., ::2]):  # the second is not contiguous
        truth = torch.nn.functional.linear(
            x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double()
        )
        with products.fast_products(layer):
            got = layer(x)
        assert got.shape == truth.shape and got.dtype == torch.float32
        assert (got - truth).abs().max() < 1e-5
    assert everywhere == [layer, layer]


@needs_operator
@torch.no_grad()
def test_every_architecture_is_as_exact_with_it(packable, reference, everywhere):
    rng = np.random.default_rng(5)
    prompt = rng.integers(4, 400, 30).tolist()
    sides = [EncodedSide((*prompt, *rng.integers(4, 400, n).tolist()), 30, 1) for n in (2, 25, 60)]
    packed = token_logps(packable, sides)
    assert packable.get_output_embeddings() in everywhere
    for side, logps in zip(sides, packed, strict=True):
        truth = reference(packable, side)
        assert abs(logps.numpy().mean() - truth.mean()) < 1e-4
        assert np.abs(logps.numpy() - truth).max() < 1e-3


@needs_operator
def test_where_a_gradient_is_wanted_the_layers_are_their_own(tiny, everywhere):
    side = EncodedSide(tuple(range(4, 40)), 10, 1)
    (logps,) = token_logps(tiny, [side])
    logps.sum().backward()
    assert all(p.grad is not None for p in tiny.parameters())


@needs_operator
def test_it_is_gone_after_the_block_even_after_an_error(tiny, everywhere):
    layers = [m for m in tiny.modules() if isinstance(m, torch.nn.Linear)]
    with pytest.raises(KeyError), tree_attention_on(tiny):
        assert all("forward" in layer.__dict__ for layer in layers)
        raise KeyError
    assert not any("forward" in layer.__dict__ for layer in layers)


def test_layers_that_are_more_than_linear_are_left_alone(everywhere):
    class Quantized(torch.nn.Linear):
        pass

    hooked = torch.nn.Linear(8, 8)
    hooked.forward = hooked.forward  # as accelerate's hooks do
    left = [Quantized(8, 8), hooked, torch.nn.Linear(8, 8).double(), torch.nn.Conv1d(8, 8, 1)]
    before = [dict(layer.__dict__) for layer in left]
    with products.fast_products(torch.nn.ModuleList(left)):
        assert [layer.__dict__ for layer in left] == before
    assert hooked.__dict__ == before[1]


def test_small_layers_and_few_rows_are_not_worth_a_call(monkeypatch):
    small, large = torch.nn.Linear(8, 8), torch.nn.Linear(256, 256)
    monkeypatch.setattr(products, "available", lambda: True)
    with products.fast_products(torch.nn.ModuleList([small, large])):
        assert "forward" not in small.__dict__ and "forward" in large.__dict__
        x = torch.randn(products.LEAST_ROWS - 1, 256)
        with torch.no_grad():
            assert torch.equal(large(x), torch.nn.functional.linear(x, large.weight, large.bias))


def test_without_the_operator_nothing_changes(monkeypatch, everywhere):
    monkeypatch.setattr(products.platform, "machine", lambda: "arm64")
    layer = torch.nn.Linear(8, 8)
    with products.fast_products(layer):
        assert "forward" not in layer.__dict__


@pytest.mark.parametrize(
    ("machine", "known", "has"),
    [("x86_64", {"amx_bf16": True}, True), ("AMD64", {"avx512_bf16": True}, True), ("x86_64", {}, False),
     ("arm64", {"amx_bf16": True}, False)],
)  # fmt: skip
def test_processors(monkeypatch, machine, known, has):
    monkeypatch.setattr(products.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert products.has_bfloat16_units() is has
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert products.has_bfloat16_units() is False
