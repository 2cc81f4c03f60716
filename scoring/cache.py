"""A key-value cache that has room for the tokens to come, so that a new one is written beside the others.

transformers' own grows by a copy of everything that is in it, in every layer at every token. And contexts are
read some at a time, short ones and long ones apart, and put together in it afterwards (`bench/sample.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def roomy_cache(config: Any, tokens: int) -> DynamicCache:
    """The cache of a model with this text config, with room for `tokens` after the first that are put in.

    Layers that keep a window or a state stay transformers' own.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def can_be_joined(cache: DynamicCache) -> bool:
    """Whether every layer keeps all that is put in, so that `joined_caches` may put caches together."""
    return all(isinstance(layer, RoomyLayer) for layer in cache.layers)


def joined_caches(caches: Sequence[DynamicCache]) -> DynamicCache:
    """The rows of all, in order, padded on the left with zeros to the longest; the first cache has them.

    Several must be such that `can_be_joined`.
    """
    first = caches[0]
    if len(caches) > 1:
        for layers in zip(*(cache.layers for cache in caches), strict=True):
            if not layers[0].get_seq_length():
                continue  # one that reads another layer's
            layers[0].keys = _padded([layer.keys for layer in layers])
            layers[0].values = _padded([layer.values for layer in layers])
    return first


def _padded(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    width = max(part.shape[-2] for part in parts)
    return torch.cat([pad(part, (0, 0, width - part.shape[-2], 0)) for part in parts])


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, length, dim] as views of what has room for `tokens` more.

    More may be put in, at the price of a copy.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self._room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put in what comes after the rest, and give all of it."""
        start = self.get_seq_length()
        if not start:  # a prompt, of which rows are to be taken before the first token is drawn
            super().update(key_states, value_states, *args, **kwargs)
            return self.keys, self.values
        stop = start + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < stop:
            self._room = self._with_room(self.keys, stop), self._with_room(self.values, stop)
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start:stop] = states
        self.keys, self.values = (room[:, :, :stop] for room in self._room)
        return self.keys, self.values

    def _with_room(self, states: torch.Tensor, stop: int) -> torch.Tensor:
        rows, heads, length, size = states.shape
        room = states.new_empty(rows, heads, max(stop, length + self.tokens), size)
        room[:, :, :length] = states
        return room

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order."""
        super().batch_select_indices(indices)
        self._room = None
