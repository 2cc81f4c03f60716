"""Attention inside a packed prefix tree, exact and without work on masked pairs of tokens.

Registered with transformers as the implementation `probe_tree`. The row of a `Tree` is cut into blocks: a
node, or several small ones that hang from the same place, attending to the concatenated keys of their
ancestors and their own. What a mask would throw away is so never computed, apart from the few tokens inside
a small block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from .products import fast_products
from .tree import Node, Tree, ancestors

ATTENTION_NAME = "probe_tree"
UNSUPPORTED = ("position_bias", "s_aux", "cache", "block_indices")  # arguments of other attention
DENSE_TOKENS = 160  # nodes are put together up to this many tokens: cheaper than more, smaller kernels


@dataclass(frozen=True, slots=True)
class Block:
    """Queries are row positions [start, stop); `keys` are the row positions they may look at, in order."""

    start: int
    stop: int
    keys: tuple[slice, ...]
    allowed: torch.Tensor | None  # [queries, keys] bool; None: plain causal
    distance: torch.Tensor  # [queries, keys] how far back a key is


@dataclass(frozen=True, slots=True)
class Layout:
    """How attention runs over one packed row. `masks` memoises them by block, sliding window and device."""

    blocks: tuple[Block, ...]
    longest: int
    masks: dict[tuple[int, int | None, torch.device], torch.Tensor | None] = field(default_factory=dict)


class LayoutMissing(RuntimeError):
    """The model's code does not pass keyword arguments down to attention; the plain path must be taken."""


def make_layout(tree: Tree, device: torch.device) -> Layout:
    """Cut a packed row into attention blocks on `device`."""
    blocks = tuple(_block(tree, members, device) for members in _units(tree.nodes))
    return Layout(blocks, int(tree.depths.max(initial=0)) + 1)


def _units(nodes: Sequence[Node]) -> Iterator[range]:
    """Neighbouring nodes that share what lies above them, put together while they fit in one dense block.

    So many short answers to one long prompt are one kernel, and so are whole small trees.
    """
    first = 0
    for index in range(1, len(nodes) + 1):
        full = index == len(nodes) or nodes[index].stop - nodes[first].start > DENSE_TOKENS
        if full or _above(nodes, index, first) != nodes[first].parent:
            yield range(first, index)
            first = index


def _above(nodes: Sequence[Node], index: int, first: int) -> int:
    """The lowest ancestor of node `index` that lies before node `first`; -1 when there is none."""
    while index >= first:
        index = nodes[index].parent
    return index


def _block(tree: Tree, members: range, device: torch.device) -> Block:
    """What the queries of `members` may see: the nodes above the first, which are above all, and its own."""
    nodes = tree.nodes
    start, stop = nodes[members[0]].start, nodes[members[-1]].stop
    above = [slice(nodes[a].start, nodes[a].stop) for a in ancestors(nodes, members[0])]
    offset = nodes[members[0]].depth  # keys above
    seen = np.concatenate([np.arange(offset), tree.depths[start:stop]])
    distance = torch.from_numpy(tree.depths[start:stop, None] - seen[None]).to(device)
    keys = tuple(_joined([*above, slice(start, stop)]))
    if len(members) == 1:
        return Block(start, stop, keys, None if not above else distance >= 0, distance)
    allowed = np.zeros((stop - start, offset + stop - start), dtype=bool)
    allowed[:, :offset] = True
    for index in members:
        node = nodes[index]
        rows = slice(node.start - start, node.stop - start)
        for inside in (a for a in ancestors(nodes, index) if a >= members[0]):
            allowed[rows, offset + nodes[inside].start - start : offset + nodes[inside].stop - start] = True
        allowed[rows, offset + rows.start : offset + rows.stop] = np.tri(node.stop - node.start, dtype=bool)
    return Block(start, stop, keys, torch.from_numpy(allowed).to(device), distance)


