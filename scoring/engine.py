"""The hot path: per-token log-probs of many sequences in one packed forward.

`token_logps` is the only way in which probes and training compute log-probs, so what was probed is exactly
what is trained on. It is differentiable. `plain_logps` is the reference form, one sequence at a time through
the model's own forward, used by the self-proof and for models whose state cannot be shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from ..errors import ProbeError
from .attention import make_layout, tree_attention_on
from .head import head_of, target_logps
from .positions import side_of, turning_lengths
from .scores import EncodedSide
from .tree import Tree, build_tree, common_prefix

BUDGET = 1024  # distinct tokens a packed row; see docs/performance.md
STRETCH = 4  # how many budgets a row may take rather than compute a shared beginning again

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Packed:
    """The final hidden states [row, hidden] of a packed row, and the tree that says whose they are.

    `layers` holds every layer's states [row, hidden], embeddings first, when they were asked for.
    """

    tree: Tree
    hidden: torch.Tensor
    layers: tuple[torch.Tensor, ...] = ()


def causal_lm(model: torch.nn.Module) -> PreTrainedModel:
    """The transformers model inside a peft wrapper (its adapters stay active), or the model itself."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return cast(PreTrainedModel, inner)


def blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The decoder's blocks in order. Raises `LookupError` for a model that has no such list."""
    inner = causal_lm(model)
    count = inner.config.get_text_config().num_hidden_layers
    for module in inner.base_model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise LookupError(f"{type(inner).__name__} has no list of {count} blocks")


def row_states(states: torch.Tensor) -> torch.Tensor:
    """A layer's states of one row as [tokens, hidden]: of several streams, [1, tokens, streams, hidden]
    (DeepSeek V4) or [streams, 1, tokens, hidden] (Gemma 3n), side by side."""
    if states.dim() == 4 and states.shape[0] > 1:
        states = states.permute(1, 2, 0, 3)
    return states[0].flatten(1)


class _Reached(Exception):
    """A forward that has come as far as it is wanted."""


def block_outputs(model: PreTrainedModel, row: dict[str, Any], which: Sequence[int]) -> list[torch.Tensor]:
    """The outputs [tokens, hidden] of some blocks for one row of inputs; the forward ends with the highest.

    A model whose layers are spread over devices runs to its end, where its weights are put away. Raises
    `LookupError` as `blocks` does.
    """
    found, seen = blocks(model), {}
    ends = not hasattr(model, "hf_device_map")

    def keep(k: int, _module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        seen[k] = row_states(output if isinstance(output, torch.Tensor) else output[0])
        if ends and k == max(which):
            raise _Reached

    hooks = [found[k].register_forward_hook(partial(keep, k)) for k in which]
    try:
        with suppress(_Reached):
            model.base_model(**row)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[k] for k in which]


