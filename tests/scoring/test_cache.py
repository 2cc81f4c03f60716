"""The roomy cache gives what transformers' own gives, without a copy of everything at every token."""

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from probe.scoring import sampling
from probe.scoring.cache import RoomyLayer, joined_caches, roomy_cache
from probe.scoring.sampling import Draw, draw_samples


def states(rows, tokens, start=0):
    made = torch.arange(start, start + rows * 2 * tokens * 4, dtype=torch.float32).view(rows, 2, tokens, 4)
    return made, -made


def both(tokens=5):
    return RoomyLayer(tokens), DynamicLayer()


def put(layers, rows, tokens, start=0):
    found = [layer.update(*states(rows, tokens, start)) for layer in layers]
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1, 1, 0, 2]])
def test_it_holds_what_the_growing_one_holds(rows):
    layers = both()
    put(layers, 3, 7)
    for layer in layers:
        layer.batch_select_indices(torch.tensor(rows))
    for step in range(8):  # more than there is room for
        put(layers, len(rows), 1, 1000 * step)
    for layer in layers:
        layer.batch_select_indices(torch.tensor([1]))
    put(layers, 1, 2, 9000)
    assert layers[0].get_seq_length() == layers[1].get_seq_length() == 17
    assert layers[0].get_mask_sizes(1) == layers[1].get_mask_sizes(1)


def test_a_token_is_written_where_there_is_room():
    layer = RoomyLayer(3)
    layer.update(*states(2, 4))
    layer.batch_select_indices(torch.tensor([0, 1]))
    places = [layer.update(*states(2, 1, step))[0].data_ptr() for step in range(3)]
    assert len(set(places)) == 1
    assert layer.update(*states(2, 1))[0].data_ptr() != places[0]  # the room is used up


def test_only_plain_layers_are_replaced(build):
    config = build("gemma3").config.get_text_config()
    mine, theirs = roomy_cache(config, 4).layers, DynamicCache(config=config).layers
    assert any(layer.is_sliding for layer in theirs) and len(mine) == len(theirs)
    for ours, own in zip(mine, theirs, strict=True):
        assert type(ours) is (RoomyLayer if type(own) is DynamicLayer else type(own))


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2-learned-positions"])
def test_the_same_answers_are_drawn(name, build, load, make_tokenizer, monkeypatch):
    loaded = load(build(name), make_tokenizer("bpe"))
    draws = [Draw(tuple(range(4, 9 + 3 * i)), 1.0, seed) for i in range(5) for seed in range(2)]

    def drawn():
        return list(draw_samples(loaded, draws, tokens=12, batch=6))

    ours = drawn()
    monkeypatch.setattr(sampling, "READ_BATCH", 2)
    assert ours == drawn()
    monkeypatch.setattr(sampling, "roomy_cache", lambda config, tokens: DynamicCache(config=config))
    assert ours == drawn() and any(one.ids for part in ours for one in part.values())


def test_contexts_that_are_read_apart_are_padded_to_the_longest():
    caches = [DynamicCache() for _ in range(2)]
    for cache, tokens in zip(caches, (2, 5), strict=True):
        cache.layers = [RoomyLayer(3), RoomyLayer(3)]
        cache.layers[0].update(*states(2, tokens, 1))
    short = caches[0].layers[0].keys
    layer, unused = joined_caches(caches).layers
    assert unused.get_seq_length() == 0
    assert layer.keys.shape == layer.values.shape == (4, 2, 5, 4)
    assert (layer.keys[:2, :, :3] == 0).all() and torch.equal(layer.keys[:2, :, 3:], short)
    assert layer.get_seq_length() == 5


def test_short_contexts_are_not_padded_to_the_longest(build, load, make_tokenizer, monkeypatch):
    loaded = load(build("llama"), make_tokenizer("bpe"))
    read, real = [], sampling._prompted
    monkeypatch.setattr(sampling, "_prompted", lambda m, some, c: read.append(some) or real(m, some, c))
    draws = [Draw(tuple(range(4, 5 + n)), 1.0, n) for n in range(20) for _ in range(2)]
    assert sum(map(len, draw_samples(loaded, draws, tokens=2, batch=64))) == 40
    assert [len(some) for some in read] == [8, 8, 4]
    assert [max(map(len, some)) for some in read] == [8, 16, 20]
