"""A model's copy in bfloat16, and scores by it that no rounding turns: what a gate scores many pairs with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..pairs.record import Pair
from ..progress import Advance
from .model import LoadedModel
from .proof import Proof
from .quantized import is_quantized
from .scores import EncodedPair
from .service import Scorer, WindowResult


def can_be_halved(loaded: LoadedModel) -> bool:
    """Whether these are plain float32 weights on a CPU; behind a server there are none."""
    spread = hasattr(loaded.model, "hf_device_map")  # accelerate has put its own forwards on the modules
    kinds = {(weight.device.type, weight.dtype) for weight in loaded.model.parameters()}
    return kinds == {("cpu", torch.float32)} and not spread and not is_quantized(loaded.model)


def halved(loaded: LoadedModel) -> LoadedModel:
    """A copy with parameters in bfloat16, as the files loaded so; buffers (positions) as they are."""
    known: dict[int, object] = {
        id(weight): torch.nn.Parameter(weight.detach().bfloat16(), requires_grad=False)
        for weight in loaded.model.parameters()
    }
    model = copy.deepcopy(loaded.model, known)  # what is known by its id is not copied: no second float32
    facts = {**loaded.facts, "dtype": "bfloat16"}
    return replace(loaded, model=model, dtype=torch.bfloat16, facts=facts)


@dataclass
class HalfScorer(Scorer):
    """Scores by the copy, and by the `exact` model those pairs whose gap lies within `near` nats/token of 0:
    so which side is ahead is not a matter of rounding."""

    exact: Scorer | None = None
    near: float = 0.0

    def _window(
        self, pairs: Sequence[Pair], encoded: Sequence[EncodedPair], advance: Advance
    ) -> WindowResult:
        part = super()._window(pairs, encoded, advance)
        near = {score.line for score in part.scores if abs(score.gap) <= self.near}
        if not near or self.exact is None:
            return part
        some = [i for i, pair in enumerate(pairs) if pair.line in near]
        again = self.exact.window([pairs[i] for i in some], [encoded[i] for i in some])
        scores = {score.line: score for score in again.scores}
        part.scores = [scores.get(score.line, score) for score in part.scores]
        part.new, part.cached = part.new + again.new, part.cached + again.cached
        return part

    def prove(self, longest: int) -> Proof:
        """That of the `exact` model: the same code runs both, and what bfloat16 adds is measured on pairs."""
        self.proof = self.exact.prove(longest) if self.exact else super().prove(longest)
        return self.proof
