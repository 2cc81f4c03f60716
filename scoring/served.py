"""A model behind an endpoint, for what is measured by log-probs alone."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..errors import CannotMeasure, ProbeError
from ..pairs.record import Pair
from ..progress import Advance
from .endpoint import Endpoint
from .flags import left_out
from .model import LoadedModel
from .options import ModelOptions, is_endpoint
from .scores import EncodedPair, EncodedSide, LogProbs
from .service import Scorer, WindowResult
from .store import Store
from .tokenizer import load_tokenizer
from .weights import tokenizer_facts

AT_ONCE = 8  # requests under way at most
FASTER = 0.75  # of the time per token, by which twice as many requests must be faster
SAME = 0.03  # nats/token on the mean of a response, within which batches of a server round differently
WEIGHT_OPTIONS = ("adapter", "dtype", "device", "quantize")


class ServedModel(torch.nn.Module):
    """Stands where a model's weights would; whoever runs it is told that there are none."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        text = SimpleNamespace(max_position_embeddings=endpoint.longest)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raises `ProbeError`."""
        raise ProbeError(f"{self.endpoint.url}: an endpoint gives log-probs, and this needs the weights.")


@dataclass
class Width:
    """How many requests are under way: twice as many as long as that is faster by a quarter per token."""

    now: int = 1
    settled: bool = False
    before: float = math.inf  # seconds per token with half as many

    def took(self, seconds: float, tokens: int) -> None:
        """Learn from a round of `now` requests."""
        if self.settled:
            return
        pace = seconds / tokens
        faster = pace <= FASTER * self.before
        self.settled = not faster or self.now >= AT_ONCE
        self.now = (self.now if self.settled else 2 * self.now) if faster else self.now // 2
        self.before = pace


class ServedScorer(Scorer):
    """A scorer whose log-probs are the server's."""

    def _window(
        self, pairs: Sequence[Pair], encoded: Sequence[EncodedPair], advance: Advance
    ) -> WindowResult:
        """As of any model, but a pair that the server would read as other tokens has no score."""
        assert isinstance(self.loaded.model, ServedModel)
        endpoint = self.loaded.model.endpoint
        sides = [
            side for codes in encoded if not left_out(codes.flags) for side in (codes.chosen, codes.rejected)
        ]
        if sides and not endpoint.proven and self._asks(sides):
            tried = [side.ids for side in sides] + [side.ids[: side.start] for side in sides]
            endpoint.settle(next((ids for ids in tried if len(ids) > 1 and endpoint.reads(ids)), tried[0]))
        if endpoint.as_text:
            encoded = [_as_read(endpoint, codes) for codes in encoded]
        return super()._window(pairs, encoded, advance)

    def side_logps(
        self,
        sides: Sequence[EncodedSide],
        lines: Sequence[int] | None = None,
        advance: Advance = lambda _: None,
    ) -> list[LogProbs]:
        """As of any model; what is kept is used where the server still gives the same, asked once."""
        if self.store is not None and not self._still(self.store, sides):
            self.store = None
        return super().side_logps(sides, lines, advance)

    def _still(self, store: Store, sides: Sequence[EncodedSide]) -> bool:
        """Whether the server gives what is kept of the longest of these; true where none is."""
        assert isinstance(self.loaded.model, ServedModel)
        endpoint = self.loaded.model.endpoint
        if endpoint.still is None:
            both = zip(sides, store.get(sides), strict=True)
            kept = [(side, logps) for side, logps in both if logps is not None and len(logps)]
            if not kept:
                return True
            side, logps = max(kept, key=lambda known: len(known[1]))
            off = float(np.abs(np.array(endpoint.logps(side.ids, side.start)) - logps).mean())
            endpoint.still = off <= SAME
            if not endpoint.still:
                print(
                    f"probe: {endpoint.url} gives other numbers than were kept of {endpoint.name} ({off:.2f} "
                    "nats/token apart): it is another model by now, or computes otherwise. All is asked "
                    "anew, and not kept.",
                    file=sys.stderr,
                )
        return endpoint.still

    def _asks(self, sides: Sequence[EncodedSide]) -> bool:
        """Whether some side is not in the store, so that the server is asked."""
        return self.store is None or any(logps is None for logps in self.store.get(sides))

    def _computed(self, sides: Sequence[EncodedSide]) -> Iterator[tuple[list[int], list[LogProbs]]]:
        """Each side by one request, as many at a time as the server answers faster than half as many.

        The first one settles how to ask.
        """
        assert isinstance(self.loaded.model, ServedModel)
        endpoint = self.loaded.model.endpoint

        def ask(side: EncodedSide) -> LogProbs:
            return np.array(endpoint.logps(side.ids, side.start), dtype=np.float32)

        if sides:
            yield [0], [ask(sides[0])]
        start, width = 1, Width()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while start < len(sides):
                some = list(range(start, min(start + width.now, len(sides))))
                begun = time.monotonic()
                found = list(pool.map(ask, [sides[i] for i in some]))
                width.took(time.monotonic() - begun, sum(len(sides[i].ids) for i in some))
                yield some, found
                start = some[-1] + 1

    def _not_finite(self, side: EncodedSide, line: int | None) -> CannotMeasure:
        place = f"line {line}: " if line else ""
        return CannotMeasure(
            f"{place}the server gives log-probs that are not finite, for which some write −9999. "
            "Take the line out, or use another server."
        )


def _as_read(endpoint: Endpoint, codes: EncodedPair) -> EncodedPair:
    """The pair, flagged where a side's text is other tokens."""
    if left_out(codes.flags) or all(endpoint.reads(side.ids) for side in (codes.chosen, codes.rejected)):
        return codes
    return replace(codes, flags=(*codes.flags, "not_as_text"))


def served_model(how: ModelOptions) -> LoadedModel:
    """The model at the address in `how.model`, with the tokenizer named beside it.

    Raises `ProbeError` for options that are of weights, and where server or tokenizer cannot be had.
    """
    assert how.model is not None and is_endpoint(how.model)
    if named := next((name for name in WEIGHT_OPTIONS if getattr(how, name)), None):
        raise ProbeError(f"--{named}: what a server computes with is its own choice. Leave it out.")
    if how.tokenizer is None:
        raise ProbeError(f"--model {how.model}: name the served model's tokenizer: --tokenizer NAME.")
    tokenizer = load_tokenizer(how.tokenizer, how.revision, how.trust_remote_code)
    endpoint = Endpoint.open(how.model, tokenizer)
    alias = endpoint.alias
    place = f"{endpoint.url}, which answers as {alias}" if alias else endpoint.url
    answers = {"answers_as": alias} if alias else {}  # left out of the others' keys, whose scores stay valid
    facts = {
        "name": f"{endpoint.name} at {place} (the server's numbers)",
        "endpoint": {"url": endpoint.url, "model": endpoint.name, "says": dict(endpoint.says), **answers},
        "tokenizer": how.tokenizer,
        "dtype": "as served",
        "device": "a server",
        **tokenizer_facts(tokenizer),
    }
    cpu = torch.device("cpu")
    return LoadedModel(ServedModel(endpoint), tokenizer, endpoint.name, cpu, torch.float32, facts)