def _joined(parts: Sequence[slice]) -> Iterator[slice]:
    """The same row positions in fewer slices: neighbours need no copy to stand side by side."""
    whole = parts[0]
    for part in parts[1:]:
        if part.start == whole.stop:
            whole = slice(whole.start, part.stop)
        else:
            yield whole
            whole = part
    yield whole


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    probe_layout: Layout | None = None,
    **unknown: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one packed row, in the form transformers calls.

    `query` [1, heads, row, dim]; `key`, `value` [1, key heads, row, dim]; gives [1, row, heads, dim].
    Raises `LayoutMissing` when the model did not hand `probe_layout` down or asks for what is unknown here.
    """
    if probe_layout is None:
        raise LayoutMissing(type(module).__name__)
    if unsupported := [k for k in UNSUPPORTED if unknown.get(k) is not None]:
        raise LayoutMissing(f"{type(module).__name__}: {', '.join(unsupported)}")
    if attention_mask is not None:  # none is made for this attention: the model has chosen its keys itself
        raise LayoutMissing(f"{type(module).__name__}: a mask of its own")
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    window = sliding_window if sliding_window and sliding_window < probe_layout.longest else None
    places = [block.keys for block in probe_layout.blocks]
    own = [(slice(block.start, block.stop),) for block in probe_layout.blocks]
    parts = zip(_cut(query, own), _cut(key, places), _cut(value, places), strict=True)
    outputs = []
    for number, (q, k, v) in enumerate(parts):
        mask = _mask(probe_layout, number, window, q.device)
        if softcap is None:
            causal = mask is None
            out = scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal, scale=scaling)
        else:
            out = _softcapped(q, k, v, mask, scaling, softcap)
        outputs.append(out)
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _cut(x: torch.Tensor, places: Sequence[Sequence[slice]]) -> Sequence[torch.Tensor]:
    """Of x [1, heads, row, dim] what each block takes, [1, heads, its positions, dim]."""
    if torch.is_grad_enabled() and x.requires_grad:
        parts: Sequence[torch.Tensor] = _Cut.apply(x, places)  # type: ignore[no-untyped-call]
        return parts
    return [_gather(x, parts) for parts in places]


def _gather(x: torch.Tensor, places: Sequence[slice]) -> torch.Tensor:
    parts = [x[:, :, part] for part in places]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


class _Cut(torch.autograd.Function):
    """`_gather` of every block, with one gradient of the whole row.

    Autograd's own makes a row of zeros for each slice, and adds them all.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, places: Sequence[Sequence[slice]]) -> tuple[torch.Tensor, ...]:
        ctx.shape, ctx.places = x.shape, places
        return tuple(_gather(x, parts) for parts in places)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        whole = gradients[0].new_zeros(ctx.shape)
        # From the last block to the first, as autograd adds them: the same sums to the last bit.
        for gradient, parts in reversed(list(zip(gradients, ctx.places, strict=True))):
            start = 0
            for part in parts:
                size = part.stop - part.start
                whole[:, :, part] += gradient[:, :, start : start + size]
                start += size
        return whole, None


def _mask(layout: Layout, number: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """What block `number` may see in a layer with this window; on its device, since layers may be spread."""
    key = (number, window, device)
    if key not in layout.masks:
        allowed = _allowed(layout.blocks[number], window)
        layout.masks[key] = None if allowed is None else allowed.to(device)
    return layout.masks[key]


def _allowed(block: Block, window: int | None) -> torch.Tensor | None:
    if window is None:
        return block.allowed
    causal = block.distance >= 0 if block.allowed is None else block.allowed
    return (block.distance < window) & causal


def _softcapped(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float,
) -> torch.Tensor:
    """Attention whose scores pass through softcap · tanh(score / softcap), as Gemma 2 has it."""
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


AttentionInterface.register(ATTENTION_NAME, tree_attention)


@contextmanager
def tree_attention_on(model: PreTrainedModel) -> Iterator[None]:
    """Run the model with tree attention inside the block, with its own implementation again after it.

    The products of its linear layers are the faster ones there, too. Raises `LayoutMissing` for models that
    do not take their attention from transformers' interface.
    """
    configs = {id(m.config): m.config for m in model.modules() if isinstance(m, PreTrainedModel)}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        # Warns and does nothing where the model's code has its own attention, which may be one part of it.
        model.set_attn_implementation(ATTENTION_NAME)
        if model.config.get_text_config()._attn_implementation != ATTENTION_NAME:
            raise LayoutMissing(type(model).__name__)
        with fast_products(model):
            yield
    finally:
        for config, name in before:  # the whole before its parts, which follow it
            config._attn_implementation = name
