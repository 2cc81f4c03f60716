"""Answers drawn from a model in batches with a key-value cache, each from random numbers of its own.

A row's tokens are found by inverting the cumulative distribution at uniform numbers that come from the row's
seed alone. So what is drawn does not depend on which rows share its batch, but for float noise in the logits,
which moves a token only where a number falls within that noise of a boundary.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList

from ..errors import CannotMeasure
from .cache import can_be_joined, joined_caches, roomy_cache
from .ending import turn_marks
from .engine import causal_lm
from .model import LoadedModel
from .positions import room, side_of, turning_lengths
from .service import out_of_memory

SAMPLE_BATCH = 32
READ_BATCH = 8  # contexts read at once: more are padded to longer ones, fewer are smaller products
COMPACT = 0.875  # rows that are done leave the cache when so few of its rows still run
BLOCK = 512  # weights whose sum is made at once
BELOW_ONE = 1 - 2.0**-23  # the largest float32 below 1 by which every float32 is made smaller
NUCLEUS = 1024  # likeliest tokens that are sorted first; all are where they do not hold top_p


@dataclass(frozen=True, slots=True)
class Draw:
    """One answer to be drawn: token ids to go on from (not empty), a temperature (0 is greedy), a seed."""

    context: tuple[int, ...]
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SampledIds:
    """The ids drawn, without the end token; `ended`: the model ended it itself within the limit, which is the
    number of tokens asked for or what the model's positions leave."""

    ids: tuple[int, ...]
    ended: bool


def draw_samples(
    loaded: LoadedModel,
    draws: Sequence[Draw],
    *,
    tokens: int,
    top_p: float = 1.0,
    batch: int = SAMPLE_BATCH,
) -> Iterator[dict[int, SampledIds]]:
    """The answers, at most `tokens` long, by index into `draws`: a batch at a time, shortest contexts first.

    The whole distribution is sampled, or with `top_p` < 1 the smallest set of tokens that holds so much of it
    (Holtzman et al. 2020); the model's own sampling settings are not used. Out of memory halves the batch.
    Raises `CannotMeasure` for logits that are not finite, and for a context without `room`.
    """
    if full := sum(room(loaded, draw.context) < 1 for draw in draws):
        raise CannotMeasure(f"{full} prompts fill the model's {loaded.max_length} positions. Leave them out.")
    order = sorted(range(len(draws)), key=lambda i: (len(draws[i].context), draws[i].context))
    turns = turning_lengths(causal_lm(loaded.model))
    beyond = [side_of(turns, len(draw.context)) for draw in draws]
    at = 0
    while at < len(order):
        mine = [i for i in order[at : at + batch] if beyond[i] == beyond[order[at]]]
        try:
            answers = _answers(loaded, [draws[i] for i in mine], tokens, top_p)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error) or batch == 1:
                raise
            batch //= 2
            print(f"probe: out of memory; going on with {batch} answers at a time.", file=sys.stderr)
            continue
        yield dict(zip(mine, answers, strict=True))
        at += len(mine)


@torch.inference_mode()
def _answers(loaded: LoadedModel, draws: Sequence[Draw], tokens: int, top_p: float) -> list[SampledIds]:
    model: Any = causal_lm(loaded.model)
    ends = [end_ids(loaded, draw.context) for draw in draws]
    limits = [min(tokens, room(loaded, draw.context)) for draw in draws]
    uniforms = np.stack([np.random.default_rng(draw.seed).random(tokens) for draw in draws])
    device = model.get_input_embeddings().weight.device
    chooser = Chooser(
        torch.tensor([draw.temperature for draw in draws], device=device),
        torch.from_numpy(np.minimum(uniforms, BELOW_ONE).astype(np.float32)).to(device),
        top_p,
    )
    if _recurrent(model):
        found = [_alone(model, draw, chooser.of([i]), limits[i], ends[i]) for i, draw in enumerate(draws)]
    else:
        found = _together(model, [draw.context for draw in draws], chooser, limits, ends)
    return [_answer(ids, stops) for ids, stops in zip(found, ends, strict=True)]


