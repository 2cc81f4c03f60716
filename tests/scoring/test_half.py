"""A copy of a model in bfloat16: the model that its files would be in that dtype, and no sign is rounding."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from probe.scoring import service
from probe.scoring.encode import make_encoder
from probe.scoring.half import HalfScorer, can_be_halved, halved
from probe.scoring.service import Scorer
from probe.scoring.store import Store, model_key


@pytest.fixture
def scorers(tiny, make_tokenizer, load, pairs):
    """The exact scorer, and by how many nats/token counts as near, that of its copy."""

    def make(near, store=None):
        loaded = load(tiny, make_tokenizer("bpe"))
        encoder = make_encoder(loaded.tokenizer, pairs)
        exact = Scorer(loaded, encoder)
        return exact, HalfScorer(halved(loaded), encoder, store, exact=exact, near=near)

    return make


def gaps(scores):
    return np.array([score.gap for score in scores])


def test_the_copy_is_the_model_that_is_cast(scorers, tiny, pairs):
    before = copy.deepcopy(tiny.state_dict())
    exact, half = scorers(0.0)
    mine = half.loaded.model
    assert {p.dtype for p in mine.parameters()} == {torch.bfloat16} and half.loaded.dtype == torch.bfloat16
    assert half.loaded.facts["dtype"] == "bfloat16" and exact.loaded.facts.get("dtype") != "bfloat16"
    assert all(b.dtype != torch.bfloat16 for b in mine.buffers())
    cast = copy.deepcopy(tiny).bfloat16()
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), cast.parameters(), strict=True))
    found = list(half.scores(pairs))
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())
    assert all(p.dtype == torch.float32 for p in tiny.parameters())
    apart = np.abs(gaps(found) - gaps(exact.scores(pairs)))
    assert 0 < apart.max() < 0.05


def test_tied_weights_stay_tied(load, make_tokenizer, tiny):
    mine = halved(load(tiny, make_tokenizer("bpe"))).model
    tied = tiny.get_input_embeddings().weight is tiny.get_output_embeddings().weight
    assert (mine.get_input_embeddings().weight is mine.get_output_embeddings().weight) is tied
    assert len(list(mine.parameters())) == len(list(tiny.parameters()))


def test_a_gap_near_zero_is_the_exact_one(scorers, pairs):
    exact, _ = scorers(0.0)
    true = gaps(exact.scores(pairs))
    near = float(np.median(np.abs(true)))
    _, half = scorers(near)
    rough = gaps(scorers(0.0)[1].scores(pairs))
    found = gaps(half.scores(pairs))
    close = np.abs(rough) <= near
    assert 0 < close.sum() < len(pairs)
    np.testing.assert_allclose(found[close], true[close], atol=1e-6)
    assert (found[~close] == rough[~close]).all() and (rough[~close] != true[~close]).any()
    assert half.new == 2 * (len(pairs) + close.sum())  # sides, those scored twice among them


def test_the_copy_runs_as_the_exact_model_was_proven(scorers, pairs, monkeypatch):
    """Not proven anew: in bfloat16 packed and plain differ by rounding, which is measured on pairs."""
    proven, real = [], service.prove
    monkeypatch.setattr(
        service, "prove", lambda model, dtype, n: proven.append(dtype) or real(model, dtype, n)
    )
    exact, half = scorers(0.01)
    list(half.scores(pairs))
    assert half.proof is exact.proof and half.floor() == exact.floor() < 1e-4
    assert proven == [torch.float32]


def test_scores_of_the_copy_have_a_key_of_their_own(scorers, pairs, tmp_path):
    exact, half = scorers(0.0)
    assert model_key(half.loaded.facts) != model_key({**half.loaded.facts, "dtype": "float32"})
    half.store = Store(tmp_path / "scores.sqlite", model_key(half.loaded.facts))
    exact.store = Store(tmp_path / "scores.sqlite", model_key({**half.loaded.facts, "dtype": "float32"}))
    first, true = gaps(half.scores(pairs)), gaps(exact.scores(pairs))
    assert exact.cached == 0 and (gaps(half.scores(pairs)) == first).all() and (true != first).any()


@pytest.mark.parametrize(("dtype", "may"), [(torch.float32, True), (torch.bfloat16, False)])
def test_only_plain_float32_weights_are_halved(tiny, make_tokenizer, load, dtype, may):
    loaded = load(copy.deepcopy(tiny), make_tokenizer("bpe"), dtype)
    assert can_be_halved(loaded) is may
    loaded.model.hf_device_map = {"": "cpu"}
    assert not can_be_halved(loaded)


def test_a_model_without_weights_is_not_halved(tiny, make_tokenizer, load):
    loaded = replace(load(tiny, make_tokenizer("bpe")), model=torch.nn.Module())
    assert not can_be_halved(loaded)  # it stands for a server's