def check_ids(model: PreTrainedModel, largest: int) -> None:
    """Raises `ProbeError` for a token id that the model has no embedding of."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    if largest >= rows:
        raise ProbeError(
            f"the tokenizer gives token id {largest}, and the model has {rows} ids: it was made for another "
            "model, or tokens were added without resizing the embedding. Use the model's own tokenizer."
        )


def forward(model: PreTrainedModel, sides: Sequence[EncodedSide], *, every_layer: bool = False) -> Packed:
    """Run the decoder once over the prefix tree of `sides`. Tree attention must be on."""
    tree, row = packed_row(model, sides)
    outputs = model.base_model(**row, output_hidden_states=every_layer)
    layers = tuple(row_states(states) for states in outputs.hidden_states) if every_layer else ()
    return Packed(tree, outputs.last_hidden_state[0], layers)


def packed_row(model: PreTrainedModel, sides: Sequence[EncodedSide]) -> tuple[Tree, dict[str, Any]]:
    """The prefix tree of `sides`, and what the decoder takes to run over it."""
    tree = build_tree([side.ids for side in sides])
    check_ids(model, int(tree.ids.max(initial=0)))
    device = model.get_input_embeddings().weight.device
    return tree, {
        "input_ids": torch.from_numpy(tree.ids).to(device)[None],
        "position_ids": torch.from_numpy(tree.depths).to(device)[None],
        "use_cache": False,
        "probe_layout": make_layout(tree, device),
    }


def packed_logps(model: PreTrainedModel, sides: Sequence[EncodedSide]) -> list[torch.Tensor]:
    """Log-probs of the scored tokens of each side, from one packed row. Tree attention must be on.

    One float32 tensor [scored tokens] a side, in nats; the end token is the last when the side has one.
    """
    packed = forward(model, sides)
    sources = np.concatenate(
        [where[s.start - 1 : -1] for s, where in zip(sides, packed.tree.where, strict=True)]
    )
    targets = np.concatenate([np.asarray(s.ids[s.start :], dtype=np.int64) for s in sides])
    positions, rows = np.unique(sources, return_inverse=True)
    order = np.argsort(rows, kind="stable")
    device = packed.hidden.device
    logps = target_logps(
        head_of(model),
        packed.hidden[torch.from_numpy(positions).to(device)],
        torch.from_numpy(rows[order]),
        torch.from_numpy(targets[order]),
        model.get_output_embeddings().weight.shape[0],
    )
    back = torch.from_numpy(np.argsort(order, kind="stable")).to(device)
    return list(torch.split(logps[back], [len(s.ids) - s.start for s in sides]))


def plain_logps(model: PreTrainedModel, side: EncodedSide) -> torch.Tensor:
    """The same numbers the plain way: one sequence, the model's own attention, all its logits."""
    device = model.get_input_embeddings().weight.device
    check_ids(model, max(side.ids))
    ids = torch.tensor([side.ids], device=device)
    logits = model(input_ids=ids, use_cache=False).logits[0, side.start - 1 : -1].float()
    targets = ids[0, side.start :]
    logps: torch.Tensor = logits.gather(-1, targets[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
    return logps


def token_logps(
    model: torch.nn.Module, sides: Sequence[EncodedSide], *, budget: int = BUDGET, plain: bool = False
) -> list[torch.Tensor]:
    """Log-probs (nats, float32) of the scored tokens of each side: one tensor [scored tokens] a side.

    `budget` limits the distinct tokens of one forward; a longer single sequence still goes alone. Gradients
    flow when they are enabled. `plain` computes one sequence at a time instead.
    """
    inner = causal_lm(model)
    if plain:
        return [plain_logps(inner, side) for side in sides]
    result: list[torch.Tensor] = [torch.empty(0)] * len(sides)
    with tree_attention_on(inner):
        for pack in sorted_packs(inner, sides, budget):
            for i, logps in zip(pack, packed_logps(inner, [sides[i] for i in pack]), strict=True):
                result[i] = logps
    return result


def hidden_states(
    model: torch.nn.Module, sides: Sequence[EncodedSide], layers: Sequence[int], *, budget: int = BUDGET
) -> list[torch.Tensor]:
    """Hidden states at the scored tokens of each side: one tensor [layers, scored tokens, hidden] a side.

    Layer 0 is the embedding, layer k the output of block k; negative numbers count from the last. The state
    *at* a token has seen that token (its log-prob came from the state before it). `stacked` says what is done
    with layers of two widths.
    """
    inner = causal_lm(model)
    result: list[torch.Tensor] = [torch.empty(0)] * len(sides)
    with tree_attention_on(inner):
        for pack in sorted_packs(inner, sides, budget):
            packed = forward(inner, [sides[i] for i in pack], every_layer=True)
            chosen = stacked([packed.layers[layer] for layer in layers])
            for i, where in zip(pack, packed.tree.where, strict=True):
                result[i] = chosen[:, torch.from_numpy(where[sides[i].start :]).to(chosen.device)]
    return result


def stacked(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """States [..., hidden] of several layers as one tensor [layers, ..., widest hidden].

    Some models (OPT-350m) project their last states to fewer dimensions: zeros fill these up.
    """
    widest = max(state.shape[-1] for state in states)
    return torch.stack([torch.nn.functional.pad(state, (0, widest - state.shape[-1])) for state in states])


def sorted_packs(model: PreTrainedModel, sides: Sequence[EncodedSide], budget: int) -> Iterator[list[int]]:
    """Indices of `sides`, those with equal beginnings side by side, in packs of `budget` distinct tokens.

    No pack holds sequences on both sides of a length at which the model's positions turn.
    """
    turns = turning_lengths(model)
    order = sorted(range(len(sides)), key=lambda i: sides[i].ids)
    for beyond in range(len(turns) + 1):
        some = [i for i in order if side_of(turns, len(sides[i].ids)) == beyond]
        yield from packs(some, [sides[i].ids for i in some], budget)


def packs(items: Iterable[T], sequences: Iterable[Sequence[int]], budget: int) -> Iterator[list[T]]:
    """Cut items, sorted by their sequences, into packs of at most `budget` distinct tokens each.

    Where a cut would have an eighth of the budget or more computed again (a long prompt before its second
    answer, few-shot text before every question), the pack goes on, up to `STRETCH` budgets.
    """
    pack: list[T] = []
    tokens, last = 0, np.empty(0, np.int64)
    for item, sequence in zip(items, sequences, strict=True):
        ids = np.asarray(sequence, dtype=np.int64)
        shared = common_prefix(last, ids) if pack else 0
        fresh = len(ids) - shared
        if pack and tokens + fresh > (STRETCH * budget if shared >= budget / 8 else budget):
            yield pack
            pack, tokens, fresh = [], 0, len(ids)
        pack.append(item)
        tokens, last = tokens + fresh, ids
    if pack:
        yield pack
