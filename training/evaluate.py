"""Measuring the policy on held-out pairs, on watched texts and on text of its own."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from ..errors import CannotMeasure
from ..scoring.engine import causal_lm
from ..scoring.generate import answers
from ..scoring.given import evaluating
from ..scoring.model import LoadedModel
from ..scoring.sampling import Draw, SampledIds
from ..scoring.scores import EncodedSide
from ..stats.answers import repeated_share
from ..stats.statistics import mean_estimate
from .data import Example, micro_batches
from .guard_records import HeldOut
from .losses import Logps
from .methods import METHODS, LossConstants
from .objective import PairLogps, Sums, losses_of, reward_scale
from .policy import Policy
from .rules import non_finite

NEW_TOKENS = 32  # of the text sampled per prompt
LIKELIEST_TOKENS = 10  # likeliest tokens whose mass is watched


@torch.no_grad()
def side_sums(
    policy: torch.nn.Module, accelerator: Accelerator, sides: Sequence[EncodedSide], budget: int
) -> list[float]:
    """Σ log p of each side in nats; the sides are shared over the processes."""
    inner: Policy = accelerator.unwrap_model(policy)
    mine = list(range(accelerator.process_index, len(sides), accelerator.num_processes))
    mine.sort(key=lambda i: sides[i].ids)
    found: list[tuple[int, float]] = []
    with inner.attending():
        for part in micro_batches([len(sides[i].ids) for i in mine], budget):
            indices = [mine[j] for j in part]
            values = policy([sides[i] for i in indices])
            together = torch.cat(values).cpu().numpy().astype(np.float64)  # not every device has float64
            parts = np.split(together, np.cumsum([len(logps) for logps in values[:-1]]))
            found += [(i, float(part.sum())) for i, part in zip(indices, parts, strict=True)]
    everyone = gather_object(found) if accelerator.num_processes > 1 else found
    known = dict(everyone)
    return [known[i] for i in range(len(sides))]


def evaluation_row(
    sums: Sequence[float], items: Sequence[Example], method: str, constants: LossConstants, step: int
) -> tuple[dict[str, Any], HeldOut]:
    """The evaluation row and what the guard takes; `sums`: Σ log p of chosen, then rejected, of each item."""
    pairs = np.asarray(sums, dtype=np.float64).reshape(-1, 2)
    tokens = np.array([item.tokens for item in items], dtype=np.float64)
    batch = PairLogps(_logps(pairs, tokens), _reference(items, tokens, method))
    losses = losses_of(batch, method, constants)
    if method == "sft":
        losses = losses * batch.policy.chosen_tokens
    totals = Sums.of(losses, batch, method, constants)
    weight = float(tokens[:, 0].sum()) if method == "sft" else float(len(items))
    row = {f"eval_{key}": value for key, value in _weighted(totals, weight).row(method).items()}
    # The other side of an unpaired answer is another prompt's answer, which nobody rejected.
    means = pairs.mean(axis=0).tolist()[: None if items[0].compares else 1]
    row |= {f"eval_logps/{side}": mean for side, mean in zip(("chosen", "rejected"), means, strict=False)}
    change, high = chosen_change(pairs, tokens, items)
    preference = method != "sft"
    return row, HeldOut(
        step=step,
        loss=totals.loss / weight,
        accuracy=totals.wins / len(items) if preference else None,
        margin=totals.margin / len(items) / reward_scale(method, constants) if preference else None,
        chosen_change=change,
        chosen_high=high,
        bad=non_finite(row),
    )


def _weighted(sums: Sums, weight: float) -> Sums:
    return sums + Sums(weight=weight - sums.weight)


def _logps(pairs: np.ndarray, tokens: np.ndarray) -> Logps:
    columns = (pairs[:, 0], pairs[:, 1], tokens[:, 0], tokens[:, 1])
    return Logps(*(torch.from_numpy(column.copy()) for column in columns))


def _reference(items: Sequence[Example], tokens: np.ndarray, method: str) -> Logps | None:
    if not METHODS[method].reference:
        return None
    return _logps(np.array([item.reference for item in items], dtype=np.float64), tokens)


def chosen_change(
    pairs: np.ndarray, tokens: np.ndarray, items: Sequence[Example]
) -> tuple[float | None, float | None]:
    """Mean change of log p(chosen) from the reference, nats/token, and the upper end of its 95% interval."""
    if any(item.reference is None for item in items) or not np.isfinite(pairs).all():
        return None, None
    before = np.array([item.reference[0] for item in items if item.reference])
    change = (pairs[:, 0] - before) / tokens[:, 0]
    estimate = mean_estimate(
        change, name="chosen_change", units="nats/token", clusters=[item.prompt for item in items]
    )
    return estimate.value, estimate.high


def perplexity(sums: Sequence[float], sides: Sequence[EncodedSide]) -> float | None:
    """exp of the mean negative log-prob a token over all texts; None without texts."""
    tokens = sum(len(side.ids) - side.start for side in sides)
    return math.exp(-sum(sums) / tokens) if tokens else None


def sampled_health(
    loaded: LoadedModel, accelerator: Accelerator, prompts: Sequence[Sequence[int]], seed: int
) -> tuple[float, float] | None:
    """(mass of the top tokens, share of repeated 3-grams) of text sampled at temperature 1.

    None without a prompt, and where the logits are not finite, which the losses show. The same random numbers
    at every call; the random state of the run is not used. Only the main process samples.
    """
    if not prompts:
        return None
    found: list[Any] = [None]
    if accelerator.is_main_process:
        with evaluating(loaded.model), suppress(CannotMeasure):
            found = [_health(loaded, prompts, seed)]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    return found[0]  # type: ignore[no-any-return]


def _health(loaded: LoadedModel, prompts: Sequence[Sequence[int]], seed: int) -> tuple[float, float]:
    draws = [Draw(tuple(prompt), 1.0, seed + i) for i, prompt in enumerate(prompts)]
    texts = answers(loaded, draws, tokens=NEW_TOKENS)
    return float(np.mean(_top_masses(loaded, prompts, texts))), repeated_share([text.ids for text in texts])


@torch.no_grad()
def _top_masses(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], texts: Sequence[SampledIds]
) -> list[float]:
    """Mean mass of the likeliest tokens, of each text, where its tokens and its end were drawn."""
    inner: Any = causal_lm(loaded.model)
    means = [
        _top_mass(
            _logits(inner, (*prompt, *text.ids), len(text.ids) + 1)[: len(text.ids) + text.ended]
        ).mean()
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    return [float(mean) for mean in torch.stack(means).cpu()]


def _logits(model: Any, ids: Sequence[int], last: int) -> torch.Tensor:
    """Logits [last, vocabulary] of one sequence: those of all positions may not fit beside a training."""
    device = model.get_input_embeddings().weight.device
    some = {"logits_to_keep": last} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=device), use_cache=False, **some).logits
    return logits[0, -last:]


def _top_mass(logits: torch.Tensor) -> torch.Tensor:
    probabilities = logits.float().softmax(-1)
    return probabilities.topk(min(LIKELIEST_TOKENS, probabilities.shape[-1]), dim=-1).values.sum(-1)
