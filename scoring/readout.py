"""What a frozen model makes of a response: its hidden states, and how it stands to the model's own choices.

One packed forward gives everything the probes on negatives read: states for the linear probes, sums of final
states for CHES, and log-prob, entropy and argmax agreement of every response token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from ..errors import CannotMeasure
from .attention import tree_attention_on
from .engine import (
    BUDGET,
    block_outputs,
    causal_lm,
    check_ids,
    forward,
    packed_row,
    row_states,
    sorted_packs,
    stacked,
)  # fmt: skip
from .head import head_of
from .scores import EncodedSide, LogProbs

CHUNK_TOKENS = 64  # tokens whose logits are held at a time
NOT_FINITE = "not finite. Try --dtype float32; if that fails too, its weights are damaged."


@dataclass(frozen=True, slots=True)
class Readout:
    """One response as the model sees it.

    `pooled` [layers · 2, hidden]: the mean over the response's tokens and the state at its last one, layer by
    layer (`stacked` where they have two widths). `summed` [hidden]: Σ of the final states from which each
    scored token is predicted, the end token among them. `logps`, `entropies` (nats) and `top` (the token is
    the model's first choice) are [scored tokens], those that close the response last: `ends` of them.
    """

    pooled: LogProbs
    summed: LogProbs
    logps: LogProbs
    entropies: LogProbs
    top: npt.NDArray[np.bool_]
    ends: int

    @property
    def mean_logps(self) -> float:
        """Nats per token without the end token, as in `SideScore`; of the end token where it stands alone."""
        body = self.logps[: len(self.logps) - self.ends] if len(self.logps) > self.ends else self.logps
        return float(body.mean(dtype=np.float64))

    @property
    def excess(self) -> float:
        """Mean of log-prob plus entropy, nats/token: 0 in expectation for text sampled from the model.

        Each token of such text has E[log p] = −entropy given what stands before it: the sum is a martingale.
        """
        return float((self.logps + self.entropies).mean(dtype=np.float64))


def depths(model: torch.nn.Module) -> tuple[int, ...]:
    """The layers that are read: a quarter, half, three quarters of the way up, and the last."""
    blocks = int(causal_lm(model).config.get_text_config().num_hidden_layers)
    return tuple(sorted({max(1, round(blocks * share)) for share in (0.25, 0.5, 0.75, 1.0)}))


@torch.no_grad()
def read_out(
    model: torch.nn.Module,
    sides: Sequence[EncodedSide],
    layers: Sequence[int],
    *,
    budget: int = BUDGET,
    plain: bool = False,
) -> Iterator[tuple[int, Readout]]:
    """Yields (index of the side, its readout), in the order of packing.

    `layers` as in `hidden_states`; `plain` runs one sequence at a time and takes the model's own logits, for
    which `head_of` may lack a multiplier or a cap. Raises `CannotMeasure` where the model gives no finite
    number.
    """
    inner = causal_lm(model)
    if plain:
        for i, side in enumerate(sides):
            final, every, logits = _alone(inner, side)
            yield i, _read(_given, logits, final, every, layers, np.arange(len(side.ids)), side)
        return
    head = head_of(inner)
    for pack in sorted_packs(inner, sides, budget):
        with tree_attention_on(inner):
            packed = forward(inner, [sides[i] for i in pack], every_layer=True)
        for i, where in zip(pack, packed.tree.where, strict=True):
            yield i, _read(head, packed.hidden, packed.hidden, packed.layers, layers, where, sides[i])


@torch.no_grad()
def pooled_states(
    model: torch.nn.Module, sides: Sequence[EncodedSide], layer: int, *, budget: int = BUDGET,
    plain: bool = False,
) -> Iterator[tuple[int, LogProbs]]:  # fmt: skip
    """Yields (index of the side, mean state [hidden] of `layer` over its response), in the order of packing.

    The first of `Readout.pooled`, without what is not needed for it: the blocks above the layer and the head.
    """
    inner = causal_lm(model)
    packs = ([i] for i in range(len(sides))) if plain else sorted_packs(inner, sides, budget)
    for pack in packs:
        some = [sides[i] for i in pack]
        if plain:
            ids = torch.tensor([some[0].ids], device=inner.get_input_embeddings().weight.device)
            places = [np.arange(len(some[0].ids))]
            states = _states_at(inner, {"input_ids": ids, "use_cache": False}, layer)
        else:
            tree, row = packed_row(inner, some)
            places = list(tree.where)
            with tree_attention_on(inner):
                states = _states_at(inner, row, layer)
        ats = [torch.from_numpy(p[s.start :]).to(states.device) for p, s in zip(places, some, strict=True)]
        made = _arrays([states[at].float().mean(0) for at in ats])
        if not all(np.isfinite(one).all() for one in made):
            raise CannotMeasure(f"The model gives states that are {NOT_FINITE}")
        yield from zip(pack, made, strict=True)


def _states_at(model: PreTrainedModel, row: dict[str, Any], layer: int) -> torch.Tensor:
    """States [tokens, hidden] of a layer: of the last one after its norm, or where the blocks are not known,
    by a whole forward."""
    if layer < model.config.get_text_config().num_hidden_layers:
        with suppress(LookupError):
            return block_outputs(model, row, [layer - 1])[0]
    return row_states(model.base_model(**row, output_hidden_states=True).hidden_states[layer])


def _alone(
    model: PreTrainedModel, side: EncodedSide
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor]:
    """Final states [tokens, hidden], every layer's and the logits [tokens, vocabulary], by the model's own
    forward; the final states are those that the head is given."""
    device = model.get_input_embeddings().weight.device
    check_ids(model, max(side.ids))
    met: list[torch.Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, given: met.append(given[0]))
    try:
        outputs: Any = model(
            input_ids=torch.tensor([side.ids], device=device), use_cache=False, output_hidden_states=True
        )
    finally:
        hook.remove()
    every = tuple(row_states(states) for states in outputs.hidden_states)
    whole = len(met) == 1 and met[0].shape[:2] == outputs.logits.shape[:2]
    return met[0][0] if whole else every[-1], every, outputs.logits[0]


def _given(logits: torch.Tensor) -> torch.Tensor:
    """The head of what are logits already."""
    return logits


def _read(
    head: Callable[[torch.Tensor], torch.Tensor],
    headed: torch.Tensor,
    final: torch.Tensor,
    every: Sequence[torch.Tensor],
    layers: Sequence[int],
    where: npt.NDArray[np.int64],
    side: EncodedSide,
) -> Readout:
    """`headed` [tokens, …]: what `head` makes logits of; `final`: the states that are summed."""
    at = torch.from_numpy(where[side.start :]).to(final.device)
    before = torch.from_numpy(where[side.start - 1 : -1]).to(final.device)
    last = int(where[-1])  # of the host: a number of the device would be waited for
    if max(layers, default=0) >= len(every):
        raise CannotMeasure(
            f"the model gives {len(every):,} states of its layers, and layer {max(layers)} is wanted. "
            "Leave states out (--no-states; in a gate --no-negatives)."
        )
    pooled = [pool for k in layers for pool in (every[k][at].float().mean(0), every[k][last].float())]
    predicting = headed[before.to(headed.device)]
    targets = torch.tensor(side.ids[side.start :], device=headed.device)
    parts = [stacked(pooled), final[before].float().sum(0), *_tokens(head, predicting, targets)]
    made, summed, logps, entropies, top = _arrays(parts)
    if not np.isfinite(logps).all():
        raise CannotMeasure(f"The model gives log-probs that are {NOT_FINITE}")
    return Readout(made, summed, logps, entropies, top > 0, side.ends)


def _tokens(
    head: Callable[[torch.Tensor], torch.Tensor], sources: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probs, entropies and argmax agreement [tokens] from the states that predict the tokens."""
    logps, entropies, top = [], [], []
    for some, aims in zip(
        torch.split(sources, CHUNK_TOKENS), torch.split(targets, CHUNK_TOKENS), strict=True
    ):
        logits = head(some).float()
        shifted = logits - torch.logsumexp(logits, dim=-1, keepdim=True)  # log_softmax is less exact here
        logps.append(shifted.gather(-1, aims[:, None])[:, 0])
        entropies.append(-(shifted.exp() * shifted).nan_to_num().sum(-1))  # 0 · log 0 is 0
        top.append(shifted.argmax(-1) == aims)
    return torch.cat(logps), torch.cat(entropies), torch.cat(top)


def _arrays(parts: Sequence[torch.Tensor]) -> list[LogProbs]:
    """Tensors of any shape as float32 arrays, by one transfer from the device for all."""
    together = torch.cat([part.float().flatten() for part in parts]).cpu().numpy()
    flat = np.split(together, np.cumsum([part.numel() for part in parts[:-1]]))
    return [values.reshape(tuple(part.shape)) for values, part in zip(flat, parts, strict=True)]
