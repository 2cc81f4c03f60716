"""What training would take: peak memory by part and seconds, from steps measured on a few tokens.

Weights, gradients and optimizer follow from counts. What is kept for the backward pass is measured: the bytes
that autograd saves for two rows of tokens give its linear and its quadratic part (attention masks), and
`tests/training/test_footprint.py` holds the extrapolation to other sizes to 15%.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.pytorch_utils import Conv1D

from ..scoring.engine import causal_lm, token_logps
from ..scoring.given import evaluating
from ..scoring.head import CHUNK_LOGITS
from ..scoring.scores import EncodedSide
from .adapted import adapted_products
from .policy import trainable_model
from .recipes import Recipe

TUNINGS = ("lora", "qlora", "full")
ROW_TOKENS = (128, 256)  # tokens of the measured steps
NF4 = (
    4.127 / 8
)  # bytes a weight: 4 bits and its share of doubly quantised block scales (Dettmers et al. 2023)
TRAINED = 4  # bytes a trained weight, its gradient and each of AdamW's two moments: float32


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes that autograd keeps for a row of T tokens, `linear`·T + `quadratic`·T², and seconds per token."""

    linear: float
    quadratic: float
    seconds: float

    def at(self, tokens: int) -> float:
        """Bytes for a row of so many tokens."""
        return self.linear * tokens + self.quadratic * tokens * tokens


@dataclass(frozen=True, slots=True)
class Counts:
    """Weights of the model, those in linear layers (which QLoRA quantises), those of the adapter."""

    model: int
    linear: int
    adapter: int
    item: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class MeasuredSteps:
    """The measured steps of LoRA and of full tuning, and the counts; `short`: seconds per token of LoRA as a
    short run makes it."""

    counts: Counts
    lora: Activations
    full: Activations
    short: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """Peak bytes of a step by part."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def footprint(found: MeasuredSteps, tuning: str, tokens: int) -> Footprint:
    """The peak of a step whose largest micro-batch has `tokens` distinct tokens.

    QLoRA: linear layers in 4 bits, the rest and all computing in bfloat16.
    """
    counts, logits = found.counts, min(tokens * found.counts.vocabulary, CHUNK_LOGITS) * TRAINED * 2.0
    trained = counts.model if tuning == "full" else counts.adapter
    kept = (found.full if tuning == "full" else found.lora).at(tokens)
    weights = {
        "full": float(TRAINED * counts.model),
        "lora": float(counts.item * counts.model + TRAINED * counts.adapter),
        "qlora": NF4 * counts.linear + 2 * (counts.model - counts.linear) + TRAINED * counts.adapter,
    }[tuning]
    if tuning == "qlora":
        kept *= min(1.0, 2 / counts.item)
    if tuning == "full":
        kept *= max(1.0, TRAINED / counts.item)
    return Footprint(weights, float(TRAINED * trained), 2.0 * TRAINED * trained, kept, logits)


def measured_steps(model: torch.nn.Module, recipe: Recipe, *, half: bool = False) -> MeasuredSteps:
    """Steps of LoRA and of full tuning on rows of random tokens; the model is as before afterwards.

    `half`: short runs multiply by frozen weights in bfloat16.
    """
    with evaluating(model):
        return _measured(model, recipe, half)


def _measured(model: torch.nn.Module, recipe: Recipe, half: bool) -> MeasuredSteps:
    inner = causal_lm(model)
    flags = {name: p.requires_grad for name, p in inner.named_parameters()}
    size = sum(p.numel() for p in inner.parameters())
    head = inner.get_output_embeddings()
    linear = sum(
        m.weight.numel()
        for m in inner.modules()
        if isinstance(m, torch.nn.Linear | Conv1D) and m is not head  # Conv1D: as GPT-2 has them
    )
    item = next(inner.parameters()).element_size()
    inner.requires_grad_(True)
    full = _kept(inner)
    inner.zero_grad(set_to_none=True)
    tuned = trainable_model(model, recipe, seed=0)
    adapter = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    try:
        lora = _kept(tuned)
        with adapted_products(tuned, half=half):
            short = _seconds(tuned, ROW_TOKENS[1]) / ROW_TOKENS[1]
    finally:
        if tuned is not model and hasattr(tuned, "unload"):
            tuned.unload()  # type: ignore[operator]
        for name, p in inner.named_parameters():
            p.requires_grad_(flags[name])
            p.grad = None
    vocabulary = int(head.weight.shape[0])
    return MeasuredSteps(Counts(size, linear, adapter, item, vocabulary), lora, full, short)


def _kept(model: torch.nn.Module) -> Activations:
    small, large = (saved_bytes(model, tokens) for tokens in ROW_TOKENS)
    quadratic = max(0.0, (large / ROW_TOKENS[1] - small / ROW_TOKENS[0]) / (ROW_TOKENS[1] - ROW_TOKENS[0]))
    return Activations(
        large / ROW_TOKENS[1] - quadratic * ROW_TOKENS[1],
        quadratic,
        _seconds(model, ROW_TOKENS[1]) / ROW_TOKENS[1],
    )


def saved_bytes(model: torch.nn.Module, tokens: int) -> int:
    """Bytes of distinct storages that autograd keeps for one row of `tokens` tokens, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # so that no address is used twice
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss(model, tokens)
    return sum(sizes.values())


def _seconds(model: torch.nn.Module, tokens: int) -> float:
    """Seconds of forward and backward over a row of `tokens` tokens, the faster of two."""

    def once() -> float:
        start = time.perf_counter()
        with torch.enable_grad():
            torch.autograd.backward(_loss(model, tokens))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return min(once() for _ in range(2))


def _loss(model: torch.nn.Module, tokens: int) -> torch.Tensor:
    return -torch.cat(token_logps(model, _row(causal_lm(model), tokens), budget=tokens)).mean()


def _row(model: torch.nn.Module, tokens: int) -> Sequence[EncodedSide]:
    """Two answers to one prompt, a third of `tokens` distinct tokens each."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    ids = torch.randint(0, vocabulary, (tokens,), generator=torch.Generator().manual_seed(tokens)).tolist()
    third = max(1, tokens // 3)
    prompt, one, other = ids[:third], ids[third : 2 * third], ids[2 * third :]
    other[0] = (one[0] + 1) % vocabulary
    return [EncodedSide((*prompt, *answer), third, 0) for answer in (one, other)]