def _recurrent(model: Any) -> bool:
    """Whether a layer keeps a state: it has no place for padding, and cannot be cut to some of the rows."""
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return bool(model._is_stateful) or not all(hasattr(layer, "batch_select_indices") for layer in layers)


def end_ids(loaded: LoadedModel, context: Sequence[int] = ()) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's, those of the model's generation config, and after a
    chat those that close a turn of the chat template, which a base model's tokenizer does not name."""
    opening, closing = turn_marks(loaded.tokenizer)
    config = getattr(causal_lm(loaded.model), "generation_config", None)
    listed = getattr(config, "eos_token_id", None)
    known = listed if isinstance(listed, list) else [listed]
    chat = closing if opening.intersection(context) else ()
    return frozenset(i for i in (*known, loaded.tokenizer.eos_token_id, *chat) if i is not None)


def _answer(ids: Sequence[int], ends: frozenset[int]) -> SampledIds:
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    return SampledIds(tuple(ids[:stop]), stop is not None)


@dataclass(frozen=True, slots=True)
class Chooser:
    """Picks each row's next token: `temperatures` [rows], `uniforms` [rows, steps] in [0, 1), both float32.

    Sums are made in blocks, so that float32 suffices: Apple's GPUs have no float64.
    """

    temperatures: torch.Tensor
    uniforms: torch.Tensor
    top_p: float = 1.0

    def of(self, rows: Sequence[int] | torch.Tensor) -> Chooser:
        """The same for some of the rows."""
        return Chooser(self.temperatures[rows], self.uniforms[rows], self.top_p)

    def __call__(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        """Token ids [rows] from logits [rows, vocabulary]; −1 for a row whose logits are not finite."""
        best = logits.argmax(-1)
        peak = logits.gather(-1, best[:, None])
        warm = self.temperatures > 0
        scale = torch.where(warm, self.temperatures, 1.0)[:, None]
        weights = ((logits - peak).float() / scale).exp()
        drawn = self._drawn(weights, self.uniforms[:, step, None])
        return torch.where(torch.isfinite(peak[:, 0]), torch.where(warm, drawn, best), -1)

    def _drawn(self, weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        if self.top_p >= 1:
            return _inverted(weights, uniform)
        heaviest, ids = weights.topk(min(NUCLEUS, weights.shape[-1]), dim=-1)
        total = weights.sum(-1, keepdim=True)
        if (heaviest.sum(-1, keepdim=True) < self.top_p * total).any():
            heaviest, ids = weights.sort(dim=-1, descending=True, stable=True)
        before = heaviest.cumsum(-1) - heaviest
        kept = torch.where(before < self.top_p * total, heaviest, 0.0)
        return ids.gather(-1, _inverted(kept, uniform)[:, None])[:, 0]


def _inverted(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index [rows] up to which more than uniform · total lies; never one of weight 0.

    First the block, then the place in it: no running sum is longer than a few hundred terms.
    """
    missing = -weights.shape[-1] % BLOCK
    blocks = torch.nn.functional.pad(weights, (0, missing)).view(len(weights), -1, BLOCK)
    until = blocks.sum(-1).cumsum(-1)
    target = uniform * until[:, -1:]
    block = torch.searchsorted(until, target, right=True).clamp(max=until.shape[-1] - 1)
    before = torch.where(block > 0, until.gather(-1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, BLOCK))[:, 0].cumsum(-1)
    rest = torch.minimum(target - before, inside[:, -1:] * BELOW_ONE).clamp(min=0)
    return (block * BLOCK + torch.searchsorted(inside, rest, right=True))[:, 0]


def _finite(ids: list[int]) -> list[int]:
    """The ids chosen. Raises `CannotMeasure` where the logits were not finite."""
    if min(ids) < 0:
        raise CannotMeasure("the model gives logits that are not finite. Try --dtype float32.")
    return ids


def _together(
    model: Any,
    contexts: Sequence[Sequence[int]],
    chooser: Chooser,
    limits: Sequence[int],
    ends: Sequence[frozenset[int]],
) -> list[list[int]]:
    """New ids after each context, `limits` at most. Each distinct context is read once; rows that end leave
    the cache, at the latest where the model has no place for them."""
    tokens = max(limits)
    logits, cache, mask, lengths = _read(model, contexts, tokens)
    rows = list(range(len(contexts)))  # which draw each row of the cache is
    done = [False] * len(rows)
    found: list[list[int]] = [[] for _ in contexts]
    placed = "position_ids" in inspect.signature(model.forward).parameters
    for step in range(tokens):
        chosen = chooser(logits, step)
        picked = _finite(chosen.tolist())  # the one transfer of a step
        for row, token, over in zip(rows, picked, done, strict=True):
            if not over:
                found[row].append(token)
        done = [
            over or token in ends[row] or step + 1 >= limits[row]
            for row, token, over in zip(rows, picked, done, strict=True)
        ]
        running = [i for i, over in enumerate(done) if not over]
        if not running or step + 1 == tokens:
            break
        if len(running) <= COMPACT * len(rows) or any(step >= limits[row] for row in rows):
            left = torch.tensor(running, device=mask.device)
            cache.batch_select_indices(left)
            chosen, mask, lengths, chooser = chosen[left], mask[left], lengths[left], chooser.of(left)
            rows, done = [rows[i] for i in running], [False] * len(running)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        where = {"position_ids": (lengths + step)[:, None]} if placed else {}
        output = model(
            input_ids=chosen[:, None], attention_mask=mask, past_key_values=cache, use_cache=True, **where
        )
        logits = output.logits[:, -1]
    return found


def _read(
    model: Any, contexts: Sequence[Sequence[int]], tokens: int
) -> tuple[torch.Tensor, DynamicCache, torch.Tensor, torch.Tensor]:
    """The logits after each context, the cache, its mask [rows, width] (0: padding, on the left), lengths.

    The cache has room for `tokens` more. Contexts are read some at a time, as they come, so that short ones
    are not padded to the longest; all at once where a layer of the cache keeps a window.
    """
    distinct = list(dict.fromkeys(map(tuple, contexts)))
    empty = partial(roomy_cache, model.config.get_text_config(), tokens)
    some = READ_BATCH if can_be_joined(empty()) else len(distinct)
    parts = [_prompted(model, distinct[i : i + some], empty()) for i in range(0, len(distinct), some)]
    cache = joined_caches([part for _, part in parts])
    device = parts[0][0].device
    place = {context: i for i, context in enumerate(distinct)}
    rows = torch.tensor([place[tuple(c)] for c in contexts], device=device)
    cache.batch_select_indices(rows)
    lengths = torch.tensor([len(c) for c in contexts], device=device)
    mask = torch.arange(max(map(len, contexts)), 0, -1, device=device) <= lengths[:, None]
    return torch.cat([logits for logits, _ in parts])[rows], cache, mask.long(), lengths


def _prompted(
    model: Any, contexts: Sequence[Sequence[int]], cache: DynamicCache
) -> tuple[torch.Tensor, DynamicCache]:
    """The logits after each of some contexts, and the cache with them in it, padded on the left."""
    width = max(map(len, contexts))
    device = model.get_input_embeddings().weight.device
    ids = torch.tensor([[0] * (width - len(c)) + list(c) for c in contexts], device=device)
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in contexts], device=device)
    parameters = inspect.signature(model.forward).parameters
    extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
    if "position_ids" in parameters:
        extra["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **extra)
    return output.logits[:, -1], cache


class _ByChooser(LogitsProcessor):  # type: ignore[misc]
    """Leaves the chosen token alone with a finite score, so that greedy decoding takes it."""

    def __init__(self, chooser: Chooser, start: int) -> None:
        self.chooser, self.start = chooser, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = self.chooser(scores, input_ids.shape[1] - self.start)
        _finite(chosen.tolist())
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def _alone(model: Any, draw: Draw, chooser: Chooser, tokens: int, ends: frozenset[int]) -> list[int]:
    """One draw by transformers' own loop, for models whose state is no key-value cache."""
    config = GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=sorted(ends), pad_token_id=min(ends, default=0)
    )
    ids = torch.tensor([draw.context], device=chooser.uniforms.device)
    output = model.generate(
        input_ids=ids,
        generation_config=config,
        logits_processor=LogitsProcessorList([_ByChooser(chooser, ids.shape[1])]),
    )
    new: list[int] = output[0, ids.shape[1] :].tolist()
    return new
