"""Text from the model itself: one response a context, sampled at a temperature or decoded greedily."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from ..progress import Advance
from .engine import causal_lm
from .model import LoadedModel
from .scores import EncodedSide

BATCH = 8


@torch.no_grad()
def generate(
    loaded: LoadedModel,
    contexts: Sequence[Sequence[int]],
    *,
    temperature: float,
    tokens: int,
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> list[EncodedSide]:
    """One response of at most `tokens` tokens for each context of token ids (not empty), ready to be scored.

    `temperature` 0 is greedy. The whole distribution is sampled (no top-k, top-p or penalties, whatever the
    model's own settings are), so that log-probs and samples are of the same model. Nothing generated (the end
    at once) leaves the end token alone. Seeded; the caller's random state is kept.
    """
    model, tokenizer = causal_lm(loaded.model), loaded.tokenizer
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))  # little padding
    sides: dict[int, EncodedSide] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            outputs = _continue(model, tokenizer, [contexts[i] for i in batch], temperature, tokens)
            for i, ids in zip(batch, outputs, strict=True):
                sides[i] = _side(tokenizer, contexts[i], ids)
            advance(len(batch))
    return [sides[i] for i in range(len(contexts))]


def _continue(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[Sequence[int]],
    temperature: float,
    tokens: int,
) -> list[list[int]]:
    """New token ids after each context, padding still behind them; padded on the left by mask."""
    width, pad = max(map(len, contexts)), _pad(tokenizer)
    ids = torch.tensor([[pad] * (width - len(c)) + list(c) for c in contexts])
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in contexts])
    how = (
        {"do_sample": False}
        if temperature == 0
        else {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    )
    config = GenerationConfig(
        max_new_tokens=tokens,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        repetition_penalty=1.0,
        **how,
    )
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    output = model.generate(  # type: ignore[operator]
        input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config
    )
    return [row[width:].tolist() for row in output]


def _side(tokenizer: PreTrainedTokenizerBase, context: Sequence[int], new: list[int]) -> EncodedSide:
    end = tokenizer.eos_token_id
    has_end = end in new
    kept = new[: new.index(end) + 1] if has_end else new
    text = tokenizer.decode(kept, skip_special_tokens=True)
    return EncodedSide((*context, *kept), len(context), len(text.encode()), has_end)


def _pad(tokenizer: PreTrainedTokenizerBase) -> int:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(pad or 0)
