"""What a model writes on given prompts, with random numbers that are the same before and after training."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..scoring.model import LoadedModel
from ..scoring.readout import depths, pooled_states
from ..scoring.sampling import Draw, SampledIds, draw_samples
from ..scoring.scores import EncodedSide
from ..stats.behaviour import CutResponse
from .data import Example

SAMPLES, PROMPTS = 2, 96
SHORTEST, LONGEST = 14, 40  # tokens of a sample
SEEN = 0.75  # share of the responses that a sample's length takes whole, between those
PROMPT_BATCH = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much is written: `samples` a prompt of at most `tokens` tokens, on at most `prompts` prompts."""

    samples: int = SAMPLES
    tokens: int = SHORTEST
    prompts: int = PROMPTS
    seed: int = 0

    def fitted(self, sides: Iterable[EncodedSide]) -> Sampling:
        """As long as most of these responses: a judge that sees only their beginnings misses what differs
        later (`bench/judge.py`), and longer samples cost in proportion."""
        lengths = [len(side.ids) - side.start for side in sides]
        wanted = int(np.quantile(lengths, SEEN)) if lengths else SHORTEST
        return replace(self, tokens=min(LONGEST, max(SHORTEST, wanted)))


Written = list[list[CutResponse]]  # [prompts][samples]
States = dict[tuple[tuple[int, ...], tuple[int, ...]], npt.NDArray[np.float64]]  # by context and response


def asked(items: Sequence[Example], how: Sampling) -> list[Example]:
    """One pair of each prompt, in the order of the items, at most `how.prompts` of them."""
    first: dict[str, Example] = {}
    for item in items:
        if item.codes.chosen.start > 0:
            first.setdefault(item.prompt, item)
    return list(first.values())[: how.prompts]


def context(item: Example) -> tuple[int, ...]:
    """The tokens before the response."""
    return tuple(item.codes.chosen.ids[: item.codes.chosen.start])


def written(loaded: LoadedModel, items: Sequence[Example], how: Sampling) -> Written:
    """Samples at temperature 1 of each item's prompt, by numbers that follow from prompt and seed alone."""
    draws = [
        Draw(context(item), 1.0, zlib.crc32(f"{how.seed}/{k}/{item.prompt}".encode()))
        for item in items
        for k in range(how.samples)
    ]
    answers: dict[int, SampledIds] = {}
    for some in draw_samples(loaded, draws, tokens=how.tokens, batch=PROMPT_BATCH):
        answers |= some
    rows = [
        CutResponse(
            loaded.tokenizer.decode(answers[i].ids, skip_special_tokens=True),
            answers[i].ended,
            answers[i].ids,
        )
        for i in range(len(draws))
    ]
    return [rows[i : i + how.samples] for i in range(0, len(rows), how.samples)]


def as_writing(loaded: LoadedModel, side: EncodedSide, how: Sampling) -> CutResponse:
    """A response of the file, cut to the length of a sample, so that the judge sees both alike."""
    return cut(loaded, side.ids[side.start : len(side.ids) - int(side.has_end)], how)


def cut(loaded: LoadedModel, body: Sequence[int], how: Sampling) -> CutResponse:
    """The first tokens of a response without its end token, as many as a sample has."""
    kept = tuple(int(i) for i in body[: how.tokens])
    return CutResponse(loaded.tokenizer.decode(kept, skip_special_tokens=True), len(body) < how.tokens, kept)


def with_states(
    loaded: LoadedModel, contexts: Sequence[Sequence[int]], writings: Sequence[CutResponse], *, plain: bool,
    known: States | None = None,
) -> list[CutResponse]:  # fmt: skip
    """The writings with the model's mean states over them, of the half-way layer, given their contexts.

    Equal writings on equal contexts are read once; those in `known`, to which what is read is added, not
    again. An empty writing has the state of nothing: zeros.
    """
    read = {} if known is None else known
    keys = [(tuple(c), one.ids) for c, one in zip(contexts, writings, strict=True)]
    distinct = [key for key in dict.fromkeys(keys) if key[1] and key not in read]
    sides = [EncodedSide((*c, *ids), len(c), 0, False) for c, ids in distinct]
    layers = depths(loaded.model)
    middle = layers[max(len(layers) // 2 - 1, 0)]
    for i, states in pooled_states(loaded.model, sides, middle, plain=plain):
        read[distinct[i]] = np.asarray(states, dtype=np.float64)
    size = next(iter(read.values())).shape if read else (1,)
    return [
        replace(one, states=read.get(key, np.zeros(size))) for key, one in zip(keys, writings, strict=True)
    ]
