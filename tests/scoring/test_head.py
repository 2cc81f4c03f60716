"""The LM head in training: the gradient made on the way forward against autograd's own."""

from __future__ import annotations

import pytest
import torch

from probe.scoring.head import _chunk_logps, target_logps

WIDE = 1 << 24  # a vocabulary so large that a chunk has 16 rows
ROWS, TARGETS = torch.tensor([0, 0, 1, 3, 4, 4, 6]), torch.tensor([3, 1, 4, 1, 5, 9, 2])


@pytest.fixture
def hidden():
    torch.manual_seed(0)
    return torch.randn(20, 16, requires_grad=True)


def head_with(cap, factor):
    torch.manual_seed(1)
    layer = torch.nn.Linear(16, 50).requires_grad_(False)

    def head(states):
        logits = layer(states) * factor
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return layer, head


def gradients(logps, *wanted):
    weights = torch.linspace(-1, 2, len(logps))
    return torch.autograd.grad((logps * weights).sum(), wanted)


@pytest.mark.parametrize(("cap", "factor"), [(None, 1.0), (None, 2.0), (5.0, 1.0), (3.0, 0.5)])
def test_under_a_frozen_head_the_states_get_autograds_gradient(hidden, cap, factor):
    rows = torch.cat([ROWS, torch.tensor([15, 16, 19])])  # over the edge of a chunk, one position twice
    targets = torch.cat([TARGETS, torch.tensor([6, 5, 3])])
    _, head = head_with(cap, factor)
    found, plain = target_logps(head, hidden, rows, targets, WIDE), _chunk_logps(head, hidden, rows, targets)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(gradients(found, hidden), gradients(plain, hidden))


def test_a_head_that_is_trained_gets_its_own_gradient(hidden):
    layer, head = head_with(None, 1.0)
    layer.requires_grad_(True)
    found, plain = target_logps(head, hidden, ROWS, TARGETS, WIDE), _chunk_logps(head, hidden, ROWS, TARGETS)
    wanted = (hidden, layer.weight, layer.bias)
    torch.testing.assert_close(gradients(found, *wanted), gradients(plain, *wanted))


def test_a_frozen_head_computes_its_products_once(hidden):
    """Logits and their gradient: once each, and nothing again on the way back."""
    _, inner = head_with(None, 1.0)
    calls = []
    logps = target_logps(
        lambda states: calls.append(len(states)) or inner(states), hidden, ROWS, TARGETS, WIDE
    )
    gradients(logps, hidden)
    assert [n for n in calls if n] == [len(ROWS)]


@pytest.mark.parametrize("launched", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_sharded_weights_are_left_to_autograd(hidden, monkeypatch, launched):
    _, head = head_with(None, 1.0)
    monkeypatch.setenv(launched, "true")
    plain = _chunk_logps(head, hidden, ROWS, TARGETS)
    found = target_logps(head, hidden, ROWS, TARGETS, WIDE)
    assert "FrozenHead" not in type(found.grad_fn.next_functions[0][0]).__name__
    torch.testing.assert_close(gradients(found, hidden), gradients(plain, hidden))
